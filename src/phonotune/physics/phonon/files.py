"""phonopy's own files: what phonopy loads, written; what phonopy wrote, read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from phonopy import Phonopy
from phonopy.file_IO import write_force_constants_to_hdf5
from phonopy.harmonic.force_constants import compact_fc_to_full_fc
from pymatgen.core import Structure

from phonotune.errors import FramesError, InputError
from phonotune.physics.phonon.calculation import PhonopyCalculation, read_calculation
from phonotune.physics.phonon.cells import (
    Rows3,
    build_phonopy,
    primitive_rows,
    resolve_primitive,
    to_structure,
    with_isotopes,
)
from phonotune.physics.phonon.document import analyse_force_constants, phonopy_of
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.ports import FloatArray
from phonotune.schemas.base import Matrix3, Source
from phonotune.schemas.masses import with_masses, with_natural_masses
from phonotune.schemas.phonon import BornCharges, PhononDocument

PARAMS_FILE = "phonopy_params.yaml"
FORCE_CONSTANTS_FILE = "force_constants.hdf5"


def write_phonopy_files(document: PhononDocument, directory: Path) -> tuple[Path, Path]:
    """Write ``phonopy_params.yaml`` (cells, forces, NAC) and ``force_constants.hdf5``.

    Returns
    -------
    The two paths.
    """
    directory.mkdir(parents=True, exist_ok=True)
    phonon = phonopy_of(document)
    params, constants = directory / PARAMS_FILE, directory / FORCE_CONSTANTS_FILE
    phonon.save(params, settings={"force_constants": False})
    write_force_constants_to_hdf5(
        phonon.force_constants,
        filename=str(constants),
        p2s_map=phonon.primitive.p2s_map,
        physical_unit="eV/angstrom^2",
        compression="gzip",
    )
    return params, constants


def read_phonopy(
    path: Path, settings: PhononSettings, source: Source, with_nac: bool = True
) -> PhononDocument:
    """Read a phonon calculation of phonopy as a PhononDocument, e.g. a DFT reference.

    Parameters
    ----------
    path
        A phonopy yaml or the folder of a calculation (:func:`read_calculation`).
    settings, source, with_nac
        As :func:`document_of_calculation`.

    Raises
    ------
    InputError
        As both.
    """
    return document_of_calculation(read_calculation(path), settings, source, with_nac)


def document_of_calculation(
    found: PhonopyCalculation, settings: PhononSettings, source: Source, with_nac: bool = True
) -> PhononDocument:
    """Return the phonons of what phonopy's files hold.

    One-atom displacements are fitted by phonopy, displacements of all atoms by symfc; force constants without
    forces are taken as they stand.

    Parameters
    ----------
    found
        What was read.
    settings
        Mesh, thresholds, primitive matrix; the supercell is the file's.
    source
        Who computed the forces.
    with_nac
        False leaves the Born charges out.

    Raises
    ------
    FramesError
        There are neither forces nor force constants.
    InputError
        Cells or Born charges do not fit.
    """
    primitive = resolve_primitive(found.structure, settings.primitive_matrix, settings.symprec)
    born = found.born(primitive, settings.symprec) if with_nac else None
    phonon, displaced = _with_force_constants(found, primitive, settings.symprec)
    return analyse_force_constants(phonon, found.structure, settings, source, born, displaced)


def read_force_constants(path: Path, symprec: float = 1e-5) -> tuple[Structure, FloatArray]:
    """Read the second derivatives of a supercell from phonopy's files.

    Parameters
    ----------
    path
        A phonopy yaml or the folder of a calculation. Displacements with forces are expanded by symmetry
        (one-atom displacements) or fitted by symfc; force constants without forces are taken as they stand.
    symprec
        Tolerance of the symmetry search, Å.

    Returns
    -------
    The undisplaced supercell, and its force constants, shape (n_atoms, n_atoms, 3, 3), eV/Å^2.

    Raises
    ------
    InputError
        The file is missing or is not phonopy's.
    FramesError
        It holds neither force constants nor forces.
    """
    found = read_calculation(path)
    primitive = primitive_rows(found.structure, symprec)
    phonon, _ = _with_force_constants(found, primitive, symprec)
    constants = compact_fc_to_full_fc(phonon.primitive, np.array(phonon.force_constants))
    return to_structure(phonon.supercell), constants


def full_force_constants(document: PhononDocument) -> FloatArray:
    """Return the force constants of every pair, shape (n_super, n_super, 3, 3), eV/Å^2."""
    phonon = phonopy_of(document)
    return np.asarray(compact_fc_to_full_fc(phonon.primitive, phonon.force_constants))


def document_of_constants(
    structure: Structure,
    matrix: Matrix3,
    constants: FloatArray,
    settings: PhononSettings,
    source: Source,
    born: BornCharges | None = None,
) -> PhononDocument:
    """Return the phonons of given force constants, which are not changed.

    Parameters
    ----------
    structure
        The cell given.
    matrix
        Supercell matrix, rows are vectors.
    constants
        shape (n_super, n_super, 3, 3) or (n_prim, n_super, 3, 3), eV/Å^2, in phonopy's order.
    settings
        Mesh, thresholds, primitive matrix.
    source
        Whose force constants these are.
    born
        Born charges or None.

    Raises
    ------
    InputError
        The shape is not that of the supercell, or primitive matrix or charges do not fit.
    """
    structure = with_masses(structure)
    primitive = resolve_primitive(structure, settings.primitive_matrix, settings.symprec)
    phonon = build_phonopy(structure, matrix, primitive, settings.symprec)
    n_super, n_primitive = len(phonon.supercell), len(phonon.primitive)
    if constants.shape not in {(n, n_super, 3, 3) for n in (n_super, n_primitive)}:
        raise InputError(
            f"Force constants of shape {constants.shape} do not fit a supercell of {n_super} atoms; "
            f"({n_super} or {n_primitive}, {n_super}, 3, 3) is needed."
        )
    rows = slice(None) if len(constants) == n_primitive else phonon.primitive.p2s_map
    phonon.force_constants = np.array(constants[rows], dtype=float)
    return analyse_force_constants(phonon, structure, settings, source, born)


def _with_force_constants(
    found: PhonopyCalculation, primitive: Rows3, symprec: float
) -> tuple[Phonopy, dict[str, Any]]:
    """Return a Phonopy object with force constants, and the arrays that a document keeps of the forces."""
    elements = with_natural_masses(found.structure)
    phonon = build_phonopy(elements, found.matrix, primitive, symprec)
    offsets = phonon.supercell.scaled_positions - found.supercell.frac_coords
    lengths = np.linalg.norm((offsets - np.rint(offsets)) @ phonon.supercell.cell, axis=1)
    if lengths.max() > 1e-3 or list(phonon.supercell.numbers) != list(
        found.supercell.atomic_numbers
    ):
        raise FramesError(
            f"The supercell of {found.files[0]} is not the unit cell repeated in phonopy's order of atoms; "
            "make it with phonopy's default order (not SNF)."
        )
    dataset, constants = found.dataset, found.force_constants
    if dataset is None and constants is None:
        planned = (
            f"{found.n_planned} displacements without forces" if found.n_planned else "no forces"
        )
        raise FramesError(
            f"{found.files[0]} holds {planned}, and there are no forces or force constants beside it "
            "(FORCE_SETS, FORCE_CONSTANTS, force_constants.hdf5). Let phonopy collect them first."
        )
    if dataset is None:
        phonon.force_constants = np.array(constants)[phonon.primitive.p2s_map]
        return with_isotopes(phonon, found.structure), {}
    one_atom = "first_atoms" in dataset
    try:
        phonon.dataset = dataset
        phonon.produce_force_constants(
            calculate_full_force_constants=False, fc_calculator=None if one_atom else "symfc"
        )
        phonon.symmetrize_force_constants(level=3)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise FramesError(
            f"The displacements and forces of {found.files[0]} give no force constants "
            f"({' '.join(str(error).split())}); all that phonopy planned are needed."
        ) from error
    phonon = with_isotopes(phonon, found.structure)
    if not one_atom:
        return phonon, {
            "random_displacements": np.array(dataset["displacements"]),
            "random_forces": np.array(dataset["forces"]),
        }
    rows = dataset["first_atoms"]
    return phonon, {
        "displacement_sites": np.array([d["number"] for d in rows]),
        "displacement_vectors": np.array([d["displacement"] for d in rows]),
        "displacement_forces": np.array([d["forces"] for d in rows]),
    }
