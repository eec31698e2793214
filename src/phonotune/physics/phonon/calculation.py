"""Finished phonon calculations in phonopy's files: a yaml, or the folder that holds them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import yaml
from phonopy.file_IO import parse_disp_yaml, parse_FORCE_SETS_from_strings
from phonopy.interface.calculator import get_force_constant_conversion_factor
from phonopy.interface.phonopy_yaml import PhonopyYamlData, read_phonopy_yaml
from phonopy.interface.vasp import read_vasp
from phonopy.physical_units import CalculatorPhysicalUnits, get_calculator_physical_units
from phonopy.structure.atoms import PhonopyAtoms
from pymatgen.core import Structure

from phonotune.errors import FramesError, InputError
from phonotune.files import PARSER_ERRORS, read_text
from phonotune.physics.phonon.born import charges_of, read_born
from phonotune.physics.phonon.cells import (
    Rows3,
    build_phonopy,
    float_rows,
    to_structure,
)
from phonotune.physics.phonon.force_files import (
    IDENTITY,
    SYMPREC,
    constants_reader,
    every_pair,
    has_forces,
    same_displacements,
    scaled_dataset,
)
from phonotune.physics.supercell import as_matrix, check_structure
from phonotune.physics.supercell_memory import check_memory
from phonotune.ports import FloatArray
from phonotune.schemas.base import Matrix3
from phonotune.schemas.phonon import BornCharges

T = TypeVar("T")

FORCE_SETS: Final = "FORCE_SETS"
FORCE_CONSTANTS: Final = ("FORCE_CONSTANTS", "force_constants.hdf5")
PHONOPY_FILES: Final = (FORCE_SETS, *FORCE_CONSTANTS)
"""Files with forces or force constants, forces first."""
KINDS: Final = (
    "phonopy_params.yaml with forces, or phonopy_disp.yaml (or POSCAR and disp.yaml) beside FORCE_SETS, "
    "FORCE_CONSTANTS or force_constants.hdf5"
)
_YAML: Final = re.compile(r".*\.ya?ml(\.(xz|gz|bz2|lzma))?", re.IGNORECASE)
_OWN_YAML: Final = re.compile(r"phonopy.*\.ya?ml(\.(xz|gz|bz2|lzma))?", re.IGNORECASE)
_PREFERRED: Final = ("phonopy_params.yaml", "phonopy_disp.yaml", "phonopy.yaml")
_LARGEST_MULTIPLE: Final = 1000
"""No vector of a supercell is a larger multiple of one of the unit cell."""
_UNIT_CELLS: Final = ("POSCAR-unitcell", "POSCAR")
_READ_ERRORS: Final = (*PARSER_ERRORS, RuntimeError, yaml.YAMLError)
"""What phonopy's readers raise on a broken file; at the end of a short FORCE_SETS, a RecursionError."""


@dataclass(frozen=True, eq=False)
class PhonopyCalculation:
    """What phonopy's files hold, in Å and eV whatever the calculator was.

    Attributes
    ----------
    files
        The files that were read, the one with the cells first.
    structure
        The unit cell.
    matrix
        Supercell matrix, rows are vectors.
    supercell
        The supercell, its atoms in the order of forces and force constants.
    primitive
        Primitive vectors (rows) in units of the cell vectors, where the yaml states them.
    dataset
        phonopy's dataset with forces (type 1: one displaced atom each; type 2: all atoms), or None.
    force_constants
        shape (n_super, n_super, 3, 3), eV/Å^2, as they stand in the file, or None.
    n_planned
        Displacements of the yaml that have no forces.
    nac
        phonopy's NAC parameters of the yaml, or None.
    born_file
        BORN beside a yaml without NAC parameters, or None.
    notes
        What was left aside, one sentence each, without its full stop.
    """

    files: tuple[Path, ...]
    structure: Structure
    matrix: Matrix3
    supercell: Structure
    primitive: Rows3 | None
    dataset: dict[str, Any] | None
    force_constants: FloatArray | None = field(repr=False)
    n_planned: int
    nac: dict[str, Any] | None
    born_file: Path | None
    notes: tuple[str, ...]

    @property
    def has_born(self) -> bool:
        """True if there are Born charges."""
        return self.nac is not None or self.born_file is not None

    def born(self, primitive: Rows3, symprec: float) -> BornCharges | None:
        """Return the Born charges of the atoms of a primitive cell, or None.

        Those of the file belong to the primitive cell that it states, which may be another one.

        Raises
        ------
        InputError
            As :func:`read_born` and :func:`charges_of`; charges of another number of atoms.
        """
        if self.nac is not None:
            charges = charges_of(self.nac, str(self.files[0]))
        elif self.born_file is not None:
            stated = self.primitive or primitive
            charges = read_born(self.born_file, self.structure, symprec, stated)
        else:
            return None
        ours = self._primitive(primitive, symprec)
        for rows in [self.primitive] if self.primitive else [primitive, IDENTITY]:
            theirs = self._primitive(rows, symprec)
            if len(theirs) == len(charges.charges):
                atoms = [theirs.p2p_map[theirs.s2p_map[atom]] for atom in ours.p2s_map]
                own = tuple(charges.charges[atom] for atom in atoms)
                return charges.model_copy(update={"charges": own})
        raise FramesError(
            f"{self.files[0]} holds Born charges of {len(charges.charges)} atoms, and its primitive cell has "
            f"{len(theirs)}."
        )

    def _primitive(self, rows: Rows3, symprec: float) -> Any:
        return build_phonopy(self.structure, self.matrix, rows, symprec, symmetry=False).primitive


def holds_calculation(folder: Path) -> bool:
    """Return whether a folder holds phonopy's yaml, or forces or force constants in phonopy's formats."""
    return folder.is_dir() and bool(_yamls(folder) or _beside(folder))


def find_calculations(folders: Iterable[Path]) -> list[Path]:
    """Return the files that stand for the calculations in folders.

    Folders that phonotune wrote (with phonons.json) are left out: their forces are those of a model.
    """
    return [
        path
        for folder in folders
        if not (folder / "phonons.json").is_file()
        for path in _main_files(folder)
    ]


def _main_files(folder: Path) -> list[Path]:
    """Return the yaml with the name that phonopy gives, or else all yaml, or else FORCE_SETS or the like."""
    found = _yamls(folder)
    for name in _PREFERRED:
        for path in found:
            if path.name == name or path.name.startswith(f"{name}."):
                return [path]
    return found or [folder / name for name in _beside(folder)[:1]]


def read_calculation(path: Path) -> PhonopyCalculation:
    """Read a phonon calculation from phonopy's files.

    Forces count before force constants, and those of the yaml before FORCE_SETS: from forces, a reference
    and a model get their force constants in the same way.

    Parameters
    ----------
    path
        A phonopy yaml (plain, xz, gz, bz2), FORCE_SETS or the like, or the folder that holds them. What a
        yaml lacks is taken from the files beside it; FORCE_SETS and the like count if they are named, and
        get only their cells from there.

    Raises
    ------
    FramesError
        No such file, not phonopy's format, files that do not belong together, partly occupied sites.
    """
    try:
        return _read(path, "a phonon calculation of phonopy", lambda: _read_files(path))
    except FramesError:
        raise
    except InputError as error:
        raise FramesError(f"{path}: {' '.join(str(error).split())}") from error


def _read_files(path: Path) -> PhonopyCalculation:
    if not path.exists():
        raise FramesError(f"{path} does not exist; give {KINDS}.")
    folder = path if path.is_dir() else path.parent
    files = _main_files(folder) if path.is_dir() or path.name in PHONOPY_FILES else [path]
    if len(files) != 1:
        names = ", ".join(file.name for file in files)
        what = f"several phonopy yaml ({names}); give one of them instead of the folder."
        none = f"no phonon calculation of phonopy; give a folder with {KINDS}."
        raise FramesError(f"{path} holds {what if files else none}")
    file = files[0]
    if _YAML.fullmatch(file.name):
        data = _read(
            file,
            "a phonopy yaml",
            lambda: read_phonopy_yaml(StringIO(read_text(file, FramesError))),
        )
    else:
        file, data = _from_poscar(folder)
    if data.unitcell is None or data.supercell_matrix is None:
        raise FramesError(
            f"{file} holds no unit cell and supercell matrix; it is not a phonopy yaml of a calculation."
        )
    units = get_calculator_physical_units(data.calculator)
    structure = _structure(data.unitcell, units, file)
    matrix = as_matrix(np.asarray(data.supercell_matrix).T)
    check_structure(structure)
    if data.supercell is None:
        check_memory(structure, matrix, IDENTITY)
        cells = build_phonopy(structure, matrix, IDENTITY, SYMPREC, symmetry=False)
        supercell = to_structure(cells.supercell)
    else:
        supercell = _structure(data.supercell, units, file)
    primitive = data.primitive_matrix
    if primitive is not None:
        primitive = float_rows(np.asarray(primitive, dtype=float).reshape(3, 3).T)
    n_atoms = len(structure) * round(float(np.linalg.det(matrix)))
    if len(supercell) != n_atoms:
        raise FramesError(
            f"{file} has a supercell of {len(supercell)} atoms, and its matrix makes {n_atoms}; give the files "
            "of one calculation."
        )
    files, notes = [file], []
    if data.unitcell.magnetic_moments is not None:
        notes.append(
            f"{file}: magnetic moments are left out; the symmetry of the phonons is that of the atoms alone"
        )

    planned, dataset, constants = data.dataset or {}, None, data.force_constants
    n_planned = len(planned.get("first_atoms", planned.get("displacements", ())))
    beside = _beside(folder)
    if path.name in beside:  # this file is asked for, whatever lies beside it
        beside, constants = [path.name], None
    elif n_planned and has_forces(planned):
        dataset, n_planned = planned, 0
    if dataset is None and FORCE_SETS in beside:
        name = folder / beside.pop(0)
        text, n = read_text(name, FramesError), len(supercell)
        dataset = _read(name, "FORCE_SETS", partial(parse_FORCE_SETS_from_strings, text, natom=n))
        files.append(name)
        if n_planned and not same_displacements(planned, dataset):
            notes.append(
                f"{name} has other displacements than {file.name}; those of {name.name} count"
            )
    if dataset is None and constants is None and beside:
        name = folder / beside.pop(0)
        files.append(name)
        reader = constants_reader(name, data.calculator)
        constants = _read(
            name, "force constants", lambda: every_pair(reader, structure, matrix, primitive, name)
        )
    elif constants is not None:
        stored = constants
        constants = every_pair(lambda _: stored, structure, matrix, primitive, file)
    if beside and (dataset or constants is not None):
        used = "forces" if dataset else files[-1].name
        notes.append(f"{' and '.join(beside)} in {folder} not used: the {used} beside count")
    if constants is not None:
        constants = constants * get_force_constant_conversion_factor(
            units.force_constants_unit, None
        )
    born_file = folder / "BORN" if data.nac_params is None and (folder / "BORN").is_file() else None
    return PhonopyCalculation(
        files=(*files, *([born_file] if born_file else [])),
        structure=structure,
        matrix=matrix,
        supercell=supercell,
        primitive=primitive,
        dataset=None
        if dataset is None
        else scaled_dataset(dataset, units, len(supercell), files[-1]),
        force_constants=constants,
        n_planned=n_planned,
        nac=None if data.nac_params is None else dict(data.nac_params),
        born_file=born_file,
        notes=tuple(notes),
    )


def _yamls(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if _OWN_YAML.fullmatch(path.name))
    return sorted(path for path in found if path.is_file())


def _beside(folder: Path) -> list[str]:
    """Return the names of the files with forces or force constants in a folder, forces first."""
    return [name for name in PHONOPY_FILES if (folder / name).is_file()]


def _read(path: Path, kind: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except _READ_ERRORS as error:
        short = isinstance(error, RecursionError | EOFError | IndexError)
        reason = "it ends too early" if short else " ".join(str(error).split())[:200]
        raise FramesError(f"{path} cannot be read as {kind} ({reason}).") from error


def _from_poscar(folder: Path) -> tuple[Path, PhonopyYamlData]:
    """Return the cells of a folder of old phonopy: POSCAR, and disp.yaml or SPOSCAR for the supercell."""
    if (folder / "disp.yaml").is_file():
        large = folder / "disp.yaml"
        _, supercell = _read(large, "a disp.yaml", lambda: parse_disp_yaml(large, return_cell=True))
    elif (folder / "SPOSCAR").is_file():
        large = folder / "SPOSCAR"
        supercell = _read(large, "a POSCAR", lambda: read_vasp(large))
    else:
        raise FramesError(
            f"{folder} names no supercell: it holds no phonopy_disp.yaml, disp.yaml or SPOSCAR. Give {KINDS}."
        )
    for name in _UNIT_CELLS:
        path = folder / name
        if not path.is_file():
            continue
        unitcell = _read(path, "a POSCAR", partial(read_vasp, path))
        matrix = supercell.cell @ np.linalg.inv(unitcell.cell)
        multiple = np.allclose(matrix, np.rint(matrix), rtol=0.0, atol=1e-4)
        n_atoms = len(unitcell) * float(np.linalg.det(matrix))
        if (
            multiple
            and np.abs(matrix).max() < _LARGEST_MULTIPLE
            and len(supercell) == round(n_atoms)
        ):
            data = PhonopyYamlData(unitcell=unitcell, supercell=supercell)
            data.supercell_matrix = np.rint(matrix).astype(np.int64).T
            return path, data
    raise FramesError(
        f"{folder} holds no {' or '.join(_UNIT_CELLS)} whose multiple is the supercell of {large.name} "
        f"({len(supercell)} atoms); add the unit cell as POSCAR-unitcell."
    )


def _structure(cell: PhonopyAtoms, units: CalculatorPhysicalUnits, path: Path) -> Structure:
    """Return phonopy's cell in Å."""
    if cell.has_weighted_species:
        raise FramesError(
            f"{path} has partly occupied sites; phonons need an ordered structure. Choose one ordering."
        )
    scaled = cell.copy()
    scaled.cell = cell.cell * units.distance_to_A
    return to_structure(scaled)
