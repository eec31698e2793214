"""High-symmetry directions of a degenerate mode: its order parameter directions.

A distortion of wavevector q is a vector of real coordinates in the degenerate space (a wave and, where q
is not its own opposite, the same wave shifted by a quarter period). The operations of the crystal act on
it as orthogonal matrices. A direction that is the only one fixed by some subgroup is a stationary line of
every invariant energy (Michel, Rev. Mod. Phys. 52, 617 (1980)); these are the directions of the isotropy
subgroups of Stokes and Hatch (Isotropy subgroups of the 230 crystallographic space groups, 1988), for one
arm of the star.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Final

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Structure

from phonotune.physics.little_group import (
    Operation,
    is_own_opposite,
    little_group,
    translation_phases,
)
from phonotune.physics.phonon.irreps import irrep_label
from phonotune.physics.phonon.modes import Mode, ModeSpace, longest_projection, mode_space
from phonotune.ports import FloatArray
from phonotune.schemas.masses import site_kinds
from phonotune.schemas.phonon import PhononDocument

MOST_DIRECTIONS: Final[int] = 8
"""At most this many directions of one degenerate space are followed, the most symmetric first."""
_MOST_SUBSPACES: Final = 400
"""The search for fixed spaces stops at this number; the modes found then say so."""
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
    direction, E(-Q) differs from E(Q) and both sides belong to it. Where q is not its own opposite, phases
    of the standing wave that differ by symmetry are directions too. A mode without any such direction is
    returned as :func:`~phonotune.physics.phonon.modes.mode_of` gives it.

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
    All of them, the largest isotropy group first, ``direction`` set to the components along the most
    symmetric axes ("a00", "aa0", "aaa") and ``irrep`` where it has a name. ``complete`` is False where the
    search stopped at its limit. A caller that follows only :data:`MOST_DIRECTIONS` of them records the rest.

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
    spaces, complete = fixed_spaces(group)
    lines = isotropy_lines(group, spaces)
    if not lines:
        vector = longest_projection(space).eigenvector.ravel()
        return [space.mode(vector, None, irrep, complete)]
    d = space.vectors.shape[1]
    vectors = basis[:, :d]
    waves = [
        images.astype(complex) if images.shape[1] == d else images[:, :d] + 1j * images[:, d:]
        for images in (line.images for line in lines)
    ]
    axes = direction_axes(waves[:MOST_DIRECTIONS], vectors, space.primitive)
    modes = []
    for images in waves:
        # of all images and their opposites: the largest components first, then the smallest phases
        both = np.concatenate([images @ axes.conj().T, -images @ axes.conj().T])
        keys = np.concatenate([-np.round(np.abs(both), 3), _degrees(both)], axis=1)
        chosen = both[np.lexsort(keys.T[::-1])[0]]
        label = direction_label(chosen)
        modes.append(space.mode(vectors @ (chosen @ axes), label, irrep, complete))
    return modes


def real_basis(space: ModeSpace) -> NDArray[np.complex128]:
    """Return waves whose real combinations are all distortions of a degenerate space.

    Returns
    -------
    shape (3 n_prim, D), complex, orthonormal in the real part of the scalar product. D is d where q
    is its own opposite (each wave is then real at every atom, except for one sign per cell), else 2 d.
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

    Operations that lead out of the space (an accidental degeneracy cut in two, phonons of lower symmetry
    than their crystal) are left out.

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


def isotropy_lines(group: FloatArray, spaces: Sequence[FloatArray]) -> list[Line]:
    """Return the one-dimensional fixed spaces, one per orbit, the most symmetric first.

    Parameters
    ----------
    group
        shape (n, D, D), orthogonal matrices.
    spaces
        Its :func:`fixed_spaces`.
    """
    lines: list[Line] = []
    for space in spaces:
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


def fixed_spaces(group: FloatArray) -> tuple[list[FloatArray], bool]:
    """Return bases (D, dimension >= 1) of the fixed spaces of all subgroups, without repetition.

    Fixed spaces of subgroups are intersections of those of single operations.

    Parameters
    ----------
    group
        shape (n, D, D), orthogonal matrices.

    Returns
    -------
    The bases, and False where the search stopped at a limit before it had tried all intersections.
    """
    projectors: list[FloatArray] = []
    for matrix in group:
        _add(projectors, _null_projector(matrix - np.eye(len(matrix))))
    single = list(projectors)
    complete = True
    for known, other in ((a, b) for a in projectors for b in single):
        if len(projectors) >= _MOST_SUBSPACES:
            complete = False
            break
        _add(projectors, _null_projector(2 * np.eye(len(known)) - known - other))
    bases = []
    for projector in projectors:
        values, vectors = np.linalg.eigh(projector)
        bases.append(np.asarray(vectors[:, values > 0.5]))
    return bases, complete


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


def direction_axes(
    waves: Sequence[NDArray[np.complex128]],
    vectors: NDArray[np.complex128],
    primitive: Structure,
) -> NDArray[np.complex128]:
    """Return the axes (d, d), rows, along which the components of directions are given.

    Among sets of mutually perpendicular images of one line, the one whose displacements point most along
    the crystal's axes; where no line has such a set, the most symmetric line and what is perpendicular to
    it, other lines first.

    Parameters
    ----------
    waves
        shape (n, d) each, the images of a line as complex amplitudes.
    vectors
        shape (3 n_prim, d), the waves that the amplitudes refer to.
    primitive
        The primitive cell.
    """
    d = vectors.shape[1]
    frames = []
    for images in waves:
        apart = np.abs(images @ images.conj().T) < _EQUAL
        sets: list[tuple[int, ...]] = [(i,) for i in range(len(images))]
        for _ in range(d - 1):
            longer = [
                (*chosen, j)
                for chosen in sets
                for j in range(chosen[-1] + 1, len(images))
                if apart[list(chosen), j].all()
            ]
            sets = longer[:_MOST_SUBSPACES]  # only the names of directions depend on the others
        frames += [images[list(chosen)] for chosen in sets]
    if not frames:
        for image in waves[0]:
            rows = [image]
            for other in np.concatenate(waves):
                if np.abs(np.array(rows).conj() @ other).max() < _EQUAL:
                    rows.append(other)
            rest = np.linalg.qr(np.column_stack([*rows, np.eye(d)]))[0].T
            frames.append(np.vstack([*rows, rest[len(rows) : d]]))

    # the crystal's axes: conventional a, what is perpendicular to it in the plane ab, and the third
    data = spglib.get_symmetry_dataset(
        (primitive.lattice.matrix, primitive.frac_coords, site_kinds(primitive)),
        symprec=1e-3,
    )
    matrix = np.eye(3) if data is None else np.linalg.inv(data.transformation_matrix).T
    columns, lengths = np.linalg.qr((matrix @ primitive.lattice.matrix).T)
    crystal = (columns * np.sign(np.diag(lengths))).T

    motions = [(f @ vectors.T).reshape(len(f), -1, 3) @ crystal.T for f in frames]
    sharpness = np.array([np.sum(np.abs(m) ** 4) for m in motions])
    best = int(np.flatnonzero(sharpness > sharpness.max() - 1e-6)[0])
    weights = np.round(np.sum(np.abs(motions[best]) ** 2, axis=1), 4)
    return np.asarray(frames[best][np.lexsort(-weights.T[::-1])])


def _degrees(components: NDArray[np.complex128]) -> FloatArray:
    """Return phases rounded to whole degrees in [0, 360), 0 for a component that vanishes."""
    phases = np.mod(np.rint(np.rad2deg(np.angle(components))), 360)
    return np.asarray(np.where(np.abs(components) < _EQUAL, 0.0, phases))


def direction_label(components: NDArray[np.complex128]) -> str:
    """Return "a00", "aa0", "a-a0": one letter per magnitude, 0 where a component vanishes.

    Phases that are not all 0° or 180° are appended: "aa@0,90".

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
