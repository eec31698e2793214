"""The whole path of VASP: atomate2's maker, custodian, TaskDoc, our reading, with an emulator of VASP."""

import json

import numpy as np
import pytest
from ase.calculators.emt import EMT
from atomate2.vasp.jobs.core import StaticMaker
from jobflow import Flow
from monty.json import MontyDecoder
from pymatgen.core import Lattice, Structure

from phonotune.flows.identity import stable_flow
from phonotune.flows.local import run_flow
from phonotune.jobs.dataset import DatasetMaker
from phonotune.jobs.finetune import FineTuneMaker
from phonotune.jobs.label import LabelMaker, relaxed_structure
from phonotune.jobs.vasp.error_handlers import FatalMessage, FrozenRun
from phonotune.jobs.vasp.protocol import LabelProtocol, VaspMonitoring
from phonotune.schemas.dataset import Candidate, LabelledSet, StructureSet
from phonotune.store import ResultStore, open_store
from phonotune.training.config import parse_overrides

pytestmark = [
    pytest.mark.filterwarnings("ignore:POTCAR data with symbol:UserWarning"),
    pytest.mark.filterwarnings("ignore::pymatgen.io.vasp.outputs.UnconvergedVASPWarning"),
    pytest.mark.filterwarnings("ignore:Float overflow:UserWarning"),
    pytest.mark.filterwarnings("ignore:No POTCAR file with matching TITEL:UserWarning"),
]

QUICK = VaspMonitoring(polling_seconds=0.05, monitor_every=4)
EMT_ZERO = -4.0  # of the emulator, eV an atom
PROTOCOL = LabelProtocol(kspacing=0.5, magnetic_moments={"Cu": 0.25, "Au": 1.5})
REASONS = {
    "crash": "the job failed or is missing",
    "silent-crash": "the job failed or is missing",
    "unconverged": "did not converge (400 of 400 taken)",
    "stopped": "ended early",
    "wrong-incar": "GGA = Ps instead of Pe",
    "wrong-algo": "ALGO = All instead of Normal",
    "wrong-mesh": "k-points",
    "wrong-potcar": "PAW_PBE Cu 31Dec2022 instead of PAW_PBE Cu 01Jan2000",
    "moved": "moved by 0.2",
    "nan": "not finite",
}


def frames(n: int) -> list[Structure]:
    """Return rattled cells of Cu3Au, 8 atoms, unsorted, each of its own volume."""
    cell = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.55), ["Cu", "Au"], [[0, 0.5, 0.5], [0, 0, 0]]
    )
    made = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        lattice = Lattice(cell.lattice.matrix * (1 + 0.002 * seed))
        crystal = Structure(lattice, cell.species, cell.frac_coords) * (2, 1, 1)
        order = rng.permutation(8)
        positions = crystal.cart_coords[order] + rng.normal(scale=0.03, size=(8, 3))
        species = [crystal[int(i)].specie for i in order]
        made.append(Structure(crystal.lattice, species, positions, coords_are_cartesian=True))
    return made


def aluminium_like(structure: Structure) -> Structure:
    """Return a frame with aluminium on every site, which `mini` knows."""
    return Structure(structure.lattice, ["Al"] * len(structure), structure.frac_coords)


def structure_set(structures: list[Structure]) -> StructureSet:
    return StructureSet.from_candidates(
        [Candidate(s, f"group {i}", f"reason {i}") for i, s in enumerate(structures)], "test"
    )


def modes_of(structures: list[Structure], modes: dict[int, str]) -> str:
    """Return VASP_EMULATOR_MODE: frames by their volume."""
    return json.dumps({f"{structures[i].volume:.2f}": mode for i, mode in modes.items()})


def run_labels(folder, structures, **settings):
    """Label; return summary, LabelledSet (None if there is none) and store."""
    store = open_store(folder / "store")
    maker = LabelMaker(**{"vasp": PROTOCOL, "monitoring": QUICK} | settings)
    flow = Flow([maker.make(structure_set(structures))])
    summary = run_flow(flow, store, root_dir=folder)
    (made, _), *_ = list(stable_flow(flow).iterflow())
    row = store.query_one({"uuid": made.uuid, "output": {"$ne": None}}, load=True)
    return summary, row and MontyDecoder().process_decoded(row["output"]), store


@pytest.fixture(scope="module")
def labelled(vasp, tmp_path_factory):
    """Label one frame a fault, one that needs other mixing, and two sound ones."""
    structures = frames(len(REASONS) + 3)
    modes = dict(enumerate([*REASONS, "stubborn"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VASP_EMULATOR_MODE", modes_of(structures, modes))
        folder = tmp_path_factory.mktemp("labels")
        return structures, *run_labels(folder, structures, minimum=0.2)


def test_labels_are_those_of_the_calculator_to_the_digits_of_the_file(labelled):
    structures, _, labels, _ = labelled
    assert isinstance(labels, LabelledSet)
    assert [frame.origin for frame in labels.frames()] == ["reason 10", "reason 11", "reason 12"]
    for frame, structure in zip(labels.frames(), structures[10:], strict=True):
        atoms = structure.to_ase_atoms(msonable=False)
        atoms.calc = EMT()
        energy = atoms.get_potential_energy() + EMT_ZERO * len(atoms)
        assert frame.energy == pytest.approx(energy, abs=1e-7)
        assert np.allclose(frame.forces, atoms.get_forces(), atol=1e-7)
        assert np.allclose(frame.stress, atoms.get_stress(voigt=False), atol=1e-10)
        assert np.trace(atoms.get_stress(voigt=False)) < -0.01  # compressed: the sign counts


@pytest.mark.parametrize(("index", "mode"), list(enumerate(REASONS)))
def test_a_frame_that_is_no_label_is_rejected_with_its_reason(labelled, index, mode):
    _, _, labels, _ = labelled
    (rejected,) = [r for r in labels.rejected if r.index == index]
    assert REASONS[mode] in rejected.reason


def test_only_crashes_are_failed_jobs_and_say_what_vasp_said(labelled):
    _, summary, _, _ = labelled
    loud, silent = (job.error for job in summary.failed)
    assert "VASP said LAPACK: Routine ZPOTRF failed" in loud
    assert "VasprunXMLValidator" in silent


def test_the_hash_of_the_protocol_travels_with_the_labels(labelled):
    _, _, labels, _ = labelled
    assert labels.protocol == PROTOCOL.hash[:16]
    for frame in labels.frames():
        assert (frame.labeller, frame.protocol) == ("vasp", PROTOCOL.hash[:16])


def test_moments_come_back_in_the_order_of_the_planned_sites(labelled):
    structures, _, labels, _ = labelled
    for frame, structure in zip(labels.frames(), structures[10:], strict=True):
        wanted = [PROTOCOL.magnetic_moments[site.specie.symbol] for site in structure]
        assert frame.magmoms.tolist() == wanted


def test_other_mixing_is_tried_once_and_is_a_label(labelled):
    *_, store = labelled
    runs = [row["output"] for row in store.query({"name": {"$regex": "vasp static 11/"}})]
    (corrections,) = [run["custodian"][0]["corrections"] for run in runs if run]
    assert [c["handler"]["@class"] for c in corrections] == ["ElectronicConvergence"]


def test_too_few_frames_fail_with_every_reason(vasp, tmp_path, monkeypatch):
    structures = frames(3)
    modes = modes_of(structures, {0: "wrong-incar", 2: "crash"})
    monkeypatch.setenv("VASP_EMULATOR_MODE", modes)
    summary, labels, _ = run_labels(tmp_path, structures)
    assert labels is None
    error = summary.failed[-1].error
    assert "Only 1 of 3 frames were labelled by vasp, 50% are needed" in error
    assert "frame 0: VASP ran another protocol: GGA = Ps instead of Pe" in error
    assert "frame 2: the job failed or is missing" in error


def test_a_force_above_the_limit_is_no_label(vasp, tmp_path):
    _, labels, _ = run_labels(tmp_path, frames(1), max_force=0.1, minimum=0.0)
    assert labels is None
    summary, labels, _ = run_labels(tmp_path, frames(1), max_force=30.0)
    assert summary.failed == []
    assert labels.rejected == []


def test_any_static_maker_of_atomate2_labels_too(vasp, tmp_path, monkeypatch):
    structures = frames(2)
    monkeypatch.setenv("VASP_EMULATOR_MODE", modes_of(structures, {1: "stopped"}))
    quick = {"custodian_kwargs": {"polling_time_step": 0.05}}
    maker = StaticMaker(run_vasp_kwargs=quick)
    _, labels, _ = run_labels(tmp_path, structures, static_maker=maker, labeller="PBEsol")
    assert labels.labeller == "PBEsol"
    assert labels.protocol != PROTOCOL.hash[:16]
    (rejected,) = labels.rejected
    assert (rejected.index, "ended early" in rejected.reason) == (1, True)


def test_a_frozen_run_is_ended(vasp, tmp_path, monkeypatch):
    monkeypatch.setenv("VASP_EMULATOR_MODE", "slow")
    monkeypatch.setenv("VASP_EMULATOR_SECONDS", "60")
    monitoring = VaspMonitoring(polling_seconds=0.1, monitor_every=1, frozen_seconds=2.5)
    summary, labels, _ = run_labels(tmp_path, frames(1), monitoring=monitoring)
    assert labels is None
    assert "VASP wrote nothing for 2.5 s" in summary.failed[0].error


def test_a_crystal_is_relaxed_before_it_is_labelled(vasp, tmp_path):
    store = open_store(tmp_path / "store")
    made = PROTOCOL.relax_maker(QUICK).make(frames(1)[0])
    relaxed = relaxed_structure(made.output, "vasp")
    summary = run_flow(Flow([made, relaxed]), store, root_dir=tmp_path)
    assert summary.failed == []
    (row,) = store.query({"name": "relaxed_structure"})
    atoms = Structure.from_dict(row["output"]).to_ase_atoms(msonable=False)
    atoms.calc = EMT()
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 2e-3
    assert np.abs(atoms.get_stress()).max() < 1e-3


@pytest.mark.slow
def test_twenty_frames_with_five_faults_give_a_dataset_of_fifteen_that_trains(
    vasp, tmp_path, monkeypatch
):
    structures = [aluminium_like(structure) for structure in frames(20)]
    faults = {2: "crash", 7: "crash", 11: "crash", 13: "unconverged", 17: "wrong-algo"}
    monkeypatch.setenv("VASP_EMULATOR_MODE", modes_of(structures, faults))
    store = open_store(tmp_path / "store")
    labels = LabelMaker(vasp=PROTOCOL, monitoring=QUICK).make(structure_set(structures))
    dataset = DatasetMaker().make(labels.output)
    config = parse_overrides("freeze", ["max_epochs=1"])
    training = FineTuneMaker(foundation="mini", config=config).make(dataset.output)
    run_flow(Flow([labels, dataset, training]), store, root_dir=tmp_path)
    (document,) = ResultStore(store).query(kind="dataset")
    assert len(document.frames()) == 15
    (found,) = ResultStore(store).query(kind="labels")
    assert {r.index: REASONS[faults[r.index]] in r.reason for r in found.rejected} == dict.fromkeys(
        faults, True
    )
    (trained,) = ResultStore(store).query(kind="training")
    assert trained.model.dataset_hash == document.dataset_hash


def test_the_handlers_correct_no_physics(tmp_path):
    (tmp_path / "INCAR").write_text("ALGO = Fast\n")
    (tmp_path / "vasp.out").write_text("Sub-Space-Matrix is not hermitian in DAV\n")
    fatal = FatalMessage()
    assert not fatal.check(str(tmp_path))
    (tmp_path / "vasp.out").write_text(" ERROR: BRMIX: very serious problems\n")
    assert fatal.check(str(tmp_path))
    for handler in (fatal, FrozenRun()):
        assert handler.correct(str(tmp_path))["actions"] is None
    assert (tmp_path / "INCAR").read_text() == "ALGO = Fast\n"
