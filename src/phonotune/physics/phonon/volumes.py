"""Phonons of one crystal at several volumes: frequencies on one mesh, mode Grüneisen parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from phonopy import Phonopy

from phonotune.physics.phonon.cells import nac_params, with_isotopes
from phonotune.physics.phonon.displacements import PhononPlan, fit_force_constants
from phonotune.physics.phonon.spectrum import (
    commensurate_points,
    mesh_numbers,
    without_acoustic,
)
from phonotune.physics.thermal import CUTOFF
from phonotune.ports import FloatArray
from phonotune.schemas.phonon import BornCharges

_DEGENERATE: Final[float] = 1e-3
"""Frequencies closer than this (THz) share their space in perturbation theory."""


@dataclass(frozen=True, eq=False)
class VolumePhonons:
    """The phonons at each volume, on the irreducible mesh of the first.

    Attributes
    ----------
    mesh
        Numbers of the Γ-centred mesh.
    q
        shape (n_q, 3), in reciprocal vectors of the primitive cell.
    weights
        shape (n_q,).
    frequencies
        shape (n_v, n_q, n_m), THz.
    lowest
        shape (n_v,), THz, on the mesh and at the commensurate points; not the acoustic ones at Γ.
    masses
        shape (n_prim,), amu.
    phonons
        One Phonopy object a volume.
    """

    mesh: tuple[int, int, int]
    q: FloatArray
    weights: FloatArray
    frequencies: FloatArray
    lowest: FloatArray
    masses: FloatArray
    phonons: tuple[Phonopy, ...] = field(repr=False)


def phonons_at_volumes(
    plans: Sequence[PhononPlan],
    forces: Sequence[FloatArray],
    mesh_density: float,
    born: BornCharges | None = None,
) -> VolumePhonons:
    """Fit force constants at each volume and compute frequencies on one mesh.

    Parameters
    ----------
    plans
        One per volume, of the same crystal scaled.
    forces
        One array per plan, shape (n_d, n_super, 3), eV/Å.
    mesh_density
        Mesh points per 1/Å of reciprocal vector (no 2π) of the first volume, Å.
    born
        Born charges for the NAC, assumed independent of volume; None for no NAC.
    """
    phonons = tuple(
        with_isotopes(fit_force_constants(plan, force), plan.structure)
        for plan, force in zip(plans, forces, strict=True)
    )
    for phonon in phonons:
        phonon.nac_params = nac_params(born, len(phonon.primitive))
    mesh = mesh_numbers(phonons[0], mesh_density)
    sampled = phonons[0].run_mesh(list(mesh), is_gamma_center=True)
    q, commensurate = np.array(sampled.qpoints), commensurate_points(phonons[0])
    frequencies = np.array([p.run_qpoints(q).frequencies for p in phonons])
    lowest = [
        min(
            without_acoustic(q, on_mesh).min(),
            without_acoustic(commensurate, p.run_qpoints(commensurate).frequencies).min(),
        )
        for p, on_mesh in zip(phonons, frequencies, strict=True)
    ]
    return VolumePhonons(
        mesh=mesh,
        q=q,
        weights=np.array(sampled.weights, dtype=float),
        frequencies=frequencies,
        lowest=np.array(lowest),
        masses=np.array(phonons[0].primitive.masses),
        phonons=phonons,
    )


def mode_gruneisen(
    found: VolumePhonons, values: FloatArray, slopes: FloatArray, volume: float
) -> tuple[FloatArray, FloatArray]:
    """Return frequencies and Grüneisen parameters γ = -V/(2ω²) <e|dD/dV|e> at one volume.

    Degenerate modes are those that diagonalise dD/dV in their space.

    Parameters
    ----------
    found
        The phonons at each volume.
    values, slopes
        shape (n_v,): D = values·D_i and dD/dV = slopes·D_i (per Å^3), the fit of all volumes.
    volume
        V, Å^3, of the same amount of crystal that ``slopes`` refers to.

    Returns
    -------
    Two arrays of shape (n_q, n_m): THz; and without unit, 0 for modes below ``CUTOFF``.
    """
    matrices: Any = 0.0
    derivatives: Any = 0.0
    for phonon, value, slope in zip(found.phonons, values, slopes, strict=True):
        run = phonon.run_qpoints(found.q, with_dynamical_matrices=True)
        dynamical = np.array(run.dynamical_matrices)
        matrices = matrices + value * dynamical
        derivatives = derivatives + slope * dynamical
    squares, vectors = np.linalg.eigh(matrices)
    factor = found.phonons[0].unit_conversion_factor
    nu = np.sign(squares) * np.sqrt(np.abs(squares)) * factor
    perturbation = np.swapaxes(vectors.conj(), 1, 2) @ derivatives @ vectors
    shifts = np.real(np.diagonal(perturbation, axis1=1, axis2=2)).copy()
    for shift, w, block in zip(shifts, nu, perturbation, strict=True):
        starts = np.flatnonzero(np.diff(w, prepend=-np.inf) > _DEGENERATE)
        for first, last in zip(starts, [*starts[1:], len(w)], strict=True):
            if last - first > 1:
                shift[first:last] = np.linalg.eigvalsh(block[first:last, first:last])
    counted = nu > CUTOFF
    return nu, np.where(counted, -0.5 * volume * shifts / np.where(counted, squares, 1.0), 0.0)
