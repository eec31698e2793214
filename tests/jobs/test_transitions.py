from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jobflow import Flow, Maker, job
from monty.json import MontyDecoder
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError, InputError
from phonotune.flows.local import run_flow
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.labellers import find_labeller
from phonotune.jobs.transitions import TransitionMaker
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.transitions.branches import TransitionSettings
from phonotune.physics.transitions.growth import grow_tree
from phonotune.physics.transitions.labels import with_labels
from phonotune.schemas.base import Source
from phonotune.schemas.transition import TransitionDocument
from phonotune.store import open_store
from tests.physics.test_relax import EmtEvaluator

SMALL = TransitionSettings(
    max_depth=0, relax_root=False, phonon=PhononSettings(min_length=5.0, mesh_density=10.0)
)
QUICK = TransitionSettings(
    max_depth=1,
    max_cells=2,
    relax_root=False,
    fmax=5e-3,
    phonon=PhononSettings(min_length=5.5, mesh_density=15.0),
)
CSCL = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3])
BCC_COPPER = Structure(Lattice.cubic(2.87), ["Cu", "Cu"], [[0, 0, 0], [0.5] * 3])


@dataclass
class OnlyOneAtom(Maker):
    """A static maker by EMT that fails for cells of more than ``most`` atoms."""

    name: str = "odd"
    most: int = 1

    @job
    def make(self, structure: Structure) -> Any:
        """Return the task document of EMT."""
        if len(structure) > self.most:
            raise RuntimeError("too many atoms")
        static = find_labeller("emt").static
        return type(static).make.original(static, structure)


def test_the_tree_is_one_gpu_job_that_gives_one_document(tmp_path) -> None:
    made = TransitionMaker(settings=SMALL).make(CSCL, "mini")
    assert made.metadata["phonotune"] == {"role": "gpu_eval", "stage": "transitions"}
    assert made.output_schema is TransitionDocument
    store = open_store(tmp_path / "store")
    assert run_flow(Flow([made]), store, root_dir=tmp_path).failed == []
    (row,) = store.query({"output.kind": "transitions"}, load=True)
    document = MontyDecoder().process_decoded(row["output"])
    document = TransitionDocument.model_validate(document)
    assert document.nodes[0].space_group == "Pm-3m"
    assert document.source.model_id
    assert len(document.structures()) == len(document.nodes)


@pytest.mark.parametrize(
    ("maker", "found"),
    [
        (TransitionMaker(), "no model"),
        (TransitionMaker(labeller=LabelMaker(labeller="emt")), "no model but a labeller"),
    ],
)
def test_anything_but_a_model_is_refused(maker: TransitionMaker, found: str) -> None:
    with pytest.raises(ConfigError, match=rf"got {found}\. Pass a model to make"):
        TransitionMaker.make.original(maker, CSCL, None)


def run(maker: TransitionMaker, folder: Path, crystal: Structure) -> tuple[Any, list[Any]]:
    """Return the document of a flow and every stored job."""
    with open_store(folder / "store") as store:
        summary = run_flow(Flow([maker.make(crystal, "mini")]), store, root_dir=folder)
        rows = list(store.query({}, load=True))
    document = max(
        (row for row in rows if (row["output"] or {}).get("kind") == "transitions"),
        key=lambda row: int(row["index"]),
    )
    return MontyDecoder().process_decoded(document["output"]), [rows, summary]


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> TransitionDocument:
    """A tree of bcc copper that EMT grew, whatever model is asked for."""
    source = Source(role="untuned", evaluator="mini")
    document = grow_tree(BCC_COPPER, EmtEvaluator(), QUICK, source)
    monkeypatch.setattr(TransitionMaker, "grow", lambda *_: document)
    return document


def test_a_labeller_labels_the_phases_that_the_model_found_one_job_each(
    grown: TransitionDocument, tmp_path: Path
) -> None:
    maker = TransitionMaker(settings=QUICK, labeller=LabelMaker(labeller="emt", minimum=1.0))
    made = maker.make(BCC_COPPER, "mini")
    assert made.metadata["phonotune"]["role"] == "gpu_eval"
    document, (rows, summary) = run(maker, tmp_path, BCC_COPPER)
    assert summary.failed == []
    assert (document.labeller, document.label_protocol) == ("emt", maker.labeller.protocol())
    # the labeller is the potential that grew the tree: the same energies, no forces left
    for node, label in ((node, node.label) for node in document.nodes):
        assert label.energy_per_atom == pytest.approx(node.energy_per_atom, abs=1e-4)
        assert label.error == pytest.approx(0.0, abs=1e-4)
        assert label.largest_force < 1e-2
    assert [node.model_copy(update={"label": None}) for node in document.nodes] == grown.nodes
    roles = sorted(row["metadata"]["phonotune"]["role"] for row in rows)
    assert roles == ["dft"] * len(grown.nodes) + ["gpu_eval", "light", "light"]


def test_another_labeller_gives_the_error_of_the_model(
    grown: TransitionDocument, tmp_path: Path
) -> None:
    shifted = grown.model_copy(
        update={
            "nodes": [
                node.model_copy(update={"energy_per_atom": 1.5 * node.energy_per_atom})
                for node in grown.nodes
            ]
        }
    )
    answers = EmtEvaluator()(grown.structures())
    labelled = with_labels(shifted, "emt", "0", answers)
    for node, old in zip(labelled.nodes, grown.nodes, strict=True):
        assert node.label.error == pytest.approx(0.5 * old.energy_per_atom, abs=1e-6)
    assert abs(labelled.nodes[1].label.error) > 1.0


def test_a_phase_whose_label_died_says_so_and_the_tree_is_kept(
    grown: TransitionDocument, tmp_path: Path
) -> None:
    maker = TransitionMaker(
        settings=QUICK, labeller=LabelMaker(labeller="odd", static_maker=OnlyOneAtom())
    )
    document, (_, summary) = run(maker, tmp_path, BCC_COPPER)
    root, packed = document.nodes
    assert len(summary.failed) == 1
    assert root.label.energy_per_atom == 0
    assert packed.label.energy_per_atom is None
    assert packed.label.reason == "the job failed or is missing"
    assert packed.energy == grown.nodes[1].energy


def test_a_tree_none_of_whose_phases_was_labelled_is_kept(
    grown: TransitionDocument, tmp_path: Path
) -> None:
    maker = TransitionMaker(
        settings=QUICK, labeller=LabelMaker(labeller="odd", static_maker=OnlyOneAtom(most=0))
    )
    document, _ = run(maker, tmp_path, BCC_COPPER)
    assert [node.label.energy_per_atom for node in document.nodes] == [None, None]
    assert all("no phase was labelled by odd" in node.label.reason for node in document.nodes)


def test_without_the_label_of_the_root_energies_have_nothing_to_count_from(
    grown: TransitionDocument,
) -> None:
    answers = EmtEvaluator()(grown.structures())
    found = with_labels(grown, "emt", "0", [None, *answers[1:]], {0: "died"}).nodes
    assert (found[0].label.reason, found[0].label.largest_force) == ("died", None)
    assert found[1].label.energy_per_atom is None
    assert "no label of the root" in found[1].label.reason
    with pytest.raises(InputError, match="A tree of 2 phases got 1 labels"):
        with_labels(grown, "emt", "0", answers[:1])


def test_a_maker_survives_two_round_trips() -> None:
    once = TransitionMaker.from_dict(TransitionMaker(settings=SMALL).as_dict())
    assert TransitionMaker.from_dict(once.as_dict()) == TransitionMaker(settings=SMALL)
