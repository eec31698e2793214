"""The band path of a primitive cell in its own orientation (SeeK-path)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import seekpath
from pymatgen.core import Structure

from phonotune.ports import FloatArray, IntArray
from phonotune.schemas.masses import site_kinds

_GREEK = {"GAMMA": "Γ", "SIGMA": "Σ", "DELTA": "Δ", "LAMBDA": "Λ"}
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True, eq=False)
class BandPath:
    """Straight segments between special points.

    Attributes
    ----------
    q
        shape (n_b, 3), in reciprocal vectors of the primitive cell, segment after segment.
    distances
        shape (n_b,), 1/Å (no 2π), without a step where two segments do not join.
    segments
        shape (n_seg, 2), first and last index of each segment.
    labels
        Names of the first and last point of each segment.
    """

    q: FloatArray
    distances: FloatArray
    segments: IntArray
    labels: list[tuple[str, str]]


def pretty_label(name: str) -> str:
    """Return a special point's name as printed: ``GAMMA`` is Γ, ``SIGMA_0`` is Σ₀."""
    stem, _, index = name.partition("_")
    stem = re.sub("GAMMA|SIGMA|DELTA|LAMBDA", lambda m: _GREEK[m.group()], stem)
    return stem + index.translate(_SUBSCRIPTS)


def band_path(primitive: Structure, symprec: float, spacing: float) -> BandPath:
    """Return the path of Hinuma et al., Comput. Mater. Sci. 128, 140 (2017), not standardised.

    Parameters
    ----------
    primitive
        The primitive cell; q refers to its own reciprocal vectors.
    symprec
        Symmetry tolerance, Å.
    spacing
        Largest distance between neighbouring points, 1/Å (no 2π).
    """
    cell = (primitive.lattice.matrix, primitive.frac_coords, site_kinds(primitive))
    found = seekpath.get_path_orig_cell(cell, symprec=symprec)
    reciprocal = np.linalg.inv(primitive.lattice.matrix).T
    points, distances, segments, labels = [], [], [], []
    start, count = 0.0, 0
    for first, last in found["path"]:
        ends = np.array([found["point_coords"][first], found["point_coords"][last]], dtype=float)
        length = float(np.linalg.norm((ends[1] - ends[0]) @ reciprocal))
        steps = np.linspace(0, 1, max(2, int(np.ceil(length / spacing)) + 1))
        points.append(ends[0] + steps[:, None] * (ends[1] - ends[0]))
        distances.append(start + steps * length)
        segments.append((count, count + len(steps) - 1))
        labels.append((pretty_label(first), pretty_label(last)))
        start, count = start + length, count + len(steps)
    return BandPath(np.concatenate(points), np.concatenate(distances), np.array(segments), labels)
