"""Models against their reference: the numbers that say how good a model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.integrate import trapezoid

from phonotune.errors import InputError
from phonotune.ports import FloatArray
from phonotune.schemas.base import PropertyDocument, Source
from phonotune.schemas.comparison import (
    ComparisonDocument,
    ComparisonRow,
    Deviations,
    ImaginaryConfusion,
    Properties,
)
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.wells import WellDocument

_CHOICE_ONLY: Final[frozenset[str]] = frozenset({"min_length", "max_atoms"})
"""Settings that only choose a supercell; the supercell itself is compared."""
_PHONON_FIELDS: Final[tuple[str, ...]] = (
    "material_id",
    "supercell_matrix",
    "primitive_matrix",
    "mesh",
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

    def documents(self) -> list[PropertyDocument]:
        """Return the documents that are there."""
        return [d for d in (self.phonon, self.elastic, self.well) if d is not None]


def compare(reference: PropertySet, models: Sequence[PropertySet]) -> ComparisonDocument:
    """Compare models with a reference, property by property.

    Raises
    ------
    InputError
        Nothing to compare with, or documents made with different cells, meshes or settings; the
        message says which differ.
    """
    documents = reference.documents()
    if not documents:
        raise InputError("The reference holds no property document; compute one first.")
    for model in models:
        _demand_equal(reference, model)
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
            )
            for model in models
        ],
    )


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


def _demand_equal(reference: PropertySet, model: PropertySet) -> None:
    pairs = (
        ("phonons", reference.phonon, model.phonon, _PHONON_FIELDS),
        ("elastic constants", reference.elastic, model.elastic, ("material_id",)),
        ("double wells", reference.well, model.well, ("material_id", "q", "supercell_matrix")),
    )
    for name, ours, theirs, fields in pairs:
        if ours is None or theirs is None:
            continue
        differing = [f for f in fields if not _same(getattr(ours, f), getattr(theirs, f))]
        keys = sorted((set(ours.settings) | set(theirs.settings)) - _CHOICE_ONLY)
        differing += [
            f"settings.{k}"
            for k in keys
            if k not in fields and ours.settings.get(k) != theirs.settings.get(k)
        ]
        if differing:
            raise InputError(
                f"The {name} of {reference.source.evaluator} and {model.source.evaluator} cannot "
                f"be compared: {', '.join(differing)} differ. Compute both with the same settings."
            )


def _same(a: object, b: object) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return bool(np.allclose(np.array(a, dtype=float), np.array(b, dtype=float), atol=1e-6))
    return a == b


def _deviations(reference: PropertySet, model: PropertySet) -> Deviations:
    numbers: dict[str, object] = {}
    if reference.phonon and model.phonon:
        numbers.update(_phonon_deviations(reference.phonon, model.phonon))
    if reference.elastic and model.elastic:
        numbers["bulk_modulus"] = _percent(
            reference.elastic.bulk_modulus, model.elastic.bulk_modulus
        )
        numbers["shear_modulus"] = _percent(
            reference.elastic.shear_modulus, model.elastic.shear_modulus
        )
    if reference.well and model.well:
        numbers["well_depth"] = _percent(reference.well.depth, model.well.depth)
        numbers["well_q0"] = _percent(reference.well.q0, model.well.q0)
    return Deviations.model_validate(numbers)


def _percent(reference: float, model: float) -> float | None:
    """Return the deviation in percent of the reference's size; None for a reference of zero."""
    return 100 * (model - reference) / abs(reference) if reference else None


def _phonon_deviations(reference: PhononDocument, model: PhononDocument) -> dict[str, object]:
    ours, theirs = reference.data.arrays(), model.data.arrays()
    weights, nu = ours["mesh_weights"], ours["mesh_frequencies"]
    off = np.abs(theirs["mesh_frequencies"] - nu)
    share = weights / (weights.sum() * nu.shape[1])
    thermal, thermal_model = reference.thermal_300, model.thermal_300
    return {
        "frequency_mae": float(share @ off.sum(axis=1)),
        "frequency_rmse": float(np.sqrt(share @ (off**2).sum(axis=1))),
        "frequency_max": float(off.max()),
        "highest_frequency_bias": _percent(reference.highest_frequency, model.highest_frequency),
        "dos_error": dos_error(
            (ours["dos_frequencies"], ours["dos_total"]),
            (theirs["dos_frequencies"], theirs["dos_total"]),
        ),
        "imaginary": _confusion(
            weights, nu, theirs["mesh_frequencies"], reference.imaginary_threshold
        ),
        "helmholtz_300": _percent(thermal.helmholtz, thermal_model.helmholtz),
        "entropy_300": _percent(thermal.entropy, thermal_model.entropy),
        "heat_capacity_300": _percent(thermal.heat_capacity, thermal_model.heat_capacity),
    }


def _confusion(
    weights: FloatArray, reference: FloatArray, model: FloatArray, threshold: float
) -> ImaginaryConfusion:
    """Count modes of the full mesh; bands pair by their order in frequency."""
    ours, theirs = reference < threshold, model < threshold
    count = [
        int(weights @ pair.sum(axis=1))
        for pair in (ours & theirs, ours & ~theirs, ~ours & theirs, ~ours & ~theirs)
    ]
    return ImaginaryConfusion(
        both=count[0], only_reference=count[1], only_model=count[2], neither=count[3]
    )


def dos_error(
    reference: tuple[FloatArray, FloatArray], model: tuple[FloatArray, FloatArray]
) -> float:
    """Return half the area between two DOS of area 1, in percent: 0 equal, 100 without overlap.

    Parameters
    ----------
    reference, model
        Frequencies (THz, ascending) and DOS (any unit), shape (n,) each.
    """
    grid = np.union1d(reference[0], model[0])
    curves = [np.interp(grid, f, g, left=0.0, right=0.0) for f, g in (reference, model)]
    areas = [trapezoid(curve, grid) for curve in curves]
    gap = np.abs(curves[0] / areas[0] - curves[1] / areas[1])
    return float(100 * 0.5 * trapezoid(gap, grid))
