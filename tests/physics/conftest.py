"""Engines that need no training: ASE calculators and a lattice model with a known answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms import StillingerWeber
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
    Stillinger_Weber_PRB_31_5262_Si,
)
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from phonotune.models.ase_engine import AseEvaluator
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument

ROCKSALT_A = 5.6


def to_atoms(structure: Structure) -> Atoms:
    """Return the structure as ASE holds it, order and orientation unchanged."""
    return Atoms(
        numbers=structure.atomic_numbers,
        cell=structure.lattice.matrix,
        positions=structure.cart_coords,
        pbc=True,
    )


@dataclass(frozen=True)
class RocksaltWell:
    """Rocksalt whose optical coordinate w = u_cation - <u_anion>_6 has the energy K/2 w² + b Σ w_a⁴.

    Springs join nearest neighbours. At Γ along a cube axis E per formula unit is exactly
    (K/2 + 3 k) w² + b w⁴, with w = Q / sqrt(reduced mass).
    """

    curvature: float
    quartic: float
    spring: float = 1.0

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        return [self._evaluate(s) for s in structures]

    @property
    def total_curvature(self) -> float:
        return self.curvature + 6 * self.spring

    def _evaluate(self, structure: Structure) -> Evaluation:
        half = ROCKSALT_A / 2
        sites = np.rint(structure.cart_coords / half)
        u = structure.cart_coords - sites * half
        steps = np.concatenate([np.eye(3), -np.eye(3)])
        neighbours = _find(structure, sites[:, None] + steps, half)
        energy, forces = 0.0, np.zeros_like(u)
        for i in np.flatnonzero([z.Z == 11 for z in structure.species]):
            w = u[i] - u[neighbours[i]].mean(axis=0)
            stretch = u[i] - u[neighbours[i]]
            energy += 0.5 * self.curvature * w @ w + self.quartic * np.sum(w**4)
            energy += 0.5 * self.spring * np.sum(stretch**2)
            slope = self.curvature * w + 4 * self.quartic * w**3
            forces[i] -= slope + self.spring * stretch.sum(axis=0)
            np.add.at(forces, neighbours[i], slope / 6 + self.spring * stretch)
        return Evaluation(energy=float(energy), forces=forces)


def _find(structure: Structure, grid: NDArray[np.float64], half: float) -> NDArray[np.int64]:
    """Return which site sits on each point of the half-lattice, shape of grid without its last axis."""
    inverse = structure.lattice.inv_matrix
    sites = np.rint(structure.cart_coords / half) * half @ inverse
    offsets = (grid * half @ inverse)[..., None, :] - sites
    offsets -= np.rint(offsets)
    return np.abs(offsets).sum(axis=-1).argmin(axis=-1)


HARMONIC = RocksaltWell(curvature=2.0, quartic=0.0)
DOUBLE = RocksaltWell(curvature=-8.0, quartic=20.0)


def emt() -> AseEvaluator:
    """Effective-medium theory: Al, Cu, Ni, Au and more."""
    return AseEvaluator(EMT())


def silicon_potential() -> AseEvaluator:
    """Stillinger-Weber silicon."""
    return AseEvaluator(Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si)))


@pytest.fixture(scope="session")
def source() -> Source:
    return Source(role="reference", evaluator="a toy")


@pytest.fixture(scope="session")
def copper() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.59), ["Cu"], [[0, 0, 0]])


@pytest.fixture(scope="session")
def silicon() -> Structure:
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])


@pytest.fixture(scope="session")
def rocksalt() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(ROCKSALT_A), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


@pytest.fixture(scope="session")
def small_settings() -> PhononSettings:
    """Small supercell and mesh: laws hold whatever their size."""
    return PhononSettings(
        supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)), mesh_density=20.0, max_temperature=400.0
    )


@pytest.fixture(scope="session")
def copper_phonons(
    copper: Structure, small_settings: PhononSettings, source: Source
) -> PhononDocument:
    plan = plan_displacements(copper, small_settings)
    return analyse_forces(plan, emt()(plan.structures), source)


@pytest.fixture(scope="session")
def harmonic_phonons(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> PhononDocument:
    plan = plan_displacements(rocksalt, small_settings)
    return analyse_forces(plan, HARMONIC(plan.structures), source)


@pytest.fixture(scope="session")
def double_well_phonons(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> PhononDocument:
    plan = plan_displacements(rocksalt, small_settings)
    return analyse_forces(plan, DOUBLE(plan.structures), source)
