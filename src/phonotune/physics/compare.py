"""Comparison of models with their reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from phonotune.dotted import load
from phonotune.errors import InputError
from phonotune.physics.crystals import crystal_difference
from phonotune.physics.deviations import percent
from phonotune.physics.phonon.residual import corrected, plain_fit, residual_variant
from phonotune.schemas.base import PropertyDocument, Source
from phonotune.schemas.comparison import (
    ComparisonDocument,
    ComparisonRow,
    Deviations,
    Properties,
)
from phonotune.schemas.kinds import Kind, compared_kinds
from phonotune.schemas.phonon import PhononDocument

_CHOICE_ONLY: Final[frozenset[str]] = frozenset({"min_length", "max_atoms"})
"""Settings that only choose a supercell; the supercell itself is compared."""
_WORDS: Final = {
    "supercell_matrix": "supercell",
    "harmonic_matrix": "supercell of second order",
    "primitive_matrix": "primitive vectors",
    "has_nac": "Born charges:",
    "relaxed": "relaxed by the model first:",
}
_OPTIONS: Final = {
    "supercell_matrix": "--supercell {}",
    "primitive_matrix": "--primitive '{}'",
    "has_nac": "--born FILE for both or for none",
    "relaxed": "--relax for both or for none",
    "q": "--q {}",
}
"""Options of the commands that make what differs equal; the reference's value is filled in."""


@dataclass(frozen=True)
class PropertySet:
    """What was computed by one evaluator: one Document per kind."""

    source: Source
    documents: Mapping[str, PropertyDocument] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Sequence[PropertyDocument], source: Source | None = None) -> PropertySet:
        """Sort the property Documents of one evaluator by kind; of one kind the first counts."""
        return cls(source or documents[0].source, {d.kind: d for d in reversed(documents)})

    @property
    def phonon(self) -> PhononDocument | None:
        """The phonons, if they were computed."""
        found = self.documents.get("phonon")
        return found if isinstance(found, PhononDocument) else None


def compare(reference: PropertySet, models: Sequence[PropertySet]) -> ComparisonDocument:
    """Compare models with a reference, property by property.

    Meshes may differ, since each document converges its own; frequencies are then computed again on the denser
    one. Phonons with residual force constants have separate rows: the model alone, model + ΔΦ and, once at the
    end, the plain symfc fit.

    Raises
    ------
    InputError
        Nothing to compare with, or documents made with different cells or settings; the message
        says which differ.
    """
    if not reference.documents:
        raise InputError("The reference holds no property document; compute one first.")
    for model in models:
        for kind in compared_kinds().values():
            _demand_equal(kind, reference, model)
    crystal = next(iter(reference.documents.values()))
    return ComparisonDocument(
        formula=crystal.formula,
        material_id=crystal.material_id,
        reference=reference.source,
        reference_properties=headline(reference),
        rows=[
            ComparisonRow(
                source=model.source,
                properties=headline(model),
                deviations=_deviations(reference, model),
                error_bars=headline_error_bars(model),
            )
            for model in _rows(models)
        ],
    )


def _rows(models: Sequence[PropertySet]) -> list[PropertySet]:
    """Return a row per model, one more for its ΔΦ, and one plain fit: all models have the same frames."""
    rows: list[PropertySet] = []
    fits: list[PropertySet] = []
    for model in models:
        phonon = model.phonon
        if phonon is None or phonon.residual is None:
            rows.append(model)
            continue
        alone = {**model.documents, "phonon": residual_variant(phonon, "model")}
        rows += [replace(model, documents=alone), PropertySet.of([corrected(phonon)])]
        if not fits:
            fits.append(PropertySet.of([plain_fit(phonon)]))
    return rows + fits


def headline(properties: PropertySet) -> Properties:
    """Return the headline numbers of one evaluator."""
    return _properties(
        {
            (kind.name, column.path): column.value(properties.documents[kind.name])
            for kind in compared_kinds().values()
            if kind.name in properties.documents
            for column in kind.columns
        }
    )


def headline_error_bars(properties: PropertySet) -> Properties | None:
    """Return the standard deviations of the headline numbers over a committee, or None."""
    spreads = {name: d.spread for name, d in properties.documents.items() if d.spread is not None}
    if not spreads:
        return None
    return _properties(
        {
            (name, path): value
            for name, spread in spreads.items()
            for path, value in spread.numbers.items()
        }
    )


def _properties(numbers: Mapping[tuple[str, str], float | None]) -> Properties:
    """Return numbers, by kind and path, in the fields that the rows of the kinds name."""
    found: dict[str, float | None] = {}
    others: dict[str, float] = {}
    for kind in compared_kinds().values():
        for column in kind.columns:
            value = numbers.get((kind.name, column.path))
            if column.field:
                found[column.field] = value
            elif value is not None:
                others[f"{kind.name}.{column.path}"] = value
    return Properties(**found, others=others)


def _demand_equal(kind: Kind, reference: PropertySet, model: PropertySet) -> None:
    ours, theirs = (side.documents.get(kind.name) for side in (reference, model))
    if ours is None or theirs is None or kind.comparison is None:
        return
    differing = [text for text in (_other_crystal(ours, theirs, reference, model),) if text]
    fields = ("relaxed", *kind.comparison.equal)
    keys = sorted((set(ours.settings) | set(theirs.settings)) - _CHOICE_ONLY - set(fields))
    pairs = [(f, getattr(ours, f), getattr(theirs, f)) for f in fields]
    pairs += [(key, ours.settings.get(key), theirs.settings.get(key)) for key in keys]
    for name, first, second in pairs:
        if not _same(first, second):
            what = _WORDS.get(name, name.replace("_", " "))
            option = _OPTIONS.get(name, "")
            use = f" (use {option.format(_in_words(first))})" if option else ""
            differing.append(f"{what} {_in_words(first)} and {_in_words(second)}{use}")
    if differing:
        raise InputError(
            f"{kind.title} of {reference.source.evaluator} and {model.source.evaluator} cannot "
            f"be compared; they differ in: {'; '.join(differing)}. Compute both with the same settings."
        )


def _other_crystal(
    ours: PropertyDocument, theirs: PropertyDocument, reference: PropertySet, model: PropertySet
) -> str:
    """Return in what the crystals differ, by the cells of the phonons where both have some; else empty."""
    if ours.material_id == theirs.material_id:
        return ""
    first, second = reference.phonon, model.phonon
    if first and second and not (first.relaxed or second.relaxed):
        return crystal_difference(first.unitcell, second.unitcell)
    if ours.formula != theirs.formula:
        return f"they are other crystals, {ours.formula} and {theirs.formula}"
    return (
        f"crystal {ours.material_id} and {theirs.material_id}, of other cells, positions or masses"
    )


def _same(a: object, b: object) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return bool(np.allclose(np.array(a, dtype=float), np.array(b, dtype=float), atol=1e-6))
    return a == b


def _in_words(value: object) -> str:
    """Return a value as an option takes it: a diagonal matrix as three numbers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    array = np.array(value) if isinstance(value, list | tuple) else np.zeros(0)
    if array.shape == (3, 3) and array.dtype.kind in "if":
        flat = np.diag(array) if np.array_equal(array, np.diag(np.diag(array))) else array.ravel()
        return " ".join(f"{x:.6g}" for x in flat)
    return " ".join(map(_in_words, value)) if isinstance(value, list | tuple) else str(value)


def _deviations(reference: PropertySet, model: PropertySet) -> Deviations:
    numbers: dict[str, Any] = {}
    others: dict[str, float] = {}
    for name, kind in compared_kinds().items():
        ours, theirs = (side.documents.get(name) for side in (reference, model))
        if ours is None or theirs is None or kind.comparison is None:
            continue
        if kind.comparison.deviations:
            numbers |= load(kind.comparison.deviations)(ours, theirs)
            continue
        for column in kind.columns:
            first, second = column.value(ours), column.value(theirs)
            off = None if first is None or second is None else percent(first, second)
            if off is not None:
                others[f"{name}.{column.path}"] = off
    return Deviations.model_validate({**numbers, "others": others})
