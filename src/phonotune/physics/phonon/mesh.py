"""The q-mesh of a Phonopy object: doubled until converged, and the densities of states on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from phonopy import Phonopy
from phonopy.phonon.tetrahedron_method import get_integration_weights

from phonotune.ports import FloatArray

if TYPE_CHECKING:
    from phonopy.phonon.mesh import Mesh

MOST_DOUBLINGS: Final[int] = 2
"""Doublings of the mesh of ``mesh_density``, at most."""

_DOS_POINTS: Final[int] = 301
_DOS_CHUNK: Final[int] = 8_000_000
"""Integration weights in memory at a time, at most."""

MeshNumbers = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class MeshSpectrum:
    """Frequencies and densities of states on a Γ-centred mesh.

    Attributes
    ----------
    numbers
        Points along each reciprocal vector.
    error
        THz, change of the mean frequency from the mesh half as dense.
    arrays
        ``mesh_q``, ``mesh_weights``, ``mesh_frequencies``, ``dos_frequencies``, ``dos_total`` and
        ``dos_projected`` of a PhononDocument.
    """

    numbers: MeshNumbers
    error: float
    arrays: dict[str, Any]


def mesh_numbers(phonon: Phonopy, density: float) -> MeshNumbers:
    """Return a Γ-centred mesh with ``density`` points per 1/Å along each reciprocal vector (no 2π).

    The numbers are even, so that the mesh includes the zone boundary, and equal where unequal ones would
    break the point group (centred lattices).
    """
    lengths = np.linalg.norm(np.linalg.inv(phonon.primitive.cell), axis=0)
    n = 2 * np.maximum(1, np.ceil(np.round(density * lengths / 2, 6))).astype(int)
    rotations = np.swapaxes(np.array(phonon.primitive_symmetry.pointgroup_operations), 1, 2)
    on_mesh = rotations * n[:, None] / n[None, :]
    if not np.allclose(on_mesh, np.rint(on_mesh), atol=1e-9):
        n = np.full(3, n.max())
    return (int(n[0]), int(n[1]), int(n[2]))


def converged_mesh(phonon: Phonopy, numbers: MeshNumbers, tolerance: float) -> MeshSpectrum:
    """Return the spectrum on a mesh, doubled until the mean frequency has settled.

    The error of a mesh is the change of the zone's mean frequency (imaginary modes negative) from the
    mesh with half its numbers, which is every second point of it. After MOST_DOUBLINGS the mesh is
    accepted; its error says how well it has converged.

    Parameters
    ----------
    phonon
        With force constants.
    numbers
        The coarsest mesh to take, even numbers.
    tolerance
        THz.
    """
    half = (numbers[0] // 2, numbers[1] // 2, numbers[2] // 2)
    before = _mean(phonon.run_mesh(list(half), is_gamma_center=True))
    for doubling in range(MOST_DOUBLINGS + 1):
        if doubling:
            numbers = (2 * numbers[0], 2 * numbers[1], 2 * numbers[2])
        mesh = phonon.run_mesh(list(numbers), is_gamma_center=True, with_eigenvectors=True)
        mean = _mean(mesh)
        error, before = abs(mean - before), mean
        if error <= tolerance:
            break
    frequencies, total, projected = densities_of_states(mesh, phonon.primitive_symmetry)
    arrays = {
        "mesh_q": np.array(mesh.qpoints),
        "mesh_weights": np.array(mesh.weights),
        "mesh_frequencies": np.array(mesh.frequencies),
        "dos_frequencies": frequencies,
        "dos_total": total,
        "dos_projected": projected,
    }
    return MeshSpectrum(numbers, error, arrays)


def _mean(mesh: Mesh) -> float:
    return float(np.average(mesh.frequencies.mean(axis=1), weights=mesh.weights))


def densities_of_states(mesh: Mesh, symmetry: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return total and projected DOS by the linear tetrahedron method (phonopy's weights).

    Equivalent atoms get equal parts: the irreducible points alone give only their sum.

    Parameters
    ----------
    mesh
        Irreducible points, with eigenvectors.
    symmetry
        phonopy's symmetry of the primitive cell.

    Returns
    -------
    Frequencies (n_points,), THz; total (n_points,) and projected (n_prim, n_points) DOS in
    states/THz per primitive cell.
    """
    nu = np.array(mesh.frequencies)
    low, high = float(nu.min()), float(nu.max())
    margin = 0.02 * (high - low) + 1e-3
    grid = np.linspace(low - margin, high + margin, _DOS_POINTS)
    n_q, n_modes = nu.shape
    parts = np.abs(mesh.eigenvectors.reshape(n_q, -1, 3, n_modes)) ** 2
    shares = np.sum(parts, axis=2) * np.asarray(mesh.weights)[:, None, None]
    sites = np.zeros((len(grid), shares.shape[1]))
    # the irreducible points on phonopy's zone grid, and for each point of that grid which one it is
    irreducible, zone = np.asarray(mesh.ir_grid_points), mesh.bz_grid
    order = np.zeros(len(mesh.grid_mapping_table), dtype=np.int64)
    order[irreducible] = np.arange(len(irreducible))
    lookup = order[np.asarray(mesh.grid_mapping_table)][np.asarray(zone.bzg2grg)]
    points = np.asarray(zone.grg2bzg)[irreducible]
    step = max(1, _DOS_CHUNK // (len(grid) * n_modes))
    for start in range(0, n_q, step):
        chosen = slice(start, start + step)
        weights = get_integration_weights(
            grid, nu, zone, grid_points=points[chosen], bzgp2irgp_map=lookup, function="I"
        )
        sites += np.tensordot(weights, shares[chosen], axes=([0, 2], [0, 2]))
    sites /= np.sum(mesh.weights)
    first, inverse = np.unique(symmetry.get_map_atoms(), return_inverse=True)
    orbits = np.stack([sites[:, inverse == i].mean(axis=1) for i in range(len(first))])
    projected = orbits[inverse]
    return grid, projected.sum(axis=0), projected
