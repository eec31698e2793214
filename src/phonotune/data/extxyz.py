"""Labelled frames in extxyz files; nothing else reads or writes that format.

Keys: ``REF_energy`` (eV), ``REF_forces`` (eV/Å), ``REF_stress`` (nine numbers, row by row, eV/Å^3,
ASE's sign), ``REF_magmoms`` (µB). A missing label is absent, never zero. ``group``, ``origin``,
``labeller``, ``protocol`` and ``settings`` of a Frame stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pymatgen.core import Lattice, Structure

from phonotune.data.checks import check_frame
from phonotune.data.extxyz_labels import energy_of, keys_advice, numbers, stress_of, values_of
from phonotune.data.extxyz_reader import header_keys, iter_images
from phonotune.data.extxyz_text import MAGMOMS, REF_KEYS, LabelKeys, format_frame
from phonotune.data.isolated import has_volume, is_isolated, isolated_atom
from phonotune.data.notes import Notes
from phonotune.errors import FramesError
from phonotune.files import compressing, replacing
from phonotune.schemas.dataset import Frame

if TYPE_CHECKING:
    from ase import Atoms

Label = Literal["energy", "forces", "stress"]


def read_frames(
    path: str | Path, need: Sequence[Label] = ("forces",), notes: Notes | None = None
) -> list[Frame]:
    """Read labelled frames.

    Every number comes back as the float64 that was written. A frame without ``group`` belongs to
    the group of its file: frames whose relation is unknown are never torn apart.

    Parameters
    ----------
    path
        An extxyz file with the keys ``REF_*``, plain or compressed (gz, bz2, xz).
    need
        Labels that at least one frame of the file must have; ``()`` for frames yet to be labelled.
    notes
        Gets what was left behind or changed.

    Returns
    -------
    list of Frame
        In the order of the file; a label that a frame lacks is None.

    Raises
    ------
    FramesError
        No such file, no frame in it, a needed label in no frame, a frame that is not periodic,
        atoms closer than 0.5 Å, NaN, a stress of other than nine or six numbers, a stress and a virial that
        contradict each other.
    """
    path = Path(path)
    return list(iter_labelled(path, need, notes))


def iter_labelled(
    path: Path, need: Sequence[Label] = ("forces",), notes: Notes | None = None
) -> Iterator[Frame]:
    """Read labelled frames one by one; memory does not grow with the file.

    Needed labels are looked for before the first frame is given. Parameters and errors as
    :func:`read_frames`.
    """
    frames = iter_frames(path, path.name, REF_KEYS, notes)
    first = next(frames)
    missing = [label for label in need if getattr(first, label) is None]
    there = header_keys(path) if missing else set()
    for label in missing:
        key = getattr(REF_KEYS, label)
        if key not in there:
            advice = keys_advice(there, " ") or f" --{label}-key KEY"
            raise FramesError(
                f"No frame of {path} has {key}. Keys found: {', '.join(sorted(there)) or 'none'}. "
                "Give its labels the names of phonotune first: "
                f"`phonotune import {path.name}{advice} -o NEW.extxyz`."
            )
    yield first
    yield from frames


def iter_frames(
    path: Path, name: str, keys: LabelKeys = REF_KEYS, notes: Notes | None = None
) -> Iterator[Frame]:
    """Read checked frames one by one; memory does not grow with the file.

    Parameters
    ----------
    path, name, keys, notes
        The file, and the rest as in :func:`frame_of`.

    Raises
    ------
    FramesError
        As :func:`read_frames`.
    """
    for number, atoms in enumerate(iter_images(path), start=1):
        yield frame_of(atoms, name, number, keys, notes)


def frame_of(
    atoms: Atoms, name: str, number: int, keys: LabelKeys, notes: Notes | None = None
) -> Frame:
    """Turn an ASE image into a checked frame, taking the labels by name.

    An isolated atom (:mod:`phonotune.data.isolated`) needs no cell.

    Parameters
    ----------
    atoms
        From :func:`phonotune.data.extxyz_reader.iter_images`.
    name, number
        The file and the number of the frame in it, for messages, and as ``group`` and ``origin`` where
        the frame gives none.
    keys
        Names of the labels (:func:`phonotune.data.extxyz_labels.stress_of` for the forms of a stress).
    notes
        Gets what was left behind or changed.

    Raises
    ------
    FramesError
        As :func:`read_frames`.
    """
    where, notes = f"{name}, frame {number}", Notes() if notes is None else notes
    values = values_of(atoms)
    alone = isolated_atom(atoms, where)
    structure = alone or structure_of(atoms, where)
    structure = right_handed(structure, where, notes)
    forces, magmoms = values.get(keys.forces), values.get(MAGMOMS)
    if magmoms is None and np.ndim(values.get("magmoms", 0.0)) == 1:
        magmoms = values["magmoms"]  # ASE's own key; where it holds vectors, they are left behind
    frame = Frame(
        structure=structure,
        energy=energy_of(values, keys.energy, where, notes),
        forces=None if forces is None else numbers(forces, keys.forces, where),
        stress=None if alone else stress_of(values, keys.stress, structure.volume, where, notes),
        group=str(atoms.info.get("group", name)),
        origin=str(atoms.info.get("origin", f"{name} frame {number}")),
        labeller=str(atoms.info.get("labeller", "")),
        protocol=str(atoms.info.get("protocol", "")),
        settings=str(atoms.info.get("settings", "")),
        magmoms=None if magmoms is None else numbers(magmoms, MAGMOMS, where),
    )
    check_frame(frame, where)
    return frame


def right_handed(structure: Structure, where: str, notes: Notes) -> Structure:
    """Return a structure whose first two vectors are swapped, and note it, if its cell is left-handed.

    The crystal is the same, and so are energy, forces and the Cartesian stress.
    """
    cell = structure.lattice.matrix
    if not np.linalg.det(cell) < 0:
        return structure
    notes.add("Two vectors of a left-handed cell are swapped, its labels unchanged", where)
    return Structure(
        Lattice(cell[[1, 0, 2]]),
        structure.species,
        structure.cart_coords,
        coords_are_cartesian=True,
    )


def structure_of(atoms: Atoms, where: str) -> Structure:
    """Return the periodic structure of an ASE image; FramesError if it is not periodic in 3D."""
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise FramesError(
            f"{where}: not periodic in three directions (pbc {atoms.pbc.tolist()}, "
            f"{atoms.cell.rank} cell vectors); phonons need a crystal with a full Lattice."
        )
    if not has_volume(atoms):
        raise FramesError(
            f"{where}: the cell {atoms.cell.tolist()} spans no volume; give three independent vectors in Å."
        )
    numbers = [int(z) for z in atoms.numbers]
    if odd := set(numbers) - set(range(1, 119)):
        raise FramesError(
            f"{where}: an atom has no element (species X or atomic number {min(odd)}); name its element."
        )
    return Structure(Lattice(atoms.cell.array), numbers, atoms.positions, coords_are_cartesian=True)


def write_frames(
    path: str | Path, frames: Iterable[Frame], keys: LabelKeys = REF_KEYS
) -> dict[str, int]:
    """Write frames; every float64 is written with as many digits as give it back (up to 17).

    Positions are the Cartesian ones of the structures; a Structure keeps fractional coordinates, so
    that Cartesian positions read back may differ in the last bit, labels and cells never. Frames are
    written as they come, to a file beside that takes the name at the end.

    Parameters
    ----------
    path
        The file to write, compressed if its name ends in .gz, .bz2 or .xz; missing folders are made, an
        existing file is replaced.
    frames
        Frames, labelled or not; a missing label is left out.
    keys
        Names of the labels in the file.

    Returns
    -------
    dict
        Number of frames, and of those with ``energy``, ``forces``, ``stress``; isolated atoms do not count.

    Raises
    ------
    FramesError
        No frame, a frame that could not be read back, a path that cannot be written. Nothing is
        written then.
    """
    path = Path(path)
    written = dict.fromkeys(("frames", "energy", "forces", "stress"), 0)
    try:
        with replacing(path) as plain, compressing(plain, path.name) as file:
            number = 0
            for number, frame in enumerate(frames, start=1):
                check_frame(frame, f"Frame {number} for {path.name}")
                file.write(format_frame(frame, keys).encode())
                if is_isolated(frame.structure):
                    continue
                written["frames"] += 1
                for label in ("energy", "forces", "stress"):
                    written[label] += getattr(frame, label) is not None
            if not number:
                raise FramesError(f"No frame to write to {path}; at least one is needed.")
    except OSError as error:
        raise FramesError(f"{path} cannot be written ({error}). Choose another path.") from error
    return written
