"""Damaged files of every format: each is read or refused in one sentence, and frames that are whole are kept.

``PHONOTUNE_FUZZ`` sets how many files of each format are tried.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import h5py
import numpy as np
import pytest
import vasp_files
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from phonopy.file_IO import (
    write_disp_yaml_from_dataset,
    write_FORCE_CONSTANTS,
    write_FORCE_SETS,
)
from phonopy.interface.vasp import write_vasp
from pymatgen.core import Lattice, Structure
from vasp import Run, Step
from vasp_runs import made_up_run

from phonotune.cli.config import build_maker
from phonotune.data.assemble import assemble
from phonotune.data.document_files import read_document, write_property
from phonotune.data.extxyz_text import format_frame
from phonotune.data.folder import read_dataset, write_dataset
from phonotune.data.importers import Importer
from phonotune.data.statistics import Tally
from phonotune.data.structures import read_structure
from phonotune.errors import PhonotuneError
from phonotune.models.records import model_record, read_model_directory
from phonotune.physics.phonon.calculation import read_calculation
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.document import phonopy_of
from phonotune.physics.phonon.files import read_force_constants, write_phonopy_files
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.schemas.dataset import Frame
from phonotune.schemas.phonon import BornCharges, PhononDocument
from phonotune.schemas.training import FoundationRecord
from tests.cli.conftest import Cli
from tests.data.test_ml_ab import STARS, _configuration, _part
from tests.data.test_vaspout import write as write_vaspout

FILES = int(os.environ.get("PHONOTUNE_FUZZ", "2000"))
SECONDS = 5
"""Longest time that one small file may take."""
MEGABYTES = 300
"""Most memory that the files of one format may take."""
CRYSTAL = Structure(
    Lattice.from_parameters(3.0, 3.1, 3.3, 85, 95, 100), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
"""Of low symmetry, which phonopy works with four times as fast as with that of a cube."""


# files that are whole ---------------------------------------------------------------------------------


def run_of_three() -> Run:
    run = made_up_run({}, "6.4.3")
    first = run.steps[0]
    for number in (1, 2):
        atoms = first.atoms.copy()
        atoms.positions[1] += 0.01 * number
        run.steps.append(
            Step(atoms, first.energy - number, first.forces + 0.1 * number, first.stress)
        )
    return run


def images() -> list[Atoms]:
    found = []
    for number in range(3):
        atoms = Atoms(
            "CuAu", positions=[[0, 0, 0], [1.5, 1.5, 1.5 + 0.01 * number]], cell=[3, 3, 3], pbc=True
        )
        labels = {"energy": -6.5 - number, "forces": np.full((2, 3), 0.1 * number)}
        atoms.calc = SinglePointCalculator(atoms, **labels, stress=0.01 * np.arange(6.0))
        found.append(atoms)
    return found


def vasp_text(write: Callable[[Run], str]) -> Callable[[Path], None]:
    return lambda path: path.write_text(write(run_of_three())) and None


def ml_ab(path: Path) -> None:
    text = " 1.0 Version\n" + _part(STARS, "The number of configurations", "          3")
    path.write_text(
        text + "".join(_configuration(n, ["Mg", "O"], -11.0 - 0.5 * n) for n in (1, 2, 3))
    )


def xyz(labels: str, columns: str, *, six: bool = False) -> Callable[[Path], None]:
    """Write three frames with labels of these names."""
    stress = "0.01 0.02 0.03 0.001 0.002 0.003" if six else "0.1 0.01 0 0.01 0.2 0 0 0 0.3"

    def write(path: Path) -> None:
        path.write_text(
            "".join(
                '2\nLattice="4.1 0.0 0.0 0.0 4.2 0.0 0.0 0.0 4.3" '
                f"Properties=species:S:1:pos:R:3:{columns} "
                f'{labels.format(energy=-6.5 - number, stress=stress)} pbc="T T T"\n'
                f"Cs 0.0 0.0 0.{number} 0.125 0.0 -0.25\nCl 2.0 2.1 2.2 -0.125 0.0 0.25\n"
                for number in range(3)
            )
        )

    return write


def database(path: Path) -> None:
    path.unlink(missing_ok=True)
    with ase.db.connect(path) as connection:
        for number, atoms in enumerate(images()):
            connection.write(atoms, group=f"g {number}", data={"REF_magmoms": np.full(2, 0.5)})


def document() -> PhononDocument:
    plan = plan_displacements(
        CRYSTAL,
        PhononSettings(
            supercell_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
            mesh_density=3.0,
            mesh_tolerance=9.0,
        ),
    )
    answers = []
    for moved in plan.structures:
        moves = moved.cart_coords - CRYSTAL.cart_coords
        answers.append(Evaluation(0.0, -3.0 * (moves - moves[::-1]), np.zeros((3, 3))))
    born = BornCharges(charges=np.array([np.eye(3), -np.eye(3)]), dielectric=2.5 * np.eye(3))
    return analyse_forces(plan, answers, Source(role="reference", evaluator="springs"), born=born)


def phonopy_folder(*names: str) -> Callable[[Path], None]:
    """Write files of one calculation of phonopy beside each other."""

    def write(path: Path) -> None:
        calculation, folder = document(), path.parent
        phonon = phonopy_of(calculation)
        write_phonopy_files(calculation, folder)
        kept = {"force_sets": False, "force_constants": False, "displacements": True}
        phonon.save(folder / "phonopy_disp.yaml", settings=kept)
        write_FORCE_SETS(phonon.dataset, folder / "FORCE_SETS")
        write_FORCE_CONSTANTS(phonon.force_constants, folder / "FORCE_CONSTANTS")
        write_disp_yaml_from_dataset(
            phonon.dataset, phonon.supercell, filename=str(folder / "disp.yaml")
        )
        write_vasp(folder / "POSCAR", phonon.unitcell)
        (folder / "BORN").write_text(
            "default\n2.5 0 0 0 2.5 0 0 0 2.5\n1.0 0 0 0 1.0 0 0 0 1.0\n-1.0 0 0 0 -1.0 0 0 0 -1.0\n"
        )
        for file in folder.iterdir():
            if file.name not in (path.name, *names):
                file.unlink()

    return write


def config(path: Path) -> None:
    content = {
        "foundation": "mini",
        "labeller": "teacher",
        "strategies": ["lora", "freeze"],
        "properties": ["phonon"],
        "seed": 3,
        "select": {"budget": 12, "method": "fps"},
        "phonon": {"mesh_density": 30.0, "supercell_matrix": [[2, 0, 0], [0, 2, 0], [0, 0, 2]]},
        "options": {"lora": {"max_epochs": 50, "lr": 0.001}},
    }
    path.write_text(yaml.safe_dump(content))


def dataset(path: Path) -> None:
    frames = [
        Frame(CRYSTAL.copy().perturb(0.02, seed=n), -6.5, np.zeros((2, 3)), group=f"g{n}")
        for n in range(3)
    ]
    shutil.rmtree(path.parent)
    write_dataset(assemble(frames, labeller="vasp", valid_groups=["g1"]), path.parent)


def model(path: Path) -> None:
    record = model_record(
        FoundationRecord(name="mini", sha256="0" * 64), "lora", [b"adapter"], "1" * 64, {"lr": 0.01}
    )
    (path.parent / "adapter.safetensors").write_bytes(b"adapter")
    path.write_text(json.dumps({"members": 1, **record.model_dump(exclude={"adapters"})}))


# what commands call -----------------------------------------------------------------------------------


def frames_of(path: Path) -> list[Any]:
    """Import a file as the command does; return what its frames hold."""
    importer, tally = Importer([path]), Tally()
    frames = [tally.counted(frame) for frame in importer]
    tally.result()
    for sentence in (*importer.refused, *importer.notes.values()):
        assert "\n" not in str(sentence), f"not one sentence: {sentence}"
    assert frames
    for frame in frames:
        assert format_frame(frame)
        assert np.isfinite(frame.structure.cart_coords).all()
    return [(f.energy, f.forces.tolist() if f.forces is not None else None) for f in frames]


def reference_of(path: Path) -> list[Any]:
    """Read a calculation of phonopy as `compare` does."""
    structure, constants = read_force_constants(path)
    assert constants.shape == (len(structure), len(structure), 3, 3)
    assert np.isfinite(constants).all()
    return [constants]


def charges_of(path: Path) -> list[Any]:
    charges = read_calculation(path.parent).born(((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)), 1e-5)
    assert np.isfinite(charges.charges).all()
    return [charges]


def crystal_of(path: Path) -> list[Any]:
    return [read_structure(path).composition.formula]


@dataclass(frozen=True)
class Format:
    """One kind of file: its name, who writes a whole one, who reads it, and the command that does."""

    name: str
    write: Callable[[Path], Any]
    read: Callable[[Path], list[Any]]
    command: tuple[str, ...]

    def arguments(self, path: Path, other: Path) -> list[str]:
        """Return the command line; ``other`` is a folder with what else a command reads."""
        places = {"file": path, "folder": path.parent, "other": other, "out": other / "out.extxyz"}
        return [word.format_map(places) for word in self.command]


IMPORT = ("import", "{file}", "-o", "{out}")
COMPARE = ("compare", "{file}", "{other}")
PHONONS = ("phonons", "{file}", "--model", "none", "-o", "{other}/new")
FORMATS = {
    "vasprun": Format("vasprun.xml", vasp_text(vasp_files.vasprun), frames_of, IMPORT),
    "outcar": Format("OUTCAR", vasp_text(vasp_files.outcar), frames_of, IMPORT),
    "vaspout": Format("vaspout.h5", write_vaspout, frames_of, IMPORT),
    "ml_ab": Format("ML_AB", ml_ab, frames_of, IMPORT),
    "extxyz": Format(
        "a.extxyz",
        xyz('REF_energy={energy} REF_stress="{stress}"', "REF_forces:R:3"),
        frames_of,
        IMPORT,
    ),
    "extxyz of ASE": Format(
        "a.xyz",
        xyz('free_energy={energy} energy={energy} stress="{stress}"', "forces:R:3"),
        frames_of,
        IMPORT,
    ),
    "extxyz of NEP": Format(
        "a.extxyz", xyz('Energy={energy} virial="{stress}"', "force:R:3"), frames_of, IMPORT
    ),
    "extxyz, six": Format(
        "a.extxyz",
        xyz("config_type=bulk energy={energy} stress='{stress}'", "forces:R:3", six=True),
        frames_of,
        IMPORT,
    ),
    "traj": Format("a.traj", lambda path: ase.io.write(path, images()), frames_of, IMPORT),
    "db": Format("a.db", database, frames_of, IMPORT),
    "phonopy yaml": Format("phonopy_params.yaml", phonopy_folder(), reference_of, COMPARE),
    "phonopy frames": Format("phonopy_params.yaml", phonopy_folder(), frames_of, IMPORT),
    "FORCE_SETS": Format("FORCE_SETS", phonopy_folder("phonopy_disp.yaml"), reference_of, COMPARE),
    "FORCE_CONSTANTS": Format(
        "FORCE_CONSTANTS", phonopy_folder("phonopy_disp.yaml"), reference_of, COMPARE
    ),
    "force_constants.hdf5": Format(
        "force_constants.hdf5", phonopy_folder("phonopy_disp.yaml"), reference_of, COMPARE
    ),
    "BORN": Format(
        "BORN",
        phonopy_folder("phonopy_disp.yaml", "FORCE_SETS"),
        charges_of,
        ("compare", "{folder}", "{other}"),
    ),
    "disp.yaml": Format(
        "disp.yaml",
        phonopy_folder("POSCAR", "FORCE_SETS"),
        lambda path: reference_of(path.parent),
        ("compare", "{folder}", "{other}"),
    ),
    "POSCAR": Format(
        "POSCAR", lambda path: CRYSTAL.to(filename=str(path), fmt="poscar"), crystal_of, PHONONS
    ),
    "cif": Format("a.cif", lambda path: CRYSTAL.to(filename=str(path)), crystal_of, PHONONS),
    "dataset.json": Format(
        "dataset.json",
        dataset,
        lambda path: [read_dataset(path.parent).dataset_hash],
        ("dataset", "info", "{folder}"),
    ),
    "model.json": Format(
        "model.json",
        model,
        lambda path: [read_model_directory(path.parent).model_id],
        ("models", "verify", "{folder}"),
    ),
    "config": Format(
        "config.yaml",
        config,
        lambda path: [build_maker(path, {})],
        (*("sample", "{other}/POSCAR", "-o", "{out}"), "--config", "{file}", "--foundation", "no"),
    ),
    "phonons.json": Format(
        "phonons.json",
        lambda path: write_property(document(), path.parent),
        lambda path: [read_document(path).formula],
        ("compare", "{folder}", "{other}"),
    ),
}

# damage -----------------------------------------------------------------------------------------------

WORDS = (
    *(b"", b"0", b"-1", b"1.0", b"-3.7", b"1e5", b"1e30", b"1e400", b"nan", b"-inf", b"1.5D+02"),
    *(b"999999999", b"2147483648", b"18446744073709551616", b"9" * 400, b"1_000", b"*" * 15),
    *(b"Xx", b"H", b"T", b"null", b"true", b"[1, 2]", b"{}", b"a: 1", b"- 1", b"!!python/none"),
    *(b"2001-99-99", b"0x1f", b"1+2", b"1/0", b"K\xe4fer", "\u529b".encode(), b"\xff\xfe", b"\0"),
    *(b'"', b"'", b"<", b"</v>", b"&x;", b"\n", b"\n\n", b"\t", b"=", b"%s", b"../x", b"1 2 3 4"),
)
TEXT = [word for word in WORDS if word.strip() and not set(word) & set(b"<>&\"'\n=\0{}[]\xff")]
NUMBER = re.compile(rb"(?<=[ \"=>])-?\d+\.\d+(?:[eE][+-]?\d+)?(?=[ \"<\n])")
WORD = re.compile(rb"[^\s<>\"',=:\[\]{}]+")
WHOLE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "utf-16": lambda content: content.decode("latin-1").encode("utf-16"),
    "utf-16 without mark": lambda content: content.decode("latin-1").encode("utf-16-le"),
    "byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "Windows": lambda content: content.replace(b"\n", b"\r\n"),
    "old Mac": lambda content: content.replace(b"\n", b"\r"),
    "twice": lambda content: content + content,
    "upper case": bytes.upper,
    "no ends of lines": lambda content: content.replace(b"\n", b" "),
    "empty": lambda content: b"",
    "blank": lambda content: b"\n \n",
}
KINDS = ("word", "word", "word", "cut", "lines", "swap", "repeat", "byte", "insert", "whole")
EDITS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        *(st.integers(0, 2**20 - 1), st.integers(0, 2**20 - 1)),
        st.sampled_from(WORDS),
        st.sampled_from(sorted(WHOLE)),
    ),
    min_size=1,
    max_size=3,
)


def damaged(content: bytes, edits: list[tuple[str, int, int, bytes, str]]) -> bytes:
    """Apply edits one after the other; their integers choose the places."""
    for kind, one, two, word, whole in edits:
        size, lines = max(1, len(content)), content.splitlines(keepends=True)
        start, end = sorted((one % (len(lines) + 1), (one + two % 9) % (len(lines) + 1)))
        if kind == "word" and content.startswith(b"\x89HDF") and one % 2:
            content = changed_hdf5(content, one // 2, two)
        elif kind == "word":
            places = list(WORD.finditer(content))
            place = places[one % len(places)].span() if places else (0, 0)
            content = content[: place[0]] + word + content[place[1] :]
        elif kind == "cut":
            content = content[: one % size]
        elif kind == "lines":
            content = b"".join(lines[:start] + lines[end:])
        elif kind == "swap":
            content = b"".join(lines[:start] + lines[end:] + lines[start:end])
        elif kind == "repeat":
            content = b"".join(lines[:end] + lines[start:])
        elif kind == "byte":
            content = content[: one % size] + bytes([two % 256]) + content[one % size + 1 :]
        elif kind == "insert":
            content = content[: one % size] + word + content[one % size :]
        else:
            content = WHOLE[whole](content)
    return content


def changed_hdf5(content: bytes, one: int, two: int) -> bytes:
    """Replace or remove a dataset or a group; a file that is damaged already stays as it is."""
    buffer = io.BytesIO(content)
    try:
        with h5py.File(buffer, "r+") as file:
            names: list[str] = []
            file.visit(names.append)
            name = names[one % len(names)]
            old = file[name][()] if isinstance(file[name], h5py.Dataset) else 0.0
            number = np.asarray(old).dtype.kind in "if"
            new = [
                *(
                    None,
                    -1,
                    0,
                    2.5,
                    np.nan,
                    10**12,
                    "text",
                    b"\xff",
                    np.zeros((0, 3)),
                    np.ones((2, 2)),
                ),
                *(np.full(np.shape(old), value) for value in (np.nan, np.inf, -1, 1e300, 0.0)),
                *(np.array([old]), np.array([old, old]), old * 10**6 if number else "1e400"),
            ][two % 18]
            del file[name]
            if new is not None:
                file[name] = new
    except (OSError, KeyError, RuntimeError, ValueError, TypeError):
        return content
    return buffer.getvalue()


class TooSlowError(BaseException):
    """A file took too long; readers that catch every Exception do not catch this."""


@contextmanager
def time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlowError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fault_of(kind: Format, path: Path) -> str:
    """Read a file; return where and how it fails, or nothing if it is read or refused in one sentence."""
    try:
        with warnings.catch_warnings(), time_limit():
            warnings.simplefilter("ignore")  # as the command line does
            kind.read(path)
    except PhonotuneError as error:
        said = str(error)
        named = kind.name in said or str(path.parent) in said
        if error.exit_code == 2 and "\n" not in said and named:
            return ""
        return f"exit code {error.exit_code}, {re.sub(r'[0-9]+', '#', said)!r}"
    except (Exception, TooSlowError) as error:  # noqa: BLE001 - whatever is raised is a fault
        own = [f for f in traceback.extract_tb(error.__traceback__) if "/phonotune/" in f.filename]
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].line}" if own else "test"
        return f"{type(error).__name__} at {place}"
    return ""


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture(autouse=True)
def _no_more_memory_than_the_machine_has() -> Iterator[None]:
    """Let the allocation of tens of gigabytes fail instead of stopping the machine."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * 2**30, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def each_time_the_same(count: int) -> settings:
    """Generate so many examples, the same ones in every run."""
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_read_or_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    kind = FORMATS[name]
    path = tmp_path / "files" / kind.name
    path.parent.mkdir()
    kind.write(path)
    whole = path.read_bytes()
    assert kind.read(path)  # imports what it needs, too
    assert not fault_of(kind, path)
    faults: dict[str, Path] = {}
    tried, before = 0, megabytes()

    @each_time_the_same(FILES)
    @given(EDITS)
    def try_one(edits: list[tuple[str, int, int, bytes, str]]) -> None:
        nonlocal tried
        tried += 1
        path.write_bytes(damaged(whole, edits))
        if (fault := fault_of(kind, path)) and fault not in faults:
            faults[fault] = tmp_path / f"{len(faults)}-{kind.name}"
            shutil.copy(path, faults[fault])

    try_one()
    assert not faults, "\n".join(f"{fault}: {file}" for fault, file in faults.items())
    assert tried >= FILES
    assert megabytes() - before < MEGABYTES


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["vasprun", "outcar", "ml_ab", *(n for n in FORMATS if "xyz" in n)]
)
def test_a_wrong_number_in_one_frame_leaves_the_others_as_they_are(
    name: str, tmp_path: Path
) -> None:
    kind, path = FORMATS[name], tmp_path / FORMATS[name].name
    kind.write(path)
    whole, frames = path.read_bytes(), kind.read(path)
    starts = {"vasprun.xml": b"<calculation>", "OUTCAR": b"Iteration", "ML_AB": b"Configuration"}
    found = [m.start() for m in re.finditer(starts.get(kind.name, b"Lattice="), whole)]
    begin, end = found[len(found) // 3], found[2 * len(found) // 3]
    places = list(NUMBER.finditer(whole, begin, end))
    assert len(places) >= 12
    for number in range(FILES // 4):
        start, stop = places[number * 7919 % len(places)].span()
        path.write_bytes(whole[:start] + TEXT[number % len(TEXT)] + whole[stop:])
        with warnings.catch_warnings(), time_limit():
            warnings.simplefilter("ignore")
            importer = Importer([path], allow_mixed=True)
            read = [
                (frame.energy, frame.forces.tolist())
                for frame in importer
                if frame.forces is not None
            ]
        assert frames[0] in read, f"{kind.name}: {TEXT[number % len(TEXT)]!r} at byte {start}"
        assert frames[2] in read, f"{kind.name}: {TEXT[number % len(TEXT)]!r} at byte {start}"


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_commands_end_with_0_or_2(name: str, tmp_path: Path) -> None:
    kind, other = FORMATS[name], tmp_path / "other"
    path = tmp_path / "files" / kind.name
    path.parent.mkdir()
    other.mkdir()
    CRYSTAL.to(filename=str(other / "POSCAR"), fmt="poscar")
    write_property(document(), other)
    kind.write(path)
    whole = path.read_bytes()
    codes = [Cli().plain(*kind.arguments(path, other)).exit_code]  # imports what it needs, too

    @each_time_the_same(max(1, FILES // 100))
    @given(EDITS)
    def try_one(edits: list[tuple[str, int, int, bytes, str]]) -> None:
        path.write_bytes(damaged(whole, edits))
        result = Cli().plain(*kind.arguments(path, other))
        codes.append(result.exit_code)
        assert result.exit_code in (0, 2), f"{path}: {result.output}"
        assert "Traceback" not in result.output

    try_one()
    assert set(codes) <= {0, 2}
