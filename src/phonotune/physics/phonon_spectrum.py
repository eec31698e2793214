"""Frequencies of a Phonopy object: commensurate points, mesh, DOS, bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

from phonotune.physics.bands import BandPath, band_path
from phonotune.physics.phonon_cells import to_structure
from phonotune.ports import FloatArray, IntArray

N_ACOUSTIC: Final[int] = 3
_DOS_POINTS: Final[int] = 301
_BAND_SPACING: Final[float] = 0.004


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Frequencies of one crystal.

    Attributes
    ----------
    mesh
        Numbers of the Γ-centred mesh.
    path
        The band path.
    arrays
        The frequency arrays of a PhononDocument, by name.
    lowest, highest
        THz, over the mesh and the commensurate points, without the acoustic modes at Γ.
    """

    mesh: tuple[int, int, int]
    path: BandPath
    arrays: dict[str, Any]
    lowest: float
    highest: float


def compute_spectrum(phonon: Phonopy, mesh_density: float, symprec: float) -> Spectrum:
    """Compute frequencies at the commensurate points, on a mesh and on the band path.

    Parameters
    ----------
    phonon
        With force constants.
    mesh_density
        Mesh points per 1/Å of reciprocal vector (no 2π), Å.
    symprec
        Symmetry tolerance of the band path, Å.
    """
    q = commensurate_points(phonon)
    nu = np.array(phonon.run_qpoints(q).frequencies)
    numbers = mesh_numbers(phonon, mesh_density)
    mesh = mesh_spectrum(phonon, numbers)
    path = band_path(to_structure(phonon.primitive), symprec, _BAND_SPACING)
    on_mesh = without_acoustic(mesh["mesh_q"], mesh["mesh_frequencies"])
    return Spectrum(
        mesh=numbers,
        path=path,
        arrays={
            **mesh,
            "commensurate_q": q,
            "commensurate_frequencies": nu,
            "band_q": path.q,
            "band_distances": path.distances,
            "band_frequencies": band_frequencies(phonon, path),
            "band_segments": path.segments,
        },
        lowest=float(min(without_acoustic(q, nu).min(), on_mesh.min())),
        highest=float(max(nu.max(), mesh["mesh_frequencies"].max())),
    )


def mesh_numbers(phonon: Phonopy, density: float) -> tuple[int, int, int]:
    """Return a Γ-centred mesh with ``density`` points per 1/Å along each reciprocal vector (no 2π).

    The numbers are even, so that the mesh holds the zone boundary too, and equal where unequal ones
    would break the point group (centred lattices).
    """
    lengths = np.linalg.norm(np.linalg.inv(phonon.primitive.cell), axis=0)
    n = 2 * np.maximum(1, np.ceil(np.round(density * lengths / 2, 6))).astype(int)
    rotations = np.swapaxes(np.array(phonon.primitive_symmetry.pointgroup_operations), 1, 2)
    on_mesh = rotations * n[:, None] / n[None, :]
    if not np.allclose(on_mesh, np.rint(on_mesh), atol=1e-9):
        n = np.full(3, n.max())
    return (int(n[0]), int(n[1]), int(n[2]))


def commensurate_points(phonon: Phonopy) -> FloatArray:
    """Return the q-points that the supercell holds exactly.

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

    The sum rule makes them zero to numerical noise; at Γ they are the three of smallest absolute
    frequency (an optical mode smaller still could not be told from zero, either).

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


def mesh_spectrum(phonon: Phonopy, numbers: tuple[int, int, int]) -> dict[str, FloatArray]:
    """Return ``mesh_q``, ``mesh_weights``, ``mesh_frequencies`` and the tetrahedron DOS."""
    mesh = phonon.run_mesh(list(numbers), is_gamma_center=True)
    low, high = float(mesh.frequencies.min()), float(mesh.frequencies.max())
    margin = 0.02 * (high - low) + 1e-3
    low, high = low - margin, high + margin
    dos = phonon.run_total_dos(
        freq_min=low, freq_max=high, freq_pitch=(high - low) / (_DOS_POINTS - 1)
    )
    return {
        "mesh_q": np.array(mesh.qpoints),
        "mesh_weights": np.array(mesh.weights),
        "mesh_frequencies": np.array(mesh.frequencies),
        "dos_frequencies": np.array(dos.frequency_points),
        "dos_total": np.array(dos.dos),
    }


def band_frequencies(phonon: Phonopy, path: BandPath) -> FloatArray:
    """Return frequencies on a path, shape (n_b, 3 n_prim), THz; NAC along each segment."""
    parts = [path.q[first : last + 1] for first, last in path.segments]
    return np.concatenate(phonon.run_band_structure(parts).frequencies)
