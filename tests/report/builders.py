"""Small synthetic Documents of thermal properties and phase transitions."""

from __future__ import annotations

import numpy as np
from pymatgen.core import Structure

from phonotune.schemas.base import Source, structure_hash
from phonotune.schemas.blob import Blob
from phonotune.schemas.born import BornDocument
from phonotune.schemas.phonon import BornCharges
from phonotune.schemas.sscha import SSCHADocument, SSCHAPoint
from phonotune.schemas.thermal import (
    ConductivityDocument,
    QuasiHarmonicDocument,
    QuasiHarmonicPoint,
)
from phonotune.schemas.transition import PhaseBranch, PhaseNode, TransitionDocument


def born_document(structure: Structure, source: Source) -> BornDocument:
    """Return made-up charges of a primitive cell: the first atom's is that of all others together."""
    n = len(structure)
    charges = np.array([n - 1.0, *[-1.0] * (n - 1)])[:, None, None] * np.eye(3)
    return BornDocument(
        formula=structure.reduced_formula,
        material_id=structure_hash(structure),
        source=source,
        settings={},
        primitive=structure,
        protocol="5a" * 8,
        band_gap=2.1,
        born=BornCharges(charges=charges, dielectric=5.6 * np.eye(3)),
        sum_rule=0.004,
        asymmetry=1e-5,
    )


def sscha_document(structure: Structure, source: Source) -> SSCHADocument:
    """Return a soft mode that two of three temperatures stabilise; no arrays but the temperatures."""
    points = [
        SSCHAPoint(
            temperature=t,
            is_converged=t > 0,
            is_stable=lowest > 0,
            free_energy=-0.1 * t if lowest > 0 else None,
            free_energy_error=0.05 if lowest > 0 else None,
            harmonic_free_energy=-0.12 * t if lowest > 0 else None,
            anharmonic_free_energy=0.02 * t if lowest > 0 else None,
            free_energy_change=0.04,
            frequency_change=0.03,
            lowest_frequency=lowest,
            highest_frequency=18.0,
            n_iterations=5,
            n_structures=64,
            n_evaluations=384,
        )
        for t, lowest in ((0.0, -2.0), (300.0, 1.5), (600.0, 2.5))
    ]
    return SSCHADocument(
        formula=structure.reduced_formula,
        material_id=structure_hash(structure),
        source=source,
        settings={},
        unitcell=structure,
        supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)),
        primitive_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        has_nac=False,
        has_residual=False,
        imaginary_threshold=-0.1,
        harmonic_lowest_frequency=-4.0,
        points=points,
        band_labels=[],
        data=Blob.pack(temperatures=np.array([0.0, 300.0, 600.0])),
    )


def quasi_harmonic_document(
    role: str = "reference", scale: float = 1.0, source: Source | None = None
) -> QuasiHarmonicDocument:
    t = np.arange(0.0, 701.0, 10.0)
    x = t / (t + 150.0)
    expansion, capacity = 6e-5 * scale * x**2, 24.9 * x**0.5
    rng = np.random.default_rng(5)
    nu = np.sort(rng.uniform(1.0, 8.0, (40, 3)), axis=1)
    nu[0] = 0.0
    gamma = np.where(nu > 0, scale * (1.8 + 0.05 * nu) + rng.normal(0, 0.1, nu.shape), 0.0)
    point = QuasiHarmonicPoint(
        temperature=300.0,
        volume=11.8,
        length_scale=1.003,
        bulk_modulus=121.0,
        thermal_expansion=6e-5 * scale,
        heat_capacity=23.5,
        heat_capacity_pressure=24.4,
        gruneisen=2.2,
    )
    data = Blob.pack(
        temperatures=t,
        thermal_expansions=expansion,
        heat_capacities=capacity,
        heat_capacities_pressure=capacity + 2e-3 * t,
        bulk_moduli=131.0 - 0.03 * t,
        mesh_frequencies=nu,
        mode_gruneisen=gamma,
    )
    return QuasiHarmonicDocument(
        formula="Cu",
        material_id="0" * 16,
        source=source or Source(role=role, evaluator="emt"),
        settings={},
        n_structures=14,
        supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)),
        mesh=(10, 10, 10),
        has_nac=False,
        ions="symmetry",
        residual_force=0.0,
        formula_units=1,
        imaginary_threshold=-0.1,
        lowest_frequencies=(1.0,) * 7,
        static_volume=11.6,
        static_bulk_modulus=134.0,
        at_0=point,
        at_300=point,
        highest_temperature=700.0,
        fit_residual=0.001,
        mean_gruneisen=2.0,
        acoustic_gruneisen=2.0,
        acoustic_debye_temperature=330.0,
        slack_conductivity=9.9,
        data=data,
    )


def conductivity_document(
    role: str = "reference", scale: float = 1.0, axial: float = 1.0, source: Source | None = None
) -> ConductivityDocument:
    """Return κ = 4200 W/m / T; along z ``axial`` times that."""
    t = np.arange(100.0, 1001.0, 50.0)
    diagonal = scale * np.array([1.0, 1.0, axial, 0.0, 0.0, 0.0])
    kappa = 4200.0 / t[:, None] * diagonal
    return ConductivityDocument(
        formula="Cu",
        material_id="0" * 16,
        source=source or Source(role=role, evaluator="emt"),
        settings={},
        n_structures=30,
        supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)),
        harmonic_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)),
        mesh=(16, 16, 16),
        has_nac=False,
        has_isotopes=True,
        lowest_frequency=0.4,
        conductivity_300=tuple(14.0 * diagonal),
        mean_conductivity_300=float(14.0 * diagonal[:3].mean()),
        change=0.02,
        is_converged=True,
        data=Blob.pack(temperatures=t, conductivity=kappa),
    )


PEROVSKITE = np.array(
    [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]
)
POLAR = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], *[[0.0, 0.0, -1.0]] * 3])
"""Displacements of the ions of a perovskite along z."""


def node(index: int, symbol: str, number: int, energy: float, ending: str) -> PhaseNode:
    return PhaseNode(
        id=index,
        parent=None if index == 0 else 0,
        depth=min(index, 1),
        space_group=symbol,
        space_group_number=number,
        n_atoms=5,
        energy=energy,
        energy_per_atom=energy / 5,
        lowest_frequency=None if ending == "atom limit" else -3.0,
        imaginary_modes=[],
        ending=ending,
    )


def branch(child: int, direction: str) -> PhaseBranch:
    return PhaseBranch(
        parent=0,
        child=child,
        q=(0.0, 0.0, 0.0),
        band=0,
        irrep="T1u",
        direction=direction,
        frequency=-6.0,
        supercell_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        n_atoms=5,
        start_space_group="P4mm",
        q0=0.6,
        depth=14.0,
        n_steps=80,
        outcome="new phase",
    )


def transition_document(
    role: str = "untuned", n_more: int = 0, source: Source | None = None
) -> TransitionDocument:
    """Return a cubic perovskite with two phases below it, and ``n_more`` close to the lowest."""
    more = [node(3 + i, "R3m", 160, -42.0 + 0.2 * i, "stable") for i in range(n_more)]
    steps = np.linspace(0, 1, 11)
    n = 3 + n_more
    return TransitionDocument(
        formula="BaTiO3",
        material_id="0" * 16,
        source=source or Source(role=role, evaluator="teacher"),
        settings={},
        symprec=0.01,
        imaginary_threshold=-0.1,
        root_energy=-40.0,
        n_evaluations=700,
        nodes=[
            node(0, "Pm-3m", 221, 0.0, "followed"),
            node(1, "P4mm", 99, -29.0, "atom limit"),
            node(2, "R3m", 160, -43.0, "stable"),
            *more,
        ],
        branches=[branch(1, "a00"), branch(2, "aaa")],
        data=Blob.pack(
            lattices=[np.diag([4.0, 4.0, 4.0 + 0.1 * i]) for i in range(n)],
            n_sites=[5] * n,
            numbers=[56, 22, 8, 8, 8] * n,
            positions=[row for i in range(n) for row in PEROVSKITE + 0.01 * i * POLAR],
            path_branches=np.array([0, 1]),
            path_lambda=steps,
            path_energies=np.array([-29.0, -43.0])[:, None] * np.sin(steps * np.pi / 2) ** 2,
        ),
    )
