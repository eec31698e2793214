"""Models against their reference: the numbers that say how good a model is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from phonotune.errors import InputError
from phonotune.physics.deviations import (
    elastic_deviations,
    expansion_deviations,
    phase_deviations,
    phonon_deviations,
    well_deviations,
)
from phonotune.physics.phonon.residual import corrected, plain_fit, residual_variant
from phonotune.schemas.base import PropertyDocument, Source
from phonotune.schemas.comparison import (
    ComparisonDocument,
    ComparisonRow,
    Deviations,
    Properties,
)
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.thermal import QuasiHarmonicDocument
from phonotune.schemas.transition import TransitionDocument
from phonotune.schemas.wells import WellDocument

_CHOICE_ONLY: Final[frozenset[str]] = frozenset({"min_length", "max_atoms"})
"""Settings that only choose a supercell; the supercell itself is compared."""
_CRYSTAL: Final = ("material_id", "relaxed")
_PHONON_FIELDS: Final[tuple[str, ...]] = (
    *_CRYSTAL,
    "supercell_matrix",
    "primitive_matrix",
    "has_nac",
    "imaginary_threshold",
)


@dataclass(frozen=True)
class PropertySet:
    """What was computed by one evaluator; None where a property was not."""

    source: Source
    phonon: PhononDocument | None = None
    elastic: ElasticDocument | None = None
    well: WellDocument | None = None
    quasi_harmonic: QuasiHarmonicDocument | None = None
    transitions: TransitionDocument | None = None

    def documents(self) -> list[PropertyDocument]:
        """Return the documents that are there."""
        found = (self.phonon, self.elastic, self.well, self.quasi_harmonic, self.transitions)
        return [document for document in found if document is not None]


@dataclass(frozen=True)
class _Property:
    """How one property is compared: its words, the fields that must agree, its deviations."""

    name: str
    fields: tuple[str, ...]
    deviations: Callable[[Any, Any], dict[str, Any]]


_PROPERTIES: Final[dict[str, _Property]] = {
    "phonon": _Property("phonons", _PHONON_FIELDS, phonon_deviations),
    "elastic": _Property("elastic constants", _CRYSTAL, elastic_deviations),
    "well": _Property("double wells", (*_CRYSTAL, "q", "supercell_matrix"), well_deviations),
    "quasi_harmonic": _Property(
        "quasi-harmonic properties",
        (*_CRYSTAL, "supercell_matrix", "has_nac"),
        expansion_deviations,
    ),
    "transitions": _Property("phase transitions", _CRYSTAL, phase_deviations),
}
"""By the field of PropertySet."""


def compare(reference: PropertySet, models: Sequence[PropertySet]) -> ComparisonDocument:
    """Compare models with a reference, property by property.

    Meshes may differ, since each document converges its own: frequencies are then computed again on
    the denser one. Phonons with residual force constants give rows of their own: the model alone,
    model + ΔΦ and, last and once, the plain symfc fit.

    Raises
    ------
    InputError
        Nothing to compare with, or documents made with different cells or settings; the message
        says which differ.
    """
    documents = reference.documents()
    if not documents:
        raise InputError("The reference holds no property document; compute one first.")
    for model in models:
        for name in _PROPERTIES:
            _demand_equal(name, reference, model)
    return ComparisonDocument(
        formula=documents[0].formula,
        material_id=documents[0].material_id,
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
    """Return a row a model, one more for its ΔΦ, and one plain fit: all models have the same frames."""
    rows: list[PropertySet] = []
    fits: list[PropertySet] = []
    for model in models:
        phonon = model.phonon
        if phonon is None or phonon.residual is None:
            rows.append(model)
            continue
        rows.append(replace(model, phonon=residual_variant(phonon, "model")))
        rows.append(_phonons_alone(corrected(phonon)))
        if not fits:
            fits.append(_phonons_alone(plain_fit(phonon)))
    return rows + fits


def _phonons_alone(phonon: PhononDocument) -> PropertySet:
    return PropertySet(source=phonon.source, phonon=phonon)


def headline(properties: PropertySet) -> Properties:
    """Return the headline numbers of one evaluator."""
    phonon, elastic, well = properties.phonon, properties.elastic, properties.well
    return Properties(
        lowest_frequency=phonon.lowest_frequency if phonon else None,
        highest_frequency=phonon.highest_frequency if phonon else None,
        heat_capacity_300=phonon.thermal_300.heat_capacity if phonon else None,
        bulk_modulus=elastic.bulk_modulus if elastic else None,
        shear_modulus=elastic.shear_modulus if elastic else None,
        well_depth=well.depth if well else None,
        well_q0=well.q0 if well else None,
    )


def headline_error_bars(properties: PropertySet) -> Properties | None:
    """Return the standard deviations of the headline numbers over a committee, or None."""
    if all(document.spread is None for document in properties.documents()):
        return None

    def bar(document: PropertyDocument | None, name: str) -> float | None:
        spread = None if document is None else document.spread
        return None if spread is None else spread.numbers.get(name)

    phonon, elastic, well = properties.phonon, properties.elastic, properties.well
    return Properties(
        lowest_frequency=bar(phonon, "lowest_frequency"),
        highest_frequency=bar(phonon, "highest_frequency"),
        heat_capacity_300=bar(phonon, "thermal_300.heat_capacity"),
        bulk_modulus=bar(elastic, "bulk_modulus"),
        shear_modulus=bar(elastic, "shear_modulus"),
        well_depth=bar(well, "depth"),
        well_q0=bar(well, "q0"),
    )


def _demand_equal(name: str, reference: PropertySet, model: PropertySet) -> None:
    ours, theirs = getattr(reference, name), getattr(model, name)
    if ours is None or theirs is None:
        return
    rule = _PROPERTIES[name]
    differing = [f for f in rule.fields if not _same(getattr(ours, f), getattr(theirs, f))]
    keys = sorted((set(ours.settings) | set(theirs.settings)) - _CHOICE_ONLY)
    differing += [
        f"settings.{key}"
        for key in keys
        if key not in rule.fields and ours.settings.get(key) != theirs.settings.get(key)
    ]
    if differing:
        raise InputError(
            f"The {rule.name} of {reference.source.evaluator} and {model.source.evaluator} cannot "
            f"be compared: {', '.join(differing)} differ. Compute both with the same settings."
        )


def _same(a: object, b: object) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return bool(np.allclose(np.array(a, dtype=float), np.array(b, dtype=float), atol=1e-6))
    return a == b


def _deviations(reference: PropertySet, model: PropertySet) -> Deviations:
    numbers: dict[str, Any] = {}
    for name, rule in _PROPERTIES.items():
        ours, theirs = getattr(reference, name), getattr(model, name)
        if ours is not None and theirs is not None:
            numbers.update(rule.deviations(ours, theirs))
    return Deviations.model_validate(numbers)
