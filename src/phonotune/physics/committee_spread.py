"""Error bars of a property: how far the documents of a committee's members differ.

The headline is the analysis of the mean answers. A band, a heat capacity or a well depth is not a linear
function of the forces, so that its error bar comes from analysing every member, not from the spread of
forces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from phonotune.errors import InputError
from phonotune.ports import Evaluation, FloatArray, Spread
from phonotune.schemas.base import MemberSpread, Part, PropertyDocument
from phonotune.schemas.blob import Blob

D = TypeVar("D", bound=PropertyDocument)

_AXES: Final[dict[str, str]] = {
    "mesh_": "mesh_q",
    "commensurate_": "commensurate_q",
    "band_": "band_distances",
    "dos_": "dos_frequencies",
    "energies": "amplitudes",
    "forces": "amplitudes",
}
"""Axis of the arrays whose names start with a prefix."""
_GIVEN: Final[frozenset[str]] = frozenset(
    {
        *_AXES.values(),
        *("mesh_weights", "band_q", "temperatures", "volumes", "pattern", "born", "dielectric"),
    }
)
"""Arrays that the plan or the settings determine."""
_RAW: Final[tuple[str, ...]] = ("force_constants", "displacement_", "random_", "coefficients")
"""Arrays from which properties are computed."""
_GIVEN_FIELDS: Final[frozenset[str]] = frozenset(
    {"spread", "q", "primitive_matrix", "imaginary_threshold", "mesh_error", "temperature"}
)
_NUMBERED: Final = re.compile(r"_\d+$")
"""The end of an array's name that numbers it (directions of a well)."""


def with_spread(document: D, members: Sequence[PropertyDocument], n_left_out: int = 0) -> D:
    """Return a document with the standard deviations over the members of a committee.

    An array of another shape or along other q-points than the document's is left out; a density of
    states is interpolated to the document's frequencies first.

    Parameters
    ----------
    document
        The analysis of the mean answers.
    members
        The same analysis of each member's answers.
    n_left_out
        Further members whose answers could not be analysed.

    Raises
    ------
    InputError
        Fewer than two members, or documents of another kind or crystal.
    """
    if len(members) < 2:
        raise InputError(
            f"Error bars need the documents of at least two members, found {len(members)}; "
            "analyse a single model without them."
        )
    for member in members:
        if (member.kind, member.material_id) != (document.kind, document.material_id):
            raise InputError(
                f"A member of the committee computed {member.kind} of {member.material_id}, the mean "
                f"{document.kind} of {document.material_id}; analyse all by the same plan."
            )
    found = [dict(_numbers(member)) for member in members]
    numbers = {
        name: deviation([part[name] for part in found])
        for name, _ in _numbers(document)
        if all(name in part for part in found)
    }
    return document.model_copy(
        update={
            "spread": MemberSpread(
                n_members=len(members),
                n_left_out=n_left_out,
                numbers={name: float(value) for name, value in numbers.items()},
                data=Blob.pack(**_array_deviations(document, members)),
            )
        }
    )


def deviation(values: Any) -> FloatArray:
    """Return the standard deviation (n - 1) over the first axis, exactly zero where all are equal.

    Parameters
    ----------
    values
        shape (n_members, ...), one entry per member.
    """
    stacked = np.asarray(values, dtype=float)
    return np.asarray((stacked - stacked[0]).std(axis=0, ddof=1))


def spread_arrays(document: PropertyDocument) -> dict[str, FloatArray]:
    """Return the standard deviations of a document's arrays by name; empty for a single model."""
    return {} if document.spread is None else dict(document.spread.data.arrays())


def _numbers(part: Part, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield every float of a document by dotted name, except those of the plan."""
    for name, value in part:
        if name in _GIVEN_FIELDS:
            continue
        if isinstance(value, float):
            yield prefix + name, value
        elif isinstance(value, Part):
            yield from _numbers(value, f"{prefix}{name}.")


def _array_deviations(
    document: PropertyDocument, members: Sequence[PropertyDocument]
) -> dict[str, FloatArray]:
    arrays = []
    for part in (document, *members):
        tensors = {
            name: np.array(value)
            for name, value in part
            if isinstance(value, tuple) and name not in _GIVEN_FIELDS
        }
        data = getattr(part, "data", None)
        arrays.append(tensors | (data.arrays() if isinstance(data, Blob) else {}))
    own, others = arrays[0], arrays[1:]
    found = {}
    for name in own:
        given = _NUMBERED.sub("", name) in _GIVEN or name.startswith(_RAW)
        if given or own[name].dtype.kind != "f":
            continue
        placed = [_along_axis(name, own, other) for other in others]
        if all(values is not None and values.shape == own[name].shape for values in placed):
            found[name] = deviation(placed)
    return found


def _along_axis(
    name: str, own: dict[str, FloatArray], other: dict[str, FloatArray]
) -> FloatArray | None:
    """Return a member's array on the document's axis, or None where it has no such values."""
    if name not in other:
        return None
    axis = next((a for prefix, a in _AXES.items() if name.startswith(prefix)), "")
    axis += "".join(_NUMBERED.findall(name))
    if axis not in own or axis not in other:
        return other[name]
    if axis == "dos_frequencies":
        rows = np.atleast_2d(other[name])  # densities of states are zero outside their grid
        placed = [np.interp(own[axis], other[axis], row, left=0.0, right=0.0) for row in rows]
        return np.array(placed).reshape(*other[name].shape[:-1], len(own[axis]))
    same = own[axis].shape == other[axis].shape and np.allclose(own[axis], other[axis], atol=1e-8)
    return other[name] if same else None


def mean_answers(members: Sequence[Sequence[Evaluation]]) -> list[Evaluation]:
    """Return the mean of the members' answers with their standard deviation (n - 1).

    Parameters
    ----------
    members
        One sequence of answers per member, all to the same structures.
    """
    means = []
    for answers in zip(*members, strict=True):
        energies = np.array([answer.energy for answer in answers])
        forces = np.array([answer.forces for answer in answers])
        given = [answer.stress for answer in answers if answer.stress is not None]
        stress = deviation = None
        if len(given) == len(answers):
            stress, deviation = np.mean(given, axis=0), np.std(given, axis=0, ddof=1)
        spread = Spread(float(energies.std(ddof=1)), forces.std(axis=0, ddof=1), deviation)
        means.append(Evaluation(float(energies.mean()), forces.mean(axis=0), stress, spread))
    return means
