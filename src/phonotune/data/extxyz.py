"""Labelled frames in extxyz files; the only reader and writer of that format.

Keys: ``REF_energy`` (eV), ``REF_forces`` (eV/Å), ``REF_stress`` (nine numbers, row by row, eV/Å^3,
ASE's sign). A missing label is absent, never zero. ``group`` and ``origin`` of a Frame stand beside
them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from ase.io import read as ase_read
from ase.io.extxyz import XYZError, escape, key_val_str_to_dict
from ase.stress import voigt_6_to_full_3x3_stress
from pymatgen.core import Lattice, Structure

from phonotune.data.checks import check_frame
from phonotune.errors import FramesError
from phonotune.schemas.dataset import Frame

if TYPE_CHECKING:
    from ase import Atoms

    from phonotune.ports import FloatArray

Label = Literal["energy", "forces", "stress"]


@dataclass(frozen=True)
class LabelKeys:
    """Names of the labels in an extxyz file; the default is phonotune's own."""

    energy: str = "REF_energy"
    forces: str = "REF_forces"
    stress: str = "REF_stress"


REF_KEYS: Final = LabelKeys()


def read_frames(path: str | Path, need: Sequence[Label] = ("forces",)) -> list[Frame]:
    """Read labelled frames.

    Every number comes back as the float64 that was written. A frame without ``group`` belongs to
    the group of its file: frames whose relation is unknown are never torn apart.

    Parameters
    ----------
    path
        An extxyz file with the keys ``REF_*``.
    need
        Labels that at least one frame of the file must have; ``()`` for frames yet to be labelled.

    Returns
    -------
    list of Frame
        In the order of the file; a label that a frame lacks is None.

    Raises
    ------
    FramesError
        No such file, no frame in it, a needed label in no frame, a frame that is not periodic,
        atoms closer than 0.5 Å, NaN, a stress of other than nine numbers.
    """
    path = Path(path)
    images = read_images(path)
    frames = frames_of(images, path.name, REF_KEYS)
    for label in need:
        if all(getattr(frame, label) is None for frame in frames):
            raise FramesError(_missing_label(path, getattr(REF_KEYS, label), images))
    return frames


def read_images(path: Path) -> list[Atoms]:
    """Read the frames of an extxyz file as ASE sees them; FramesError if there are none."""
    if path.is_dir():
        raise FramesError(f"{path} is a folder; an extxyz file is needed.")
    if not path.is_file():
        raise FramesError(f"{path} does not exist; an extxyz file is needed. Check the path.")
    try:
        images = ase_read(path, index=":", format="extxyz")
    except (XYZError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise FramesError(
            f"{path} cannot be read as extxyz ({error}). Frames of VASP or phonopy are turned into "
            "extxyz by `phonotune import`."
        ) from error
    if not images:
        raise FramesError(f"{path} holds no frame; at least one is needed.")
    return list(images)


def frames_of(images: Sequence[Atoms], name: str, keys: LabelKeys) -> list[Frame]:
    """Turn ASE images into checked frames, taking the labels by name.

    Parameters
    ----------
    images
        From :func:`read_images`.
    name
        The file, for messages, and as ``group`` and ``origin`` where the frame gives none.
    keys
        Names of the labels. ``stress`` itself is ASE's own key, in Voigt or full form; under any
        other name nine numbers are needed, because the order of six is not known.

    Raises
    ------
    FramesError
        As :func:`read_frames`.
    """
    frames = []
    for number, atoms in enumerate(images, start=1):
        where = f"{name}, frame {number}"
        energy, forces = _lookup(atoms, keys.energy), _lookup(atoms, keys.forces)
        frame = Frame(
            structure=structure_of(atoms, where),
            energy=None if energy is None else _number(energy, keys.energy, where),
            forces=None if forces is None else _array(forces, keys.forces, where),
            stress=_stress(atoms, keys.stress, where),
            group=str(atoms.info.get("group", name)),
            origin=str(atoms.info.get("origin", f"{name} frame {number}")),
        )
        check_frame(frame, where)
        frames.append(frame)
    return frames


def structure_of(atoms: Atoms, where: str) -> Structure:
    """Return the periodic structure of an ASE image; FramesError if it is not periodic in 3D."""
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise FramesError(
            f"{where}: not periodic in three directions (pbc {atoms.pbc.tolist()}, "
            f"{atoms.cell.rank} cell vectors); phonons need a crystal with a full Lattice."
        )
    numbers = [int(z) for z in atoms.numbers]
    if 0 in numbers:
        raise FramesError(f"{where}: an atom has no element (species X); name its element.")
    return Structure(Lattice(atoms.cell.array), numbers, atoms.positions, coords_are_cartesian=True)


def found_keys(images: Sequence[Atoms]) -> set[str]:
    """Return the names of everything that any frame holds beside its structure."""
    found: set[str] = set()
    for atoms in images:
        results = {} if atoms.calc is None else atoms.calc.results
        found.update(atoms.info, atoms.arrays, results)
    return found - {"numbers", "positions"}


def write_frames(path: str | Path, frames: Iterable[Frame]) -> None:
    """Write frames; every float64 is written with as many digits as give it back (up to 17).

    Positions are the Cartesian ones of the structures; a Structure keeps fractional coordinates, so
    that Cartesian positions read back may differ in the last bit, labels and cells never.

    Parameters
    ----------
    path
        The file to write; missing folders are made, an existing file is replaced.
    frames
        Frames, labelled or not; a missing label is left out.

    Raises
    ------
    FramesError
        No frame, a frame that could not be read back, a path that cannot be written. Nothing is
        written then.
    """
    path = Path(path)
    texts = []
    for number, frame in enumerate(frames, start=1):
        check_frame(frame, f"Frame {number} for {path.name}")
        texts.append(_format_frame(frame))
    if not texts:
        raise FramesError(f"No frame to write to {path}; at least one is needed.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(texts), encoding="utf-8")
    except OSError as error:
        raise FramesError(f"{path} cannot be written ({error}). Choose another path.") from error


def _lookup(atoms: Atoms, key: str) -> Any:
    """Find a label; ASE moves ``energy``, ``forces`` and ``stress`` into a calculator."""
    results = {} if atoms.calc is None else atoms.calc.results
    for place in (atoms.info, atoms.arrays, results):
        if key in place:
            return place[key]
    return None


def _number(value: Any, key: str, where: str) -> float:
    array = _array(value, key, where)
    if array.shape != ():
        raise FramesError(f"{where}: {key} is {value!r}; one number (eV) is needed.")
    return float(array)


def _array(value: Any, key: str, where: str) -> FloatArray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FramesError(f"{where}: {key} is {value!r}; numbers are needed.") from error


def _stress(atoms: Atoms, key: str, where: str) -> FloatArray | None:
    value = _lookup(atoms, key)
    if value is None:
        return None
    numbers = _array(value, key, where).ravel()
    if numbers.size == 6 and key == "stress":
        return np.asarray(voigt_6_to_full_3x3_stress(numbers), dtype=np.float64)
    if numbers.size != 9:
        raise FramesError(
            f"{where}: {key} has {numbers.size} numbers; nine are needed, row by row (the order of "
            "a Voigt stress is not written in the file)."
        )
    return numbers.reshape(3, 3)


def _missing_label(path: Path, key: str, images: Sequence[Atoms]) -> str:
    return (
        f"No frame of {path} has {key}. Keys found: "
        f"{', '.join(sorted(found_keys(images))) or 'none'}. "
        "`phonotune import` renames the keys of other programs to those of phonotune (REF_*)."
    )


def _format_frame(frame: Frame) -> str:
    rows = [frame.structure.cart_coords]
    properties = "species:S:1:pos:R:3"
    if frame.forces is not None:
        rows.append(frame.forces)
        properties += f":{REF_KEYS.forces}:R:3"
    info = [f'Lattice="{_digits(frame.structure.lattice.matrix)}"', f"Properties={properties}"]
    if frame.energy is not None:
        info.append(f"{REF_KEYS.energy}={_digits(np.array(frame.energy))}")
    if frame.stress is not None:
        info.append(f'{REF_KEYS.stress}="{_digits(frame.stress)}"')
    info += [_text("group", frame.group), _text("origin", frame.origin), 'pbc="T T T"']
    lines = [str(len(frame.structure)), " ".join(info)]
    for site, row in zip(frame.structure, np.concatenate(rows, axis=1), strict=True):
        lines.append(f"{site.specie.symbol} {_digits(row)}")
    return "\n".join(lines) + "\n"


def _digits(values: FloatArray) -> str:
    return " ".join(repr(float(value)) for value in values.ravel())


def _text(key: str, value: str) -> str:
    """Format text so that ASE reads it back as the same text, not as a number or a boolean."""
    for candidate in (value, f"_JSON {json.dumps(value)}"):
        pair = f"{key}={escape(candidate)}"
        read = key_val_str_to_dict(pair)[key]
        if isinstance(read, str) and read == value and "\n" not in pair:
            return pair
    raise FramesError(
        f"The {key} {value!r} cannot be written to extxyz; use letters, digits, spaces and "
        "punctuation without backslashes or line breaks."
    )
