"""Forces and force constants in phonopy's formats: their shapes checked, their units converted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from phonopy.cui.load_helper import read_force_constants_from_hdf5
from phonopy.file_IO import parse_FORCE_CONSTANTS
from phonopy.harmonic.force_constants import compact_fc_to_full_fc
from phonopy.physical_units import CalculatorPhysicalUnits
from pymatgen.core import Structure

from phonotune.errors import FramesError
from phonotune.physics.phonon.cells import Rows3, build_phonopy, primitive_rows
from phonotune.ports import FloatArray
from phonotune.schemas.base import Matrix3

IDENTITY: Final[Rows3] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
SYMPREC: Final = 1e-5


def has_forces(dataset: Any) -> bool:
    """Return whether every displacement of phonopy's dataset has its forces."""
    if "first_atoms" in dataset:
        return all("forces" in entry for entry in dataset["first_atoms"])
    return "forces" in dataset


def same_displacements(planned: Any, found: Any) -> bool:
    """Return whether forces belong to planned displacements; of random ones, to the first of them."""
    if ("first_atoms" in planned) != ("first_atoms" in found):
        return False
    if "first_atoms" in planned:
        rows = [
            np.array([[d["number"], *d["displacement"]] for d in dataset["first_atoms"]])
            for dataset in (planned, found)
        ]
    else:
        moves = np.asarray(found["displacements"])
        rows = [np.asarray(planned["displacements"])[: len(moves)], moves]
    return rows[0].shape == rows[1].shape and np.allclose(rows[0], rows[1], atol=1e-6)


def scaled_dataset(
    dataset: Any, units: CalculatorPhysicalUnits, n_atoms: int, path: Path
) -> dict[str, Any]:
    """Return phonopy's dataset in Å, eV/Å and eV.

    Raises
    ------
    FramesError
        Not one force per atom and displacement, one energy per displacement; a number that is none.
    """
    scales = {
        "displacement": units.distance_to_A,
        "displacements": units.distance_to_A,
        "forces": units.force_to_eVperA,
        "supercell_energy": units.energy_to_eV,
        "supercell_energies": units.energy_to_eV,
    }

    def scaled(entry: Any) -> dict[str, Any]:
        return {
            key: np.asarray(value, dtype=np.float64) * scales[key] if key in scales else value
            for key, value in entry.items()
        }

    entries = [scaled(entry) for entry in dataset.get("first_atoms", [dataset])]
    for number, entry in enumerate(entries, start=1):
        where = f"displacement {number} of {path}" if "first_atoms" in dataset else str(path)
        moves = entry.get("displacements", np.zeros((n_atoms, 3)))
        energies = entry.get("supercell_energies", moves[..., 0, 0])
        if (
            moves.shape != entry["forces"].shape
            or moves.shape[-2:] != (n_atoms, 3)
            or energies.shape != moves.shape[:-2]
            or not 0 <= entry.get("number", 0) < n_atoms
        ):
            raise FramesError(
                f"The forces of {where} are not those of a supercell of {n_atoms} atoms; give the files of one "
                "calculation."
            )
        if not all(np.isfinite(entry[key]).all() for key in scales if key in entry):
            raise FramesError(f"A number in {where} is infinite or not a number.")
    if "first_atoms" in dataset:
        return {"natom": n_atoms, "first_atoms": entries}
    return entries[0]


def every_pair(
    read: Callable[[Any], FloatArray],
    structure: Structure,
    matrix: Matrix3,
    primitive: Rows3 | None,
    path: Path,
) -> FloatArray:
    """Return force constants of every pair of atoms, shape (n_super, n_super, 3, 3), the unit unchanged.

    ``read`` gets the atoms of the supercell that stand for the primitive cell, and raises a RuntimeError
    where compact force constants are of others.

    Raises
    ------
    FramesError
        They are of another number of atoms, or one of them is no number.
    """
    mismatch = ""
    for rows in [primitive] if primitive else [primitive_rows(structure, SYMPREC), IDENTITY]:
        phonon = build_phonopy(structure, matrix, rows, SYMPREC, symmetry=False)
        n_super = len(phonon.supercell)
        try:
            constants = np.asarray(read(phonon.primitive.p2s_map), dtype=np.float64)
        except RuntimeError as error:
            mismatch = f": {' '.join(str(error).split())}"
            continue
        if not np.isfinite(constants).all():
            raise FramesError(f"A force constant in {path} is infinite or not a number.")
        if constants.shape == (n_super, n_super, 3, 3):
            return constants
        if constants.shape == (len(phonon.primitive), n_super, 3, 3):
            return np.asarray(compact_fc_to_full_fc(phonon.primitive, constants), dtype=np.float64)
        mismatch = f": they are of {constants.shape[0]} by {constants.shape[1]} atoms"
    raise FramesError(
        f"{path} holds force constants that do not fit a supercell of {n_super} atoms{mismatch}. Give the "
        "files of one calculation."
    )


def constants_reader(path: Path, calculator: str | None) -> Callable[[Any], FloatArray]:
    """Return what reads FORCE_CONSTANTS or force_constants.hdf5 for :func:`every_pair`, in phonopy's unit."""
    if path.name.endswith(".hdf5"):
        return lambda atoms: read_force_constants_from_hdf5(path, atoms, calculator)
    return lambda atoms: parse_FORCE_CONSTANTS(path, atoms)
