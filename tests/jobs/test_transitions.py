from __future__ import annotations

import pytest
from jobflow import Flow
from monty.json import MontyDecoder
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError
from phonotune.flows.local import run_flow
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.transitions import TransitionMaker
from phonotune.physics.phonon.displacements import PhononSettings
from phonotune.physics.transitions.branches import TransitionSettings
from phonotune.schemas.transition import TransitionDocument
from phonotune.store import open_store

SMALL = TransitionSettings(
    max_depth=0, relax_root=False, phonon=PhononSettings(min_length=5.0, mesh_density=10.0)
)
CSCL = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3])


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
    ("maker", "model", "found"),
    [
        (TransitionMaker(), None, "no model"),
        (TransitionMaker(labeller=LabelMaker(labeller="emt")), "mini", "a labeller"),
    ],
)
def test_anything_but_a_model_is_refused(
    maker: TransitionMaker, model: str | None, found: str
) -> None:
    with pytest.raises(ConfigError, match=f"found {found}"):
        TransitionMaker.make.original(maker, CSCL, model)


def test_a_maker_survives_two_round_trips() -> None:
    once = TransitionMaker.from_dict(TransitionMaker(settings=SMALL).as_dict())
    assert TransitionMaker.from_dict(once.as_dict()) == TransitionMaker(settings=SMALL)
