"""Labelled frames of an undeformed supercell: which frames match it, and their settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from pydantic import Field
from pymatgen.core import Structure

from phonotune.errors import FramesError
from phonotune.physics.supercell import displaced
from phonotune.ports import FloatArray
from phonotune.schemas.base import Part
from phonotune.schemas.dataset import Frame
from phonotune.units import Angstrom

_LEAST_DISPLACEMENT: Final = 1e-3
"""Å: smaller displacements do not count."""


class ResidualSettings(Part):
    """How residual force constants are fitted; the strength of the ridge follows from the data."""

    content_version: ClassVar[int] = 3

    lattice_tolerance: Angstrom = Field(
        default=0.01,
        gt=0,
        description="largest change of a supercell vector of a frame that counts",
    )
    max_displacement: Angstrom = Field(
        default=0.5, gt=0, description="an atom farther from its site belongs to another structure"
    )
    decay_length: Angstrom = Field(
        default=3.0,
        gt=0,
        description="expected ΔΦ falls off with the distance of two atoms as exp(-distance / length)",
    )
    harmonic_amplitude: Angstrom = Field(
        default=0.015,
        gt=0,
        description="root mean square displacement at which a single frame has half the weight at first; "
        "beyond, the weight falls with the fourth power, as the variance of the anharmonic part grows. What "
        "the fit leaves of each frame then corrects the weights",
    )
    n_draws: int = Field(
        default=32, ge=2, description="force constants drawn for the uncertainty of frequencies"
    )
    seed: int = Field(default=0, ge=0, description="seed of the draws")


@dataclass(frozen=True, eq=False)
class MatchedFrames:
    """Frames of one supercell as displacements from its sites, in its order of sites.

    Attributes
    ----------
    displacements
        shape (n_frames, n_super, 3), Å.
    forces
        shape (n_frames, n_super, 3), eV/Å, the labels.
    structures
        The frames in the supercell's own vectors and order of sites.
    n_others
        Frames left out: another cell, other atoms, atoms far from the sites, or no forces.
    """

    displacements: FloatArray
    forces: FloatArray
    structures: tuple[Structure, ...]
    n_others: int

    def __len__(self) -> int:
        return len(self.structures)


def match_frames(
    supercell: Structure, frames: Iterable[Frame], settings: ResidualSettings
) -> MatchedFrames:
    """Return the labelled frames of an undeformed supercell, in whatever order their sites are.

    A frame may give the same lattice by other vectors. A frame without displacements contains no
    information on force constants and is left out.

    Parameters
    ----------
    supercell
        Undisplaced.
    frames
        Labelled frames of any cells.
    settings
        Tolerances.
    """
    structures, displacements, forces, others = [], [], [], 0
    cell: FloatArray = supercell.lattice.matrix
    sites = np.arange(len(supercell))
    for frame in frames:
        given = frame.structure
        others += 1  # until every test is passed
        if frame.forces is None or sorted(given.atomic_numbers) != sorted(supercell.atomic_numbers):
            continue
        # the same lattice, perhaps by other vectors
        whole = np.rint(given.lattice.matrix @ np.linalg.inv(cell))
        if abs(round(np.linalg.det(whole))) != 1:
            continue
        stretch = np.linalg.inv(whole) @ given.lattice.matrix - cell
        if np.linalg.norm(stretch, axis=1).max() > settings.lattice_tolerance:
            continue
        # the nearest atom of its element to each site
        apart = given.cart_coords @ np.linalg.inv(cell) - supercell.frac_coords[:, None]
        offsets = (apart - np.rint(apart)) @ cell
        distances = np.linalg.norm(offsets, axis=2)
        numbers = np.array(supercell.atomic_numbers)[:, None] == np.array(given.atomic_numbers)
        distances[~numbers] = np.inf
        order = distances.argmin(axis=1)
        near = distances[sites, order].max() <= settings.max_displacement
        if not near or len(np.unique(order)) != len(order):
            continue
        moves = offsets[sites, order]
        if np.abs(moves - moves.mean(axis=0)).max() < _LEAST_DISPLACEMENT:
            continue
        others -= 1
        structures.append(displaced(supercell, moves))
        displacements.append(moves)
        forces.append(np.asarray(frame.forces)[order])
    shape = (len(structures), len(supercell), 3)
    return MatchedFrames(
        np.reshape(displacements, shape), np.reshape(forces, shape), tuple(structures), others
    )


def require_matches(matched: MatchedFrames, supercell: Structure) -> None:
    """Raise if no frame matches.

    Raises
    ------
    FramesError
        None of the frames belongs to the supercell.
    """
    if len(matched) == 0:
        a, b, c = supercell.lattice.abc
        raise FramesError(
            f"None of {matched.n_others} labelled frames is a displaced one of the undeformed "
            "phonon supercell "
            f"({supercell.formula}, {len(supercell)} atoms, edges {a:.3f}, {b:.3f} and {c:.3f} Å). "
            "Label a small rattle of that supercell, or choose the frames' own with --supercell."
        )
