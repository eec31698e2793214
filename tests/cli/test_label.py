"""`label`: progress that no kill loses, failures that stop nothing, refusals before anything starts."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from warm import WarmProcess, phonotune

from phonotune.data.extxyz import read_frames, write_frames
from phonotune.data.importers import import_frames
from phonotune.data.protocols import ProtocolGuard
from phonotune.data.vasp_settings import settings_text
from phonotune.jobs.vasp.protocol import LabelProtocol
from phonotune.schemas.dataset import Frame

SLOW = '''
"""A labeller that tells when it starts and when it is done."""
import os, time
from dataclasses import dataclass
from ase.calculators.emt import EMT
from jobflow import Maker, job


def tell(word, atoms):
    with open(os.environ["SLOW_LOG"], "a") as file:
        file.write(f"{word} {atoms.positions[0, 0]:.12f}\\n")


@dataclass
class SlowStatic(Maker):
    name: str = "slow"

    @job
    def make(self, structure):
        atoms = structure.to_ase_atoms(msonable=False)
        tell("start", atoms)
        time.sleep(float(os.environ["SLOW_SECONDS"]))
        atoms.calc = EMT()
        output = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces().tolist()}
        tell("done", atoms)
        return {"output": output, "structure": structure}
'''


def crystal(seed: int, species: tuple[str, str] = ("Cu", "Au")) -> Structure:
    shift = np.random.default_rng(seed).normal(scale=0.02, size=(2, 3))
    return Structure(Lattice.cubic(3.1), species, np.array([[0, 0, 0], [0.5] * 3]) + shift)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Six frames that EMT knows."""
    path = tmp_path / "frames.extxyz"
    write_frames(path, [Frame(crystal(i), group=f"g{i // 2}", origin=f"f{i}") for i in range(6)])
    return path


def test_label_writes_every_frame_in_order_with_labels_and_labeller(
    cli: Any, frames: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "labelled.extxyz"
    found = cli("label", frames, "--labeller", "emt", "-o", output)
    assert (found["labelled"], found["already"], found["failed"]) == (6, 0, [])
    assert "not for science" in found["note"]
    labelled = read_frames(output, need=("energy", "forces", "stress"))
    assert [frame.origin for frame in labelled] == [f"f{i}" for i in range(6)]
    assert {(frame.labeller, frame.protocol) for frame in labelled} == {("emt", found["protocol"])}
    assert list(output.parent.iterdir()) == [output]


def test_the_same_command_again_labels_nothing(cli: Any, frames: Path, tmp_path: Path) -> None:
    output = tmp_path / "labelled.extxyz"
    cli("label", frames, "--labeller", "emt", "-o", output)
    before = output.read_bytes()
    found = cli("label", frames, "--labeller", "emt", "-o", output)
    assert (found["labelled"], found["already"]) == (0, 6)
    assert output.read_bytes() == before


def test_more_frames_are_added_and_copies_are_labelled_once(
    cli: Any, frames: Path, tmp_path: Path
) -> None:
    output = tmp_path / "labelled.extxyz"
    cli("label", frames, "--labeller", "emt", "-o", output)
    copy = crystal(0)
    copy.translate_sites([1], [1, 0, 0], to_unit_cell=False)
    more = tmp_path / "more.extxyz"
    write_frames(more, [Frame(s) for s in (crystal(8), copy, crystal(8), crystal(9))])
    found = cli("label", more, "--labeller", "emt", "-o", output)
    assert (found["asked"], found["copies"]) == (4, 1)
    assert (found["labelled"], found["already"]) == (2, 1)
    assert len(read_frames(output)) == 8


def test_a_frame_that_fails_is_told_and_tried_again(cli: Any, frames: Path, tmp_path: Path) -> None:
    output, mixed = tmp_path / "labelled.extxyz", tmp_path / "mixed.extxyz"
    bad = Frame(crystal(7, ("Na", "Cl")), group="salt", origin="rock")
    write_frames(mixed, [bad, *read_frames(frames, need=())])
    for labelled, already in ((6, 0), (0, 6)):
        found = cli("label", mixed, "--labeller", "emt", "-o", output, code=1)
        assert (found["labelled"], found["already"]) == (labelled, already)
        (failed,) = found["failed"]
        assert (failed["frame"], failed["origin"]) == (1, "salt, rock")
        assert "No EMT-potential for Na" in failed["reason"]
    assert len(read_frames(output)) == 6
    result = cli.plain("label", mixed, "--labeller", "emt", "-o", output)
    assert result.exit_code == 1
    assert "Failed: frame 1 (salt, rock)" in result.stderr


def test_nothing_is_written_where_every_frame_fails(cli: Any, tmp_path: Path) -> None:
    output, path = tmp_path / "labelled.extxyz", tmp_path / "bad.extxyz"
    write_frames(path, [Frame(crystal(7, ("Na", "Cl")))])
    assert cli("label", path, "--labeller", "emt", "-o", output, code=1)["output"] is None
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_of_another_labeller_is_refused(cli: Any, frames: Path, tmp_path: Path) -> None:
    output = tmp_path / "labelled.extxyz"
    cli("label", frames, "--labeller", "emt", "-o", output)
    before = output.read_bytes()
    message = cli.error("label", frames, "--labeller", "mace:mini", "-o", output)
    assert "labelled by emt" in message
    assert output.read_bytes() == before
    assert "choose another file" in cli.error("label", frames, "--labeller", "emt", "-o", frames)


def test_wrong_input_stops_label_before_it_starts(
    cli: Any, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "labelled.extxyz"
    assert "teacher" in cli.error("label", frames, "--labeller", "techer", "-o", output)
    missing = tmp_path / "nothing.extxyz"
    assert "does not exist" in cli.error("label", missing, "--labeller", "emt", "-o", output)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "'vasp' cannot run here" in cli.error(
        "label", frames, "--labeller", "vasp", "-o", output
    )
    assert list(tmp_path.iterdir()) == [frames]


def test_a_missing_potcar_stops_label_and_names_the_folder(
    cli: Any, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atomate2 import SETTINGS as ATOMATE2
    from pymatgen.core import SETTINGS as PYMATGEN

    folder = tmp_path / "potcars"
    folder.mkdir()
    monkeypatch.setattr(ATOMATE2, "VASP_CMD", sys.executable)
    monkeypatch.setitem(PYMATGEN, "PMG_VASP_PSP_DIR", str(folder))
    output = tmp_path / "labelled.extxyz"
    message = cli.error("label", frames, "--labeller", "vasp", "-o", output)
    assert "No POTCAR of Au, Cu" in message
    assert str(folder) in message
    assert not output.exists()


def test_label_run_and_doctor_say_that_the_command_of_vasp_is_not_there(
    cli: Any, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atomate2 import SETTINGS as ATOMATE2

    monkeypatch.setattr(ATOMATE2, "VASP_CMD", type(ATOMATE2).model_fields["VASP_CMD"].default)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = cli("doctor", "--store", tmp_path / "store")
    (vasp,) = [check for check in found["checks"] if check["what"] == "VASP"]
    assert vasp["state"] == "warn"
    crystal(0, ("Na", "Cl")).to(filename=str(tmp_path / "POSCAR"))
    label = ("label", frames, "--labeller", "vasp", "-o", tmp_path / "labelled.extxyz")
    run = ("run", tmp_path / "POSCAR", "--foundation", "mini", "--out", tmp_path / "out")
    for words in (label, (*run, "--store", tmp_path / "other")):
        message = cli.error(*words)
        assert "(ATOMATE2_VASP_CMD)" in message
        assert "\n" not in message
    assert "ATOMATE2_VASP_CMD" in str(vasp)
    assert not (tmp_path / "other").exists()


def test_other_potcars_than_those_of_the_finished_frames_are_refused(
    cli: Any, frames: Path, tmp_path: Path, potcars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atomate2 import SETTINGS as ATOMATE2
    from pymatgen.core import SETTINGS as PYMATGEN

    monkeypatch.setattr(ATOMATE2, "VASP_CMD", sys.executable)
    monkeypatch.setitem(PYMATGEN, "PMG_VASP_PSP_DIR", str(potcars))
    asked, output = read_frames(frames, need=()), tmp_path / "labelled.extxyz"
    settings = {
        "POTCAR Au": "PAW_PBE Au 01Jan2000",
        "POTCAR Cu": "PAW_PBE Cu 22Jun2005",
    }
    finished = [
        replace(
            frame,
            energy=-1.0,
            labeller="vasp",
            protocol=LabelProtocol().hash[:16],
            settings=settings_text(settings),
        )
        for frame in asked
    ]
    write_frames(tmp_path / "labelled.extxyz.part", finished[:2])
    words = ("label", frames, "--labeller", "vasp", "-o", output)
    message = cli.error(*words)
    assert "POTCAR PAW_PBE Cu 22Jun2005, and here it is PAW_PBE Cu 01Jan2000" in message
    assert "\n" not in message
    settings["POTCAR Cu"] = "PAW_PBE Cu 01Jan2000"
    same = [replace(frame, settings=settings_text(settings)) for frame in finished]
    write_frames(tmp_path / "labelled.extxyz.part", same)
    assert cli(*words)["already"] == 6


@pytest.mark.slow
def test_a_killed_label_goes_on_and_labels_no_frame_twice(frames: Path, tmp_path: Path) -> None:
    (tmp_path / "slowly.py").write_text(SLOW)
    log, output = tmp_path / "log", tmp_path / "labelled.extxyz"
    line = ("label", frames, "--labeller", "slowly:SlowStatic", "-o", output, "--json")

    def start(seconds: str) -> WarmProcess:
        variables = {"PYTHONPATH": str(tmp_path), "SLOW_LOG": str(log), "SLOW_SECONDS": seconds}
        return WarmProcess(phonotune, *line, folder=tmp_path / "said", variables=variables)

    running = start("1.0")
    part = tmp_path / "labelled.extxyz.part"
    limit = time.monotonic() + 120
    while not (part.exists() and part.read_text().count("REF_energy") == 2):
        assert time.monotonic() < limit
        assert running.process.is_alive(), running.stderr
        time.sleep(0.05)
    running.kill()
    finished = part.read_text().count("REF_energy")
    again = start("0")
    assert again.wait() == 0, again.stderr
    found = json.loads(again.stdout)
    assert (found["already"], found["labelled"]) == (finished, 6 - finished)
    words = log.read_text().split("\n")[:-1]
    done = [line for line in words if line.startswith("done")]
    assert len(done) - len(set(done)) <= 1
    recorded = set(done[:finished])
    assert all(done.count(line) == 1 for line in recorded)
    assert [frame.origin for frame in read_frames(output)] == [f"f{i}" for i in range(6)]
    assert not part.exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:POTCAR data with symbol:UserWarning")
@pytest.mark.filterwarnings("ignore::pymatgen.io.vasp.outputs.UnconvergedVASPWarning")
@pytest.mark.filterwarnings("ignore:Float overflow:UserWarning")
@pytest.mark.filterwarnings("ignore:No POTCAR file with matching TITEL:UserWarning")
def test_vasp_labels_through_atomate2_and_says_what_failed(
    cli: Any, frames: Path, tmp_path: Path, vasp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "vasp: {kspacing: 0.5}\nmonitoring: {polling_seconds: 0.05, monitor_every: 4}\n"
    )
    asked = read_frames(frames, need=())[:3]
    for index, frame in enumerate(asked):
        frame.structure.scale_lattice(frame.structure.volume * (1 + 0.01 * index))
    write_frames(frames, asked)
    modes = dict(
        zip(
            [f"{f.structure.volume:.2f}" for f in asked],
            ["ok", "crash", "unconverged"],
            strict=True,
        )
    )
    monkeypatch.setenv("VASP_EMULATOR_MODE", json.dumps(modes))
    output = tmp_path / "labelled.extxyz"
    line = ("label", frames, "--labeller", "vasp", "--config", config, "-o", output)
    first = cli(*line, code=1)
    reasons = {failed["frame"]: failed["reason"] for failed in first["failed"]}
    assert "the job failed" in reasons[2]
    assert "did not converge" in reasons[3]
    monkeypatch.setenv("VASP_EMULATOR_MODE", "ok")
    assert cli(*line)["already"] == 1
    labelled = read_frames(output, need=("energy", "forces", "stress"))
    assert [frame.labeller for frame in labelled] == ["vasp"] * 3
    assert all(frame.magmoms is not None for frame in labelled)
    runs = [path.parent for path in (tmp_path / "labelled-jobs").rglob("vasprun.xml*")]
    imported = import_frames(runs)
    assert imported[0].protocol != labelled[0].protocol
    guard = ProtocolGuard()
    for frame in (*labelled, *imported):
        guard.add(frame)
    assert not guard.mixed
