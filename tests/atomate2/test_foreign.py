"""Frames from documents of other people's jobs; what they must be is computed by the calculator itself."""

from __future__ import annotations

import gzip
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.emt import EMT
from atomate2.cp2k.schemas.task import TaskDocument
from atomate2.forcefields.jobs import ForceFieldRelaxMaker, ForceFieldStaticMaker
from atomate2.forcefields.md import ForceFieldMDMaker
from atomate2.vasp.jobs.core import RelaxMaker
from emmet.core.tasks import TaskDoc
from jobflow import Flow, OnMissing, job
from monty.json import MontyDecoder, jsanitize
from pydantic import ValidationError
from pymatgen.core import Structure

from phonotune.data.importers import import_frames
from phonotune.errors import ConfigError, FramesError, LabelError
from phonotune.jobs.dataset import DatasetMaker
from phonotune.jobs.finetune import FineTuneMaker
from phonotune.jobs.task_documents import read_task
from phonotune.jobs.task_frames import (
    TaskFramesMaker,
    TaskSettings,
    frames_from_tasks,
    read_task_frames,
)
from phonotune.schemas.dataset import Frame
from phonotune.training.config import parse_overrides

DATA = Path(__file__).parent / "data"
BY_EMT = {"force_field_name": {"@module": "ase.calculators.emt", "@callable": "EMT"}}
BOHR, HARTREE = 0.529177210903, 27.211386245988  # CODATA 2018


def assert_labels_are_of_emt(frame: Frame, stress: bool = True, zero: float = 0.0) -> None:
    """Compare with EMT, whose energies are shifted by ``zero`` (eV an atom)."""
    atoms = frame.structure.to_ase_atoms(msonable=False)
    atoms.set_constraint()
    atoms.calc = EMT()
    energy = atoms.get_potential_energy() + zero * len(atoms)
    assert frame.energy == pytest.approx(energy, abs=1e-6)
    np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=1e-6)
    if stress:
        np.testing.assert_allclose(frame.stress, atoms.get_stress(voigt=False), atol=1e-7)


def original(documents: list[Any], **settings: Any) -> Any:
    """Read documents without a job."""
    return frames_from_tasks.original(documents, TaskSettings(**settings))


@pytest.fixture
def moved(rattled_aluminium: list[Structure], run: Any) -> Any:
    """Dynamics of 6 steps by EMT, warm, as atomate2 stores it."""
    dynamics = ForceFieldMDMaker(
        **BY_EMT,
        n_steps=6,
        temperature=900,
        mb_velocity_seed=1,
        ase_md_kwargs={"fixcm": False},
    )
    made = dynamics.make(rattled_aluminium[0])
    return run(made, theirs=True)[made.uuid]


def test_every_step_of_a_relaxation_is_a_label_of_its_calculator(rattled_aluminium, run) -> None:
    made = ForceFieldRelaxMaker(**BY_EMT, steps=5).make(rattled_aluminium[0])
    labels = TaskFramesMaker().make([made.output])
    found = run(Flow([made, labels]))[labels.uuid]
    frames = found.frames()
    assert len(frames) == found.requested >= 5
    assert found.labeller == "EMT"
    assert {frame.group for frame in frames} == {"task 1"}
    assert frames[1].origin == "task 1 step 2"
    for frame in frames:
        assert_labels_are_of_emt(frame)


def test_the_motion_is_taken_out_of_the_stress_of_a_dynamics(moved) -> None:
    frames = original([moved]).frames()
    stored = np.array(moved.objects["trajectory"].frame_properties[0]["stress"])
    assert len(frames) == 7
    for frame in frames:
        assert_labels_are_of_emt(frame)
    assert np.abs(stored[:3] - np.diag(frames[0].stress)).max() > 1e-3  # else nothing is tested


def test_without_velocities_a_dynamics_has_no_stress_label(moved) -> None:
    bare = moved.model_copy(update={"objects": None})
    (frame,) = original([bare]).frames()
    assert frame.stress is None
    assert_labels_are_of_emt(frame, stress=False)


def test_a_long_trajectory_is_thinned_and_cut_into_groups(moved) -> None:
    frames = original([moved], every=2, blocks=2).frames()
    assert [frame.group for frame in frames] == ["task 1 block 1"] * 2 + ["task 1 block 2"] * 2
    assert [frame.origin[-6:] for frame in frames] == ["step 1", "step 3", "step 5", "step 7"]
    (last,) = original([moved], steps="last").frames()
    assert last.origin == "task 1 step 7"


def test_documents_mean_the_same_after_a_database(moved) -> None:
    stored = MontyDecoder().process_decoded(
        json.loads(json.dumps(jsanitize(moved, strict=True, enum_values=True)))
    )
    for ours, again in zip(original([moved]).frames(), original([stored]).frames(), strict=True):
        assert ours.energy == again.energy
        np.testing.assert_allclose(ours.stress, again.stress, atol=1e-12)


def test_frames_of_vasp_are_those_of_its_file(vasp, rattled_aluminium, run, tmp_path) -> None:
    quick = {"custodian_kwargs": {"polling_time_step": 0.05}}
    made = RelaxMaker(run_vasp_kwargs=quick).make(rattled_aluminium[1])
    labels = TaskFramesMaker().make([made.output])
    frames = run(Flow([made, labels]), theirs=True)[labels.uuid].frames()
    imported = import_frames(tmp_path.glob("job_*/vasprun.xml*"))
    assert len(frames) == len(imported) > 2
    for frame, other in zip(frames, imported, strict=True):
        assert_labels_are_of_emt(frame, zero=-4.0)  # EMT_ZERO of the emulator
        assert frame.energy == other.energy
        assert (frame.labeller, frame.protocol, frame.settings) == (
            "vasp",
            other.protocol,
            other.settings,
        )


@pytest.mark.parametrize("kept", ["partial", "full"])
def test_a_trajectory_of_vasp_in_another_store_gives_the_same_frames(
    vasp, rattled_aluminium, run, tmp_path, kept
) -> None:
    quick = {"custodian_kwargs": {"polling_time_step": 0.05}}
    made = RelaxMaker(run_vasp_kwargs=quick).make(rattled_aluminium[2])
    document = run(made, theirs=True)[made.uuid]
    (folder,) = tmp_path.glob("job_*")
    for path in folder.glob("OSZICAR*"):
        path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # emmet's own, on reading
        apart = TaskDoc.from_directory(folder, store_trajectory=kept)
    assert apart.calcs_reversed[0].output.ionic_steps is None
    one, other = original([document]).frames(), original([apart]).frames()
    assert len(one) == len(other) > 2
    for frame, again in zip(one, other, strict=True):
        assert frame.energy == again.energy
        np.testing.assert_allclose(frame.forces, again.forces, atol=1e-12)
        np.testing.assert_allclose(frame.stress, again.stress, atol=1e-12)
        assert np.allclose(frame.structure.lattice.matrix, again.structure.lattice.matrix)
        moved = frame.structure.frac_coords - again.structure.frac_coords
        assert np.allclose(moved, np.rint(moved), atol=1e-7)  # a whole cell at most


@pytest.fixture(scope="module")
def hydrogen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """atomate2's document of a run of CP2K 2023.1: four H, PBE, SZV-MOLOPT-GTH, stress in GPa."""
    folder = tmp_path_factory.mktemp("cp2k")
    shutil.copy(DATA / "hydrogen_cp2k.inp", folder / "cp2k.inp")
    (folder / "cp2k.out").write_bytes(gzip.decompress((DATA / "hydrogen_cp2k.out.gz").read_bytes()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # atomate2's own, on reading
        return TaskDocument.from_directory(folder, run_bader=False)


# runs of the same CP2K with atom 1 moved by +-0.01 Å along x, and with the cell scaled by 1 +- 0.003
MOVED = (-2.254278774552727, -2.254742030295045)
SCALED = (-2.253049112059622, -2.255984144181484)


def test_forces_of_cp2k_are_the_derivative_of_its_energy(hydrogen) -> None:
    (frame,) = original([hydrogen]).frames()
    slope = (MOVED[0] - MOVED[1]) * HARTREE / 0.02
    assert frame.energy == pytest.approx(-2.254517748868520 * HARTREE, rel=1e-7)
    assert frame.forces[0, 0] == pytest.approx(-slope, rel=0.005)  # its grid breaks translations
    assert np.abs(frame.forces).max() > 10 * np.abs(hydrogen.output.forces).max()
    assert frame.labeller == "cp2k"


def test_the_stress_of_cp2k_is_a_label_only_in_a_unit_that_was_named(hydrogen) -> None:
    (frame,) = original([hydrogen]).frames()
    assert frame.stress is None
    (frame,) = original([hydrogen], cp2k_stress="GPa").frames()
    volume = frame.structure.volume
    slope = (SCALED[0] - SCALED[1]) * HARTREE / (volume * (1.003**3 - 0.997**3))
    assert np.trace(frame.stress) / 3 == pytest.approx(slope, rel=0.002)


def test_the_protocol_of_cp2k_is_its_settings_and_not_its_cell(hydrogen) -> None:
    (frame,) = original([hydrogen]).frames()
    text = json.dumps(jsanitize(hydrogen, strict=True, enum_values=True))
    finer = MontyDecoder().decode(text.replace('"values": [200', '"values": [300'))
    moved = MontyDecoder().decode(text.replace("3.8", "3.9"))
    assert original([finer]).frames()[0].protocol != frame.protocol
    assert original([moved]).frames()[0].protocol == frame.protocol


def test_a_run_of_cp2k_that_ended_early_is_no_label(hydrogen) -> None:
    (calculation,) = hydrogen.calcs_reversed
    broken = calculation.model_copy(update={"has_cp2k_completed": "failed"})
    cut = hydrogen.model_copy(update={"calcs_reversed": [broken]})
    with pytest.raises(LabelError, match="task 1: the run of CP2K is not complete"):
        original([cut])


def test_a_task_that_failed_is_left_out_and_named(rattled_aluminium, run) -> None:
    made = ForceFieldStaticMaker(**BY_EMT).make(rattled_aluminium[0])

    @job
    def stopped() -> None:
        return None

    dead = stopped()
    labels = TaskFramesMaker().make([made.output, dead.output])
    assert labels.config.on_missing_references == OnMissing.NONE
    found = run(Flow([made, dead, labels]))[labels.uuid]
    assert len(found.frames()) == 1
    (rejected,) = found.rejected
    assert rejected.reason == "task 2: the job failed or is missing"


def test_what_is_no_task_document_is_refused() -> None:
    with pytest.raises(LabelError, match="str is not a task document of VASP, CP2K, a force field"):
        read_task("relaxed")
    with pytest.raises(LabelError, match="No frame came from 1 task documents: task 1: the job"):
        original([None])


@pytest.mark.parametrize(
    "settings", [{"steps": "first"}, {"cp2k_stress": "kbar"}, {"every": 0}, {"step": "last"}]
)
def test_settings_that_mean_nothing_are_refused(settings) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        TaskSettings(**settings)


def test_large_forces_are_no_label(moved) -> None:
    reasons = read_task_frames(moved, TaskSettings(max_force=1e-3), "a", "run 7")
    assert all(isinstance(reason, str) for reason in reasons)
    assert "run 7 step 1: a force of" in reasons[0]


def test_groups_are_named_by_document(moved) -> None:
    found = frames_from_tasks.original([moved, moved], TaskSettings(), ["warm", "cold"])
    assert {frame.group for frame in found.frames()} == {"warm", "cold"}
    with pytest.raises(ConfigError, match="2 task documents came with 1 groups"):
        frames_from_tasks.original([moved, moved], TaskSettings(), ["warm"])


def test_vasp_and_a_force_field_do_not_mix_silently(moved, hydrogen) -> None:
    found = original([moved, hydrogen])
    assert found.labeller == "EMT, cp2k"
    with pytest.raises(FramesError, match="Mixed protocols"):
        DatasetMaker.make.original(DatasetMaker(), found)


def test_outputs_of_force_field_jobs_train_a_model(rattled_aluminium, run) -> None:
    relaxations = [ForceFieldRelaxMaker(**BY_EMT, steps=3).make(s) for s in rattled_aluminium[:2]]
    labels = TaskFramesMaker().make([made.output for made in relaxations])
    dataset = DatasetMaker(valid_fraction=0.5).make(labels.output)
    training = FineTuneMaker(foundation="mini", config=parse_overrides("lora", ["max_epochs=1"]))
    trained = training.make(dataset.output)
    outputs = run(Flow([*relaxations, labels, dataset, trained]))
    assert outputs[trained.uuid].model.dataset_hash == outputs[dataset.uuid].dataset_hash
