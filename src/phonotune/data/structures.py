"""Crystal structures from files of any common format."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms
from ase.io import read as ase_read
from ase.io.formats import UnknownFileTypeError
from pymatgen.core import DummySpecies, Element, Structure
from pymatgen.io.vasp.inputs import BadPoscarWarning, Poscar

from phonotune.data.extxyz import structure_of
from phonotune.data.extxyz_reader import iter_images
from phonotune.errors import FramesError, StructureError
from phonotune.files import PARSER_ERRORS, read_text
from phonotune.physics.phonon.calculation import read_calculation
from phonotune.physics.supercell import check_structure
from phonotune.schemas.masses import mass_property, with_masses

_FORMATS = (
    "POSCAR, CONTCAR, cif, vasprun.xml, extxyz, pymatgen json, phonopy yaml and what ASE reads"
)


def read_structure(path: str | Path) -> Structure:
    """Read one crystal structure.

    The cell keeps its own orientation and choice of vectors. Deuterium and tritium become H, and masses that
    are not natural are kept (:mod:`phonotune.schemas.masses`); charges, spins, velocities and other site
    properties are left behind. A ``vasprun.xml`` gives its last structure, a phonopy yaml its unit cell.

    Parameters
    ----------
    path
        POSCAR, CONTCAR, cif, vasprun.xml, extxyz, pymatgen json, phonopy yaml, or any file ASE recognises.

    Raises
    ------
    StructureError
        No such file, a folder, an empty file, no structure or several in it, elements not named,
        partial occupation, not periodic, NaN, atoms closer than 0.5 Å.
    """
    path = Path(path)
    if path.is_dir():
        raise StructureError(f"{path} is a folder; give a structure file in it, e.g. POSCAR.")
    if not path.is_file():
        raise StructureError(f"{path} does not exist; a structure file is needed. Check the path.")
    if path.stat().st_size == 0:
        raise StructureError(f"{path} is empty; a structure file is needed ({_FORMATS}).")
    parsed = _parse(path)
    if not parsed.is_ordered:
        raise StructureError(
            f"{path} has partially occupied sites ({parsed.composition.reduced_formula}); "
            "phonons need an ordered structure. Choose one ordering."
        )
    unknown = [str(site.specie) for site in parsed if isinstance(site.specie, DummySpecies)]
    if unknown:
        raise StructureError(f"{path} holds {unknown[0]}, which is not an element; name it as one.")
    try:
        parsed = with_masses(parsed)
        numbers = [int(z) for z in parsed.atomic_numbers]
        structure = Structure(
            parsed.lattice, numbers, parsed.frac_coords, site_properties=mass_property(parsed)
        )
        check_structure(structure)
    except StructureError as error:
        raise StructureError(f"{path}: {error}") from error
    return structure


def _parse(path: Path) -> Structure:
    try:
        if any(suffix in (".extxyz", ".xyz") for suffix in path.suffixes):
            images = list(iter_images(path))
            _require_one(path, len(images), "frames")
            return _with_own_masses(images[0], path)
        if re.fullmatch(r"phonopy.*\.ya?ml(\.\w+)?", path.name):
            return read_calculation(path).structure
        if any(suffix.lower() in (".cif", ".mcif") for suffix in path.suffixes):
            blocks = re.split(
                r"^data_", read_text(path, StructureError), flags=re.IGNORECASE | re.MULTILINE
            )
            _require_one(path, sum("_atom_site_" in block for block in blocks))
        if re.search(r"POSCAR|CONTCAR|\.vasp", path.name):
            lines = read_text(path, StructureError).splitlines()
            stated = max(
                (sum(map(int, re.findall(r"\d+", line))) for line in lines[5:7]), default=0
            )
            if stated > len(lines):  # pymatgen would make room for them all
                raise StructureError(f"{path} states {stated} atoms and has {len(lines)} lines.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", BadPoscarWarning)
            try:
                return Structure.from_file(path)
            except BadPoscarWarning:
                return _from_vasp4_poscar(path)
            except ValueError as error:  # pymatgen goes by the name of the file, ASE by its content
                if "nrecognized" not in str(error):
                    raise
            images = ase_read(path, index=":")
            _require_one(path, len(images))
            return _with_own_masses(images[0], path)
    except FramesError as error:
        raise StructureError(str(error)) from error
    except _PARSE_ERRORS as error:
        detail = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise StructureError(
            f"{path} holds no structure that can be read ({detail}). Allowed: {_FORMATS}."
        ) from error


def _with_own_masses(image: Atoms, path: Path) -> Structure:
    """Return the structure of an ASE image with the masses that its file states."""
    found = [image.arrays[name] for name in ("masses", "mass") if name in image.arrays]
    structure = structure_of(image, str(path))
    return (
        with_masses(structure, np.asarray(found[0], dtype=float).tolist()) if found else structure
    )


def _require_one(path: Path, count: int, what: str = "structures") -> None:
    if count > 1:
        raise StructureError(f"{path} holds {count} {what}; one is needed. Give a file with one.")


_PARSE_ERRORS: Final = (
    *PARSER_ERRORS,
    *(NotImplementedError, SyntaxError, StopIteration, UnknownFileTypeError),
)


def _from_vasp4_poscar(path: Path) -> Structure:
    """Read a POSCAR of VASP 4, which names its elements in the title line or nowhere.

    pymatgen alone would call them H, He, Li, ...
    """
    lines = read_text(path, StructureError).splitlines()
    names = lines[0].split()
    if len(names) != len(lines[5].split()) or not all(map(Element.is_valid_symbol, names)):
        raise StructureError(
            f"{path} does not name its elements; write them in the line above the numbers of atoms."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Poscar.from_str("\n".join(lines), default_names=names).structure
