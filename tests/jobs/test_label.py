"""Labelling: foreign task documents are read right, dead frames do not stop the rest."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from ase.calculators.emt import EMT
from jobflow import Flow, Maker, job
from monty.json import MontyDecoder
from pymatgen.core import Structure

from phonotune.errors import ConfigError, FoundationError, LabelError
from phonotune.flows.identity import stable_flow
from phonotune.flows.local import run_flow
from phonotune.jobs.doctor import check_optional
from phonotune.jobs.label import LabelMaker, relaxed_structure
from phonotune.jobs.label_reader import match_sites, read_task_document
from phonotune.jobs.labellers import find_labeller
from phonotune.models.calculator import load_calculator
from phonotune.report.surrogates import surrogate_notice
from phonotune.schemas.dataset import Candidate, StructureSet
from phonotune.schemas.labellers import LABELLERS, LabellerRow, labeller_warning, labellers_in_words
from phonotune.store import open_store

SINGLE = [name for name, row in LABELLERS.items() if not row.family]
"""Labellers that need a package of an extra."""


def rattled(structure: Structure, seed: int) -> Structure:
    copy = structure.copy()
    rng = np.random.default_rng(seed)
    for site in range(len(copy)):
        copy.translate_sites([site], rng.normal(scale=0.05, size=3), frac_coords=False)
    return copy


def structure_set(structure, n=3):
    return StructureSet.from_candidates(
        [Candidate(rattled(structure, i), f"g{i}", f"reason {i}") for i in range(n)], "test"
    )


def run_labels(store, maker, structures):
    """Run a LabelMaker's job; returns summary and LabelledSet, if any."""
    flow = Flow([maker.make(structures)])
    summary = run_flow(flow, store)
    (made, _), *_ = list(stable_flow(flow).iterflow())
    found = store.query_one({"uuid": made.uuid, "output": {"$ne": None}}, load=True)
    return summary, found


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def test_labels_equal_a_direct_calculation(aluminium, store):
    structures = structure_set(aluminium)
    summary, found = run_labels(store, LabelMaker(labeller="emt"), structures)
    assert summary.failed == []
    labels = MontyDecoder().process_decoded(found["output"])
    assert (labels.requested, labels.rejected, labels.labeller) == (3, [], "emt")
    for frame, candidate in zip(labels.frames(), structures.candidates(), strict=True):
        atoms = candidate.structure.to_ase_atoms(msonable=False)
        atoms.calc = EMT()
        assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
        assert np.allclose(frame.forces, atoms.get_forces(), atol=1e-10)
        assert np.allclose(frame.stress, atoms.get_stress(voigt=False), atol=1e-10)
        assert (frame.group, frame.origin) == (candidate.group, candidate.reason)


@dataclass
class MortalMaker(Maker):
    """A static maker that dies on structures whose first coordinate it has been given."""

    name: str = "mortal"
    deadly: list[float] = field(default_factory=list)

    @job
    def make(self, structure):
        if np.isclose(structure.cart_coords[0, 0], self.deadly).any():
            raise RuntimeError("out of memory")
        forces = np.zeros((len(structure), 3)).tolist()
        return {"structure": structure, "output": {"energy": -1.0, "forces": forces}}


def mortal(structures, n_dead):
    first = [float(c.structure.cart_coords[0, 0]) for c in structures.candidates()]
    return LabelMaker(labeller="mortal", static_maker=MortalMaker(deadly=first[:n_dead]))


def test_a_dead_frame_is_rejected_with_its_reason_and_the_rest_goes_on(aluminium, store):
    structures = structure_set(aluminium)
    summary, found = run_labels(store, mortal(structures, 1), structures)
    assert [f.error for f in summary.failed] == ["RuntimeError: out of memory"]
    (rejected,) = found["output"]["rejected"]
    assert rejected == {"index": 0, "reason": "the job failed or is missing"}


def test_too_few_frames_stop_the_flow_and_list_every_reason(aluminium, store):
    structures = structure_set(aluminium)
    summary, found = run_labels(store, mortal(structures, 2), structures)
    assert found is None
    assert "Only 1 of 3 frames" in summary.failed[-1].error
    assert "frame 0" in summary.failed[-1].error
    assert "frame 1" in summary.failed[-1].error


def document(structure, **output):
    zero = np.zeros((len(structure), 3)).tolist()
    return {"structure": structure, "output": {"energy": -1.0, "forces": zero} | output}


def test_stress_is_turned_from_kilobar_and_vasp_sign(aluminium):
    answer = read_task_document(document(aluminium, stress=np.eye(3) * 10.0), aluminium)
    assert np.allclose(answer.stress, -np.eye(3) / 160.21766, rtol=1e-6)


def test_a_missing_stress_stays_missing(aluminium):
    assert read_task_document(document(aluminium), aluminium).stress is None


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"forces": None}, "no forces"),
        ({"energy": None}, "no energy"),
        ({"energy": float("nan")}, "finite"),
    ],
)
def test_an_incomplete_document_is_rejected(aluminium, output, message):
    with pytest.raises(LabelError, match=message):
        read_task_document(document(aluminium, **output), aluminium)


def test_sorted_sites_are_put_back_into_the_planned_order():
    planned = Structure(np.eye(3) * 4, ["Cl", "Na", "Cl"], [[0.5, 0, 0], [0, 0, 0], [0, 0.5, 0]])
    found = Structure(np.eye(3) * 4, ["Na", "Cl", "Cl"], [[1, 0, 0], [0, 0.5, 0], [0.5, 0, 0]])
    assert match_sites(planned, found).tolist() == [2, 0, 1]


def test_a_structure_that_moved_is_rejected(aluminium):
    moved = aluminium.copy()
    moved.translate_sites([0], [0.05, 0, 0], frac_coords=False)
    with pytest.raises(LabelError, match=r"moved by 0\.05"):
        match_sites(aluminium, moved)


def test_another_cell_is_rejected(aluminium):
    with pytest.raises(LabelError, match="another cell"):
        match_sites(aluminium, Structure(np.eye(3), ["Al"], [[0, 0, 0]]))


@pytest.mark.parametrize("name", [*SINGLE, "mace:mini", "atomate2.ase.jobs:GFNxTBStaticMaker"])
def test_every_labeller_has_a_static_maker_and_a_stable_protocol(name):
    if name in LABELLERS and LABELLERS[name].package:
        pytest.importorskip(LABELLERS[name].package)
    assert find_labeller(name).static.name
    assert LabelMaker(labeller=name).protocol() == LabelMaker(labeller=name).protocol()


def test_protocols_of_two_labellers_differ():
    assert LabelMaker(labeller="teacher").protocol() != LabelMaker(labeller="emt").protocol()


def test_a_labeller_is_a_row(monkeypatch, aluminium):
    """A new labeller around an ASE calculator is known everywhere by one row."""
    row = LabellerRow(
        name="springs",
        theory="a pair potential",
        build="phonotune.jobs.labellers:calculator",
        arguments={"callable_": "ase.calculators.lj:LennardJones", "sigma": 2.5},
        hint="pairs",
        warning="springs is a toy.",
    )
    monkeypatch.setitem(LABELLERS, row.name, row)
    assert "springs (pairs)" in labellers_in_words()
    assert labeller_warning("springs") == "springs is a toy."
    assert surrogate_notice("springs") == "a pair potential that stands in for DFT"
    made = find_labeller("springs")
    assert made.static.calculator_kwargs == {"sigma": 2.5}
    assert made.relax is not None
    assert LabelMaker(labeller="springs").protocol()


def test_doctor_names_labellers_whose_package_is_not_here(monkeypatch):
    monkeypatch.setitem(
        LABELLERS, "chgnet", replace(LABELLERS["chgnet"], package="no_such_package")
    )
    finding = check_optional()
    assert finding.state == "warn"
    assert "chgnet needs phonotune[chgnet]" in finding.text


@pytest.mark.parametrize(
    ("name", "message"),
    [("vaps", "Did you mean 'vasp'"), ("no.such.module:Maker", "cannot be built")],
)
def test_an_unknown_labeller_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        find_labeller(name)


def test_an_unconverged_relaxation_stops_the_flow(aluminium, store):
    relax = find_labeller("emt").relax
    relax.steps = 1
    made = relax.make(rattled(aluminium, 0))
    summary = run_flow(Flow([made, relaxed_structure(made.output, "emt")]), store)
    (failed,) = summary.failed
    assert "did not converge" in failed.error


def test_a_converged_relaxation_gives_the_crystal(aluminium, store):
    made = find_labeller("emt").relax.make(aluminium)
    flow = Flow([made, relaxed_structure(made.output, "emt")])
    assert run_flow(flow, store).failed == []


def test_a_vasp_document_gives_the_free_energy(aluminium):
    content = document(aluminium)
    content["calcs_reversed"] = [{"output": {"ionic_steps": [{"e_fr_energy": -1.25}]}}]
    assert read_task_document(content, aluminium).energy == -1.25


def test_a_model_labeller_is_named_by_its_sha256():
    kwargs = find_labeller("teacher").static.calculator_kwargs
    assert len(kwargs["sha256"]) == 64
    with pytest.raises(FoundationError, match="is asked for"):
        load_calculator("teacher", sha256="0" * 64)


@pytest.mark.parametrize("name", [name for name, row in LABELLERS.items() if row.package])
def test_a_labeller_without_its_package_says_what_to_install(name, monkeypatch):
    monkeypatch.setattr("phonotune.errors.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install"):
        find_labeller(name)
