"""How atoms are displaced in a rattled cell: one function for each method, and the table of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final

import numpy as np

from phonotune.errors import ConfigError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.ports import FloatArray

Displacer = Callable[["Structure", np.random.Generator], "FloatArray"]
"""Draws the displacements of a cell, shape (n_atoms, 3), Å; the cell may be strained already."""

MC_CYCLES: Final = 10
"""Monte Carlo moves of each atom."""
MC_DISTANCE: Final = 0.9
"""Of the shortest distance in the undisplaced cell; below it a Monte Carlo move is rarely taken."""


def normal(amplitude: float, modes: Displacer | None = None) -> Displacer:
    """Normal displacements, independent of each other (the recipe of arXiv 2604.01017).

    Each Cartesian component has standard deviation amplitude / sqrt(2), so that the lengths follow a
    Maxwell distribution, whose peak is ``amplitude`` (its mean is 1.13 times that).
    """

    def draw(cell: Structure, rng: np.random.Generator) -> FloatArray:
        return rng.normal(scale=amplitude / np.sqrt(2.0), size=(len(cell), 3))

    return draw


def monte_carlo(amplitude: float, modes: Displacer | None = None) -> Displacer:
    """Monte Carlo rattle of hiphive: moves that bring atoms close to each other are rejected.

    Ten moves of each atom with standard deviation amplitude / sqrt(20), so that the displacements
    are those of :func:`normal` but for the rejected moves. A move counts as too close below 0.9 of
    the cell's shortest distance. Fransson and Erhart, npj Comput. Mater. 6, 135 (2020).

    Raises
    ------
    ConfigError
        hiphive is not installed.
    """
    try:
        mc_rattle = import_module("hiphive.structure_generation.rattle").mc_rattle
    except ImportError as error:
        raise ConfigError(
            f"Rattle method 'mc' needs hiphive, which is not installed here ({error}). Install "
            "phonotune[sampling], or choose method recipe or phonon."
        ) from error

    def draw(cell: Structure, rng: np.random.Generator) -> FloatArray:
        reach = 3.0
        while len(distances := cell.get_neighbor_list(reach)[3]) == 0:
            reach *= 1.5
        shortest = float(distances.min())
        moves: FloatArray = mc_rattle(
            cell.to_ase_atoms(),
            rattle_std=amplitude / np.sqrt(2.0 * MC_CYCLES),
            d_min=MC_DISTANCE * shortest,
            width=0.05 * shortest,
            n_iter=MC_CYCLES,
            seed=int(rng.integers(2**31)),
        )
        return moves

    return draw


def along_modes(amplitude: float, modes: Displacer | None = None) -> Displacer:
    """Displacements along phonon modes at a temperature, drawn by the caller, which knows the phonons.

    Raises
    ------
    ConfigError
        No modes are given.
    """
    if modes is None:
        raise ConfigError(
            "Rattle method 'phonon' needs the phonons of a model and none was given. Give the model "
            "to RattleMaker.make, or choose method recipe or mc."
        )
    return modes


def equal_lengths(length: float) -> Displacer:
    """Every atom moves by ``length``, Å, in a direction uniform on the sphere."""

    def draw(cell: Structure, rng: np.random.Generator) -> FloatArray:
        directions = rng.normal(size=(len(cell), 3))
        lengths: FloatArray = np.linalg.norm(directions, axis=1, keepdims=True)
        return length * directions / lengths

    return draw


DISPLACERS: Final[dict[str, Callable[[float, Displacer | None], Displacer]]] = {
    "recipe": normal,
    "mc": monte_carlo,
    "phonon": along_modes,
}
"""Methods by name (:class:`~phonotune.sampling.settings.RattleSettings`): functions of amplitude and modes."""


def find_displacer(method: str, amplitude: float, modes: Displacer | None = None) -> Displacer:
    """Return what draws the displacements of a method.

    Raises
    ------
    ConfigError
        The method needs a package that is not installed, or modes that are not given.
    """
    return DISPLACERS[method](amplitude, modes)


def check_packages(method: str) -> None:
    """Raise ConfigError if the package of a method is not installed, before work starts."""
    find_displacer(method, 0.0, equal_lengths(0.0))
