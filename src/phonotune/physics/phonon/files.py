"""phonopy's own files: what phonopy loads, written; what phonopy wrote, read."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from phonopy import Phonopy
from phonopy.file_IO import parse_BORN, write_force_constants_to_hdf5
from phonopy.harmonic.force_constants import compact_fc_to_full_fc
from phonopy.interface.phonopy_yaml import PhonopyYaml
from pymatgen.core import Structure

from phonotune.errors import FramesError, InputError
from phonotune.physics.phonon.cells import (
    Rows3,
    build_phonopy,
    check_born,
    float_rows,
    primitive_cell,
    primitive_rows,
    require_angstrom_and_ev,
    resolve_primitive,
    to_phonopy,
    to_structure,
)
from phonotune.physics.phonon.document import analyse_force_constants, phonopy_of
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import as_matrix
from phonotune.ports import FloatArray
from phonotune.schemas.base import Matrix3, Source
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


def read_phonopy_yaml(
    path: Path, settings: PhononSettings, source: Source, with_nac: bool = True
) -> PhononDocument:
    """Read a phonopy yaml with forces as a PhononDocument, e.g. a DFT reference.

    One-atom displacements are fitted by phonopy, displacements of all atoms by symfc.

    Parameters
    ----------
    path
        ``phonopy_params.yaml`` or the like, also ``.xz``.
    settings
        Mesh and thresholds; the supercell is the file's, and so are the primitive vectors where it
        holds Born charges.
    source
        Who computed the forces.
    with_nac
        False leaves the file's Born charges out.

    Raises
    ------
    InputError
        The file is missing or is not a phonopy yaml.
    FramesError
        It holds no displacements with forces.
    """
    content = _read(path)
    structure = to_structure(content.unitcell)
    matrix = as_matrix(np.asarray(content.supercell_matrix).T)
    nac = content.nac_params if with_nac else None
    primitive = resolve_primitive(structure, settings.primitive_matrix, settings.symprec)
    if nac is not None and content.primitive_matrix is not None:
        primitive = float_rows(np.asarray(content.primitive_matrix).T)
    phonon = build_phonopy(structure, matrix, primitive, settings.symprec)
    displaced = _fit_dataset(phonon, content.dataset, path)
    born = None if nac is None else _born(nac)
    return analyse_force_constants(phonon, structure, settings, source, born, displaced)


def read_force_constants(path: Path, symprec: float = 1e-5) -> tuple[Structure, FloatArray]:
    """Read the second derivatives of a supercell from a phonopy yaml.

    Parameters
    ----------
    path
        A yaml with force constants, or with displacements and forces, which are then expanded by
        symmetry (one-atom displacements) or fitted by symfc.
    symprec
        Tolerance of the symmetry search, Å.

    Returns
    -------
    The undisplaced supercell, and its force constants, shape (n_atoms, n_atoms, 3, 3), eV/Å^2.

    Raises
    ------
    InputError
        The file is missing or is not a phonopy yaml.
    FramesError
        It holds neither force constants nor forces.
    """
    content = _read(path)
    structure = to_structure(content.unitcell)
    matrix = as_matrix(np.asarray(content.supercell_matrix).T)
    phonon = build_phonopy(structure, matrix, primitive_rows(structure, symprec), symprec)
    if content.force_constants is not None:
        phonon.force_constants = content.force_constants
    else:
        _fit_dataset(phonon, content.dataset, path)
    constants = np.array(phonon.force_constants)
    if constants.shape[0] != constants.shape[1]:
        constants = compact_fc_to_full_fc(phonon.primitive, constants)
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


def _read(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a phonopy yaml with forces.")
    content = PhonopyYaml()
    try:
        if path.suffix == ".xz":
            with lzma.open(path, "rt") as stream:
                content.read(stream)
        else:
            content.read(str(path))
    except (ValueError, TypeError, KeyError, yaml.YAMLError, lzma.LZMAError) as error:
        raise InputError(
            f"{path} cannot be read as a phonopy yaml ({error}); give phonopy_params.yaml or "
            "phonopy_disp.yaml with forces."
        ) from error
    if content.unitcell is None or content.supercell_matrix is None:
        raise InputError(
            f"{path} holds no unit cell and supercell matrix; it is not a phonopy yaml."
        )
    require_angstrom_and_ev(content, str(path))
    return content


def _fit_dataset(phonon: Phonopy, dataset: Any, path: Path) -> dict[str, Any]:
    """Fit force constants in place; return the arrays that the document keeps of the dataset."""
    one_atom = dataset is not None and "first_atoms" in dataset
    complete = dataset is not None and (
        all("forces" in d for d in dataset["first_atoms"]) if one_atom else "forces" in dataset
    )
    if not complete:
        raise FramesError(
            f"{path} holds displacements but no forces; collect the forces with phonopy's "
            "`phonopy --sp` first."
        )
    phonon.dataset = dataset
    phonon.produce_force_constants(
        calculate_full_force_constants=False, fc_calculator=None if one_atom else "symfc"
    )
    phonon.symmetrize_force_constants(level=3)
    if not one_atom:
        return {
            "random_displacements": np.array(dataset["displacements"]),
            "random_forces": np.array(dataset["forces"]),
        }
    return {
        "displacement_sites": np.array([d["number"] for d in dataset["first_atoms"]]),
        "displacement_vectors": np.array([d["displacement"] for d in dataset["first_atoms"]]),
        "displacement_forces": np.array([d["forces"] for d in dataset["first_atoms"]]),
    }


def read_born(
    path: Path,
    structure: Structure,
    symprec: float = 1e-5,
    primitive_matrix: Rows3 | None = None,
) -> BornCharges:
    """Read phonopy's BORN file for the primitive cell of a structure.

    Parameters
    ----------
    path
        BORN: dielectric tensor and the charges of symmetry-independent atoms of the primitive cell.
    structure
        The cell given, in the orientation that the tensors refer to.
    symprec
        Symmetry tolerance, Å.
    primitive_matrix
        Primitive vectors (rows) in units of the cell vectors; None finds them.

    Raises
    ------
    InputError
        The file is missing or does not fit the crystal: another number of atoms, charges that break
        its symmetry or do not sum to zero.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give phonopy's BORN file.")
    primitive = to_phonopy(primitive_cell(structure, symprec, primitive_matrix))
    try:
        born = _born(parse_BORN(primitive, symprec=symprec, filename=path))
        check_born(born, primitive, symprec)
    except (InputError, ValueError, RuntimeError, IndexError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"{path} does not fit {structure.reduced_formula} ({reason}). It must hold a dielectric "
            "tensor and one charge tensor per symmetry-independent atom of the primitive cell."
        ) from error
    return born


def _born(nac: Any) -> BornCharges:
    """Return phonopy's NAC parameters, with the conversion factor where it has one."""
    factor = nac.get("factor")
    known = {} if factor is None else {"factor": float(factor)}
    return BornCharges(
        charges=np.array(nac["born"]), dielectric=np.array(nac["dielectric"]), **known
    )
