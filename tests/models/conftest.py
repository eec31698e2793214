"""A tiny random MACE and a few crystals: the fixtures of the models' law tests."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from phonotune.models.architecture import build_mace
from phonotune.models.shipped import ArchitectureCard


@pytest.fixture(scope="session")
def tiny_mace_session(tiny_card: ArchitectureCard) -> torch.nn.Module:
    """The model of ``tiny_mace``, shared: not to be changed."""
    card = tiny_card.model_copy(update={"elements": (8, 12, 14, 56), "scale": 1.0, "shift": 0.0})
    return build_mace(card, torch.float64, seed=7).eval()


@pytest.fixture
def tiny_mace(tiny_mace_session: torch.nn.Module) -> torch.nn.Module:
    """A random ScaleShiftMACE for O, Mg, Si and Ba in float64; a copy, free to be changed."""
    return copy.deepcopy(tiny_mace_session)


@pytest.fixture
def magnesia() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


@pytest.fixture
def silicon() -> Structure:
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])


@pytest.fixture
def rattled() -> Callable[[Structure, int, float], Structure]:
    """Move every atom and strain the cell, both at random with the given seed."""

    def rattle(structure: Structure, seed: int, amplitude: float = 0.1) -> Structure:
        rng = np.random.default_rng(seed)
        deformation = np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))
        positions = structure.cart_coords + rng.normal(scale=amplitude, size=(len(structure), 3))
        return Structure(
            structure.lattice.matrix @ deformation,
            structure.species,
            positions @ deformation,
            coords_are_cartesian=True,
        )

    return rattle
