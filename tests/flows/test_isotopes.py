"""Isotopes in the DAG: labels, dataset and trainings are those of the elements, properties are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jobflow import Flow
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Structure

from phonotune.errors import LabelError
from phonotune.flows.identity import stable_flow
from phonotune.flows.local import run_flow
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.jobs.label import isotopes_of
from phonotune.jobs.labellers import find_labeller
from phonotune.schemas.masses import isotope_masses, with_masses
from phonotune.store import open_store


def names(structure: Structure, relax_first: bool) -> dict[str, list[str]]:
    """Return the ids of the jobs of a crystal by their name."""
    maker = PhonotuneMaker(foundation="mini", labeller="emt", relax_first=relax_first)
    found: dict[str, list[str]] = {}
    for job, _ in stable_flow(maker.make(structure)).iterflow():
        found.setdefault(job.name, []).append(job.uuid)
    return found


@pytest.mark.parametrize("relax_first", [True, False])
def test_isotopes_share_labels_and_trainings_with_the_natural_crystal(
    aluminium: Structure, relax_first: bool
) -> None:
    heavy = with_masses(aluminium, [28.0, 28.0, None, None])
    plain, isotopic = names(aluminium, relax_first), names(heavy, relax_first)
    shared = {name for name in plain if plain[name] == isotopic[name]}
    assert {"rattle", "select", "label", "dataset", "finetune lora"} <= shared
    assert not {"phonon reference", "phonon lora", "compare"} & shared
    assert set(isotopic) - set(plain) == ({"isotopes_of"} if relax_first else set())


def test_a_relaxed_crystal_gets_its_masses_back_site_by_site(
    aluminium: Structure, tmp_path: Path
) -> None:
    heavy = with_masses(aluminium, [28.0, None, None, 29.0])
    stored = json.loads(json.dumps(heavy, cls=MontyEncoder))
    assert isotope_masses(MontyDecoder().process_decoded(stored)) == [28.0, None, None, 29.0]
    moved = Structure.from_sites([aluminium[i] for i in (3, 1, 0, 2)])
    moved.scale_lattice(moved.volume * 1.05)
    (static,) = [isotopes_of(moved, heavy)]
    store = open_store(tmp_path / "store")
    assert run_flow(Flow([static]), store).failed == []
    (made, _), *_ = stable_flow(Flow([isotopes_of(moved, heavy)])).iterflow()
    found = MontyDecoder().process_decoded(store.get_output(made.uuid))
    assert isotope_masses(found) == [29.0, None, 28.0, None]
    collapsed = Structure(moved.lattice, ["Al"] * 4, [[0.5, 0.5, 0.0]] * 4)
    with pytest.raises(LabelError, match="its sites cannot be told"):
        isotopes_of.original(collapsed, heavy)


def test_a_labeller_sees_elements(aluminium: Structure) -> None:
    from phonotune.jobs.label import LabelMaker

    heavy = with_masses(aluminium, [28.0] * 4)
    maker = LabelMaker(labeller="emt", static_maker=find_labeller("emt").static)
    (job,) = maker.static_jobs([heavy])
    (plain,) = maker.static_jobs([aluminium])
    assert job.function_args[0] == plain.function_args[0] == aluminium
    assert job.function_args[0].site_properties == {}
