"""Frequencies of a Phonopy object: commensurate points, mesh, DOS, bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

from phonotune.physics.phonon.bands import BandPath, band_path
from phonotune.physics.phonon.cells import to_structure
from phonotune.physics.phonon.mesh import MeshNumbers, converged_mesh, mesh_numbers
from phonotune.ports import FloatArray, IntArray

__all__ = [
    "Spectrum",
    "band_frequencies",
    "commensurate_points",
    "compute_spectrum",
    "is_gamma",
    "mesh_numbers",
    "star_representatives",
    "without_acoustic",
]

N_ACOUSTIC: Final[int] = 3
_BAND_SPACING: Final[float] = 0.004


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Frequencies of one crystal.

    Attributes
    ----------
    mesh
        Numbers of the Γ-centred mesh.
    mesh_error
        THz, change of the mean frequency from the mesh half as dense.
    path
        The band path.
    arrays
        The frequency arrays of a PhononDocument, by name.
    lowest, highest
        THz, over the mesh and the commensurate points, without the acoustic modes at Γ.
    """

    mesh: MeshNumbers
    mesh_error: float
    path: BandPath
    arrays: dict[str, Any]
    lowest: float
    highest: float


def compute_spectrum(
    phonon: Phonopy,
    mesh_density: float,
    symprec: float,
    mesh_tolerance: float = np.inf,
    mesh: MeshNumbers | None = None,
) -> Spectrum:
    """Compute frequencies at the commensurate points, on a mesh and on the band path.

    Parameters
    ----------
    phonon
        With force constants.
    mesh_density
        Mesh points per 1/Å of reciprocal vector (no 2π), Å.
    symprec
        Symmetry tolerance of the band path, Å.
    mesh_tolerance
        THz; the mesh is doubled until it is met (:func:`converged_mesh`).
    mesh
        Exactly this mesh instead, even numbers.
    """
    q = commensurate_points(phonon)
    nu = np.array(phonon.run_qpoints(q).frequencies)
    numbers = mesh or mesh_numbers(phonon, mesh_density)
    zone = converged_mesh(phonon, numbers, mesh_tolerance if mesh is None else np.inf)
    path = band_path(to_structure(phonon.primitive), symprec, _BAND_SPACING)
    on_mesh = without_acoustic(zone.arrays["mesh_q"], zone.arrays["mesh_frequencies"])
    return Spectrum(
        mesh=zone.numbers,
        mesh_error=zone.error,
        path=path,
        arrays={
            **zone.arrays,
            "commensurate_q": q,
            "commensurate_frequencies": nu,
            "band_q": path.q,
            "band_distances": path.distances,
            "band_frequencies": band_frequencies(phonon, path),
            "band_segments": path.segments,
        },
        lowest=float(min(without_acoustic(q, nu).min(), on_mesh.min())),
        highest=float(max(nu.max(), zone.arrays["mesh_frequencies"].max())),
    )


def commensurate_points(phonon: Phonopy) -> FloatArray:
    """Return the q-points that are commensurate with the supercell.

    Returns
    -------
    shape (n_c, 3), in reciprocal vectors of the primitive cell, Γ first, then by length.
    """
    matrix = np.linalg.inv(phonon.primitive_matrix) @ phonon.supercell_matrix
    q = get_commensurate_points(np.rint(matrix).astype(np.int64))
    q = q - np.ceil(q - 0.5 - 1e-9)
    lengths = np.linalg.norm(q @ np.linalg.inv(phonon.primitive.cell).T, axis=1)
    keys = np.round(np.column_stack([q[:, ::-1], lengths]), 6)
    return np.asarray(q[np.lexsort(keys.T)] + 0.0)


def star_representatives(phonon: Phonopy, q: FloatArray) -> IntArray:
    """Return for each q the index of the first q of its star (symmetry and time reversal)."""
    rotations = np.swapaxes(np.array(phonon.primitive_symmetry.pointgroup_operations), 1, 2)
    images = np.einsum("rij,qj->qri", np.concatenate([rotations, -rotations]), q)
    first = np.arange(len(q))
    for i, orbit in enumerate(images):
        shifts = orbit[None] - q[: i + 1, None]
        equal = (np.abs(shifts - np.rint(shifts)) < 1e-5).all(axis=2).any(axis=1)
        first[i] = np.flatnonzero(equal)[0]
    return first


def is_gamma(q: FloatArray) -> FloatArray:
    """Return which rows of q, shape (n_q, 3), are Γ (modulo reciprocal vectors)."""
    return np.asarray((np.abs(q - np.rint(q)) < 1e-6).all(axis=1))


def without_acoustic(q: FloatArray, frequencies: FloatArray) -> FloatArray:
    """Mask the three acoustic modes at Γ with infinity.

    The sum rule makes them zero up to numerical noise; at Γ they are the three of smallest absolute
    frequency (an optical mode that is even smaller could not be distinguished from zero either).

    Parameters
    ----------
    q
        shape (n_q, 3).
    frequencies
        shape (n_q, n_modes), THz.
    """
    masked = np.array(frequencies)
    for row in np.flatnonzero(is_gamma(q)):
        masked[row, np.argsort(np.abs(masked[row]), kind="stable")[:N_ACOUSTIC]] = np.inf
    return masked


def band_frequencies(phonon: Phonopy, path: BandPath) -> FloatArray:
    """Return frequencies on a path, shape (n_b, 3 n_prim), THz; NAC along each segment."""
    parts = [path.q[first : last + 1] for first, last in path.segments]
    return np.concatenate(phonon.run_band_structure(parts).frequencies)
