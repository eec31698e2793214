"""High-symmetry directions of a degenerate mode: its order parameter directions.

A distortion of wavevector q is a vector of real coordinates in the degenerate space (a wave and,
where q is not its own opposite, the same wave a quarter period on). The operations of the crystal act
on it as orthogonal matrices. A direction that a subgroup leaves alone as its only one is a stationary
line of every invariant energy (Michel, Rev. Mod. Phys. 52, 617 (1980)); these are the directions of
the isotropy subgroups of Stokes and Hatch (Isotropy subgroups of the 230 crystallographic space
groups, 1988), for one arm of the star.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Final

import numpy as np
import spglib
from numpy.typing import NDArray

from phonotune.physics.little_group import (
    Operation,
    is_own_opposite,
    little_group,
    translation_phases,
)
from phonotune.physics.phonon.irreps import irrep_label
from phonotune.physics.phonon.modes import Mode, ModeSpace, longest_projection, mode_space
from phonotune.ports import FloatArray
from phonotune.schemas.phonon import PhononDocument

MOST_DIRECTIONS: Final[int] = 8
"""Directions of one degenerate space that are followed at most, the most symmetric first."""
_MOST_SUBSPACES: Final = 400
_EQUAL: Final = 1e-3
"""Two matrices or unit vectors that differ by less are equal."""


@dataclass(frozen=True, eq=False)
class Line:
    """One-dimensional fixed space of an isotropy subgroup, with all its images.

    Attributes
    ----------
    images
        shape (n, D): unit vectors along the images of the line, one sign each.
    order
        Operations that leave the first image where it is.
    """

    images: FloatArray
    order: int


def mode_directions(
    document: PhononDocument, q: FloatArray, band: int | None, tolerance: float
) -> list[Mode]:
    """Return one mode for each symmetry-distinct high-symmetry direction of a degenerate space.

    Directions that differ by an operation or by their sign count once: where no operation reverses a
    direction, E(-Q) differs from E(Q) and both sides belong to it. For q that is not its own opposite
    the phases of the standing wave that symmetry tells apart are directions too. A mode without any
    such direction comes back as :func:`~phonotune.physics.phonon.modes.mode_of` gives it.

    Parameters
    ----------
    document
        Force constants and cells.
    q
        shape (3,), in reciprocal vectors of the primitive cell; one arm of its star is followed.
    band
        Band index; None takes the softest that is not acoustic at Γ.
    tolerance
        Frequencies closer than this (THz) are degenerate.

    Returns
    -------
    All of them, the largest isotropy group first, ``direction`` set to the components in the most
    symmetric axes ("a00", "aa0", "aaa") and ``irrep`` where it has a name. Who follows no more than
    :data:`MOST_DIRECTIONS` says which were dropped.

    Raises
    ------
    InputError
        No such band.
    """
    space = mode_space(document, q, band, tolerance)
    return directions_of(space, float(document.settings["symprec"]))


def directions_of(space: ModeSpace, symprec: float) -> list[Mode]:
    """Return the high-symmetry directions of a degenerate space, as :func:`mode_directions` does.

    Parameters
    ----------
    space
        The degenerate modes.
    symprec
        Tolerance on the positions of the primitive cell, Å.
    """
    operations = little_group(space.primitive, space.q, symprec)
    irrep = irrep_label(space, operations)
    basis = real_basis(space)
    group = image_group(basis, operations, translation_phases(space.q))
    lines = isotropy_lines(group)
    if not lines:
        mode = longest_projection(space)
        return [space.mode(mode.eigenvector.ravel(), None, irrep)]
    waves = [_as_complex(line.images, space) for line in lines]
    vectors = _complex_basis(basis, space)
    axes = _axes(waves[:MOST_DIRECTIONS], vectors, _crystal_axes(space))
    chosen = [_representative(images @ axes.conj().T) for images in waves]
    return [space.mode(vectors @ (c @ axes), direction_label(c), irrep) for c in chosen]


def real_basis(space: ModeSpace) -> NDArray[np.complex128]:
    """Return waves whose real combinations are all distortions of a degenerate space.

    Returns
    -------
    shape (3 n_prim, D), complex, orthonormal in the real part of the scalar product. D is d where q
    is its own opposite (each wave then is real at every atom, but for one sign a cell), else 2 d.
    """
    if not is_own_opposite(space.q):
        return np.concatenate([space.vectors, 1j * space.vectors], axis=1)
    x = space.primitive.frac_coords
    phases = np.exp(2j * np.pi * np.repeat(x @ space.q, 3))
    waves = space.vectors * phases[:, None]
    values, vectors = np.linalg.eigh(np.real(waves @ waves.conj().T))
    real = vectors[:, values > 0.5]
    return np.asarray(real * phases.conj()[:, None])


def image_group(
    basis: NDArray[np.complex128],
    operations: Sequence[Operation],
    phases: NDArray[np.complex128],
) -> FloatArray:
    """Return the distinct matrices by which operations and translations act on a real basis.

    Operations that lead out of the space (an accidental degeneracy cut in two, a phonon of lower
    symmetry than its crystal) are left out.

    Returns
    -------
    shape (n, D, D), orthogonal.
    """
    found: list[FloatArray] = []
    for operation in operations:
        image = operation.apply(basis)
        for phase in phases:
            matrix = np.real(basis.conj().T @ (phase * image))
            if np.abs(matrix @ matrix.T - np.eye(len(matrix))).max() > 1e-2:
                break
            left, _, right = np.linalg.svd(matrix)
            if not any(np.abs(left @ right - m).max() < _EQUAL for m in found):
                found.append(left @ right)
    return np.array(found)


def isotropy_lines(group: FloatArray) -> list[Line]:
    """Return the one-dimensional fixed spaces of all subgroups, one an orbit, most symmetric first.

    Fixed spaces of subgroups are intersections of those of single operations.

    Parameters
    ----------
    group
        shape (n, D, D), orthogonal matrices.
    """
    lines: list[Line] = []
    for space in fixed_spaces(group):
        if space.shape[1] != 1:
            continue
        images = group @ space[:, 0]
        if any(_on_line(line.images, space[:, 0]) for line in lines):
            continue
        distinct: list[FloatArray] = []
        for image in images:
            if not distinct or not _on_line(np.array(distinct), image):
                distinct.append(image)
        order = int(np.sum(np.abs(images - space[:, 0]).max(axis=1) < _EQUAL))
        lines.append(Line(np.array(distinct), order))
    return sorted(lines, key=lambda line: -line.order)


def _on_line(lines: FloatArray, vector: FloatArray) -> bool:
    return bool((np.abs(lines @ vector) > 1 - _EQUAL**2).any())


def fixed_spaces(group: FloatArray) -> list[FloatArray]:
    """Return bases (D, dimension >= 1) of the fixed spaces of all subgroups, without repetition."""
    projectors: list[FloatArray] = []
    for matrix in group:
        _add(projectors, _null_projector(matrix - np.eye(len(matrix))))
    single = list(projectors)
    for known in projectors:
        for other in single:
            if len(projectors) >= _MOST_SUBSPACES:
                break
            rest = 2 * np.eye(len(known)) - known - other
            _add(projectors, _null_projector(rest))
    return [_basis(p) for p in projectors]


def _add(projectors: list[FloatArray], projector: FloatArray) -> None:
    """Append a projector that is not zero and not known yet."""
    if np.trace(projector) < 0.5:
        return
    if not any(np.abs(projector - p).max() < _EQUAL for p in projectors):
        projectors.append(projector)


def _null_projector(matrix: FloatArray) -> FloatArray:
    _, values, right = np.linalg.svd(matrix)
    null = right[values < _EQUAL]
    return np.asarray(null.T @ null)


def _basis(projector: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(projector)
    return np.asarray(vectors[:, values > 0.5])


def _as_complex(images: FloatArray, space: ModeSpace) -> NDArray[np.complex128]:
    """Return real coordinates (n, D) as complex amplitudes (n, d); real where q is its own opposite."""
    d = space.vectors.shape[1]
    if images.shape[1] == d:
        return images.astype(complex)
    return np.asarray(images[:, :d] + 1j * images[:, d:])


def _complex_basis(basis: NDArray[np.complex128], space: ModeSpace) -> NDArray[np.complex128]:
    return basis[:, : space.vectors.shape[1]]


def _axes(
    waves: Sequence[NDArray[np.complex128]], vectors: NDArray[np.complex128], crystal: FloatArray
) -> NDArray[np.complex128]:
    """Return the axes (d, d), rows, that directions are named in.

    Among sets of mutually perpendicular images of one line, the one whose displacements point most
    along the crystal's axes; where no line has such a set, the most symmetric line and what is
    perpendicular to it, other lines first.
    """
    frames = [frame for images in waves for frame in _perpendicular(images)]
    if not frames:
        frames = [_completed(image, np.concatenate(waves)) for image in waves[0]]
    motions = [(f @ vectors.T).reshape(len(f), -1, 3) @ crystal.T for f in frames]
    sharpness = np.array([np.sum(np.abs(m) ** 4) for m in motions])
    best = int(np.flatnonzero(sharpness > sharpness.max() - 1e-6)[0])
    weights = np.round(np.sum(np.abs(motions[best]) ** 2, axis=1), 4)
    return np.asarray(frames[best][np.lexsort(-weights.T[::-1])])


def _perpendicular(images: NDArray[np.complex128]) -> list[NDArray[np.complex128]]:
    """Return the sets of d mutually perpendicular vectors among the images of a line."""
    apart = np.abs(images @ images.conj().T) < _EQUAL
    sets: list[tuple[int, ...]] = [(i,) for i in range(len(images))]
    for _ in range(images.shape[1] - 1):
        longer = [
            (*chosen, j)
            for chosen in sets
            for j in range(chosen[-1] + 1, len(images))
            if apart[list(chosen), j].all()
        ]
        sets = longer[:_MOST_SUBSPACES]
    return [images[list(chosen)] for chosen in sets]


def _completed(
    vector: NDArray[np.complex128], others: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """Return an orthonormal set (d, d), rows, of a unit vector, others where they fit, and any rest."""
    rows = [vector]
    for other in others:
        if np.abs(np.array(rows).conj() @ other).max() < _EQUAL:
            rows.append(other)
    rest = np.linalg.qr(np.column_stack([*rows, np.eye(len(vector))]))[0].T
    return np.asarray(np.vstack([*rows, rest[len(rows) : len(vector)]]))


def _crystal_axes(space: ModeSpace) -> FloatArray:
    """Return unit vectors (3, 3), rows: conventional a, what is perpendicular in ab, and the third."""
    cell = space.primitive
    data = spglib.get_symmetry_dataset(
        (cell.lattice.matrix, cell.frac_coords, list(cell.atomic_numbers)), symprec=1e-3
    )
    matrix = np.eye(3) if data is None else np.linalg.inv(data.transformation_matrix).T
    axes, lengths = np.linalg.qr((matrix @ cell.lattice.matrix).T)
    return np.asarray((axes * np.sign(np.diag(lengths))).T)


def _representative(components: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return the image, or its opposite, with the largest components in order and smallest phases."""
    both = np.concatenate([components, -components])
    keys = np.concatenate([-np.round(np.abs(both), 3), _degrees(both)], axis=1)
    return np.asarray(both[np.lexsort(keys.T[::-1])[0]])


def _degrees(components: NDArray[np.complex128]) -> FloatArray:
    """Return phases rounded to whole degrees in [0, 360), 0 for a component that vanishes."""
    phases = np.mod(np.rint(np.rad2deg(np.angle(components))), 360)
    return np.asarray(np.where(np.abs(components) < _EQUAL, 0.0, phases))


def direction_label(components: NDArray[np.complex128]) -> str:
    """Return "a00", "aa0", "a-a0": a letter for each magnitude, 0 where there is none.

    Where phases are not all 0° or 180°, they follow: "aa@0,90".

    Parameters
    ----------
    components
        shape (d,), amplitudes along the axes.
    """
    phases = _degrees(components)
    signed = bool(np.isin(phases, (0, 180)).all())
    sizes: list[float] = []
    text = ""
    for value, phase in zip(np.abs(components), phases, strict=True):
        if value < _EQUAL:
            text += "0"
            continue
        known = [i for i, size in enumerate(sizes) if abs(size - value) < 2 * _EQUAL]
        if not known:
            sizes.append(float(value))
        letter = ascii_lowercase[known[0] if known else len(sizes) - 1]
        text += ("-" if signed and phase else "") + letter
    if signed:
        return text
    moving = phases[np.abs(components) >= _EQUAL]
    return f"{text}@{','.join(f'{phase:.0f}' for phase in moving)}"
