"""Deviations of a model from its reference, property by property."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from phonotune.physics.phonon.document import on_common_mesh
from phonotune.physics.phonon.spectrum import N_ACOUSTIC
from phonotune.physics.transitions.phases import phase_match
from phonotune.ports import FloatArray
from phonotune.schemas.comparison import (
    ElasticDeviations,
    ImaginaryConfusion,
    PhaseConfusion,
    SpectrumDeviations,
    ThermalDeviations,
)
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.thermal import QuasiHarmonicDocument
from phonotune.schemas.transition import TransitionDocument
from phonotune.schemas.wells import WellDocument

_SMALL_CONSTANT: Final = 0.01
"""Fraction of the largest elastic constant below which constants are not compared."""
_THERMAL: Final = ("helmholtz", "entropy", "heat_capacity")


def percent(reference: float, model: float) -> float | None:
    """Return the deviation in percent of the reference's size; None for a reference of zero."""
    return 100 * (model - reference) / abs(reference) if reference else None


def phonon_deviations(reference: PhononDocument, model: PhononDocument) -> dict[str, Any]:
    """Return the fields of Deviations that phonons give.

    Frequencies are paired by their order at each q of the denser of the two meshes; each has the weight of its
    q-point in the whole zone.
    """
    reference, model = on_common_mesh(reference, model)
    ours, theirs = reference.data.arrays(), model.data.arrays()
    weights, nu = ours["mesh_weights"], ours["mesh_frequencies"]
    off = np.abs(theirs["mesh_frequencies"] - nu)
    share = weights / weights.sum()
    branches = share @ off
    optical = branches[N_ACOUSTIC:]
    return {
        "mesh": reference.mesh,
        "frequency_mae": float(branches.mean()),
        "frequency_rmse": float(np.sqrt((share @ off**2).mean())),
        "frequency_max": float(off.max()),
        "acoustic_mae": float(branches[:N_ACOUSTIC].mean()),
        "optical_mae": float(optical.mean()) if len(optical) else None,
        "branch_mae": tuple(round(float(mae), 6) for mae in branches),
        "highest_frequency_bias": percent(reference.highest_frequency, model.highest_frequency),
        "dos_error": dos_error(
            (ours["dos_frequencies"], ours["dos_total"]),
            (theirs["dos_frequencies"], theirs["dos_total"]),
        ),
        "spectrum": spectrum_deviations(weights, nu, theirs["mesh_frequencies"]),
        "imaginary": imaginary_confusion(
            weights, nu, theirs["mesh_frequencies"], reference.imaginary_threshold
        ),
        "thermal": thermal_deviations(reference, model),
        **{
            f"{name}_300": percent(
                getattr(reference.thermal_300, name), getattr(model.thermal_300, name)
            )
            for name in _THERMAL
        },
    }


def spectrum_deviations(
    weights: FloatArray, reference: FloatArray, model: FloatArray
) -> SpectrumDeviations:
    """Return means and Wasserstein distance of two spectra; arguments as :func:`imaginary_confusion`."""
    from scipy.stats import wasserstein_distance  # slow to import

    levels = np.repeat(weights, reference.shape[1])
    return SpectrumDeviations(
        wasserstein=float(wasserstein_distance(reference.ravel(), model.ravel(), levels, levels)),
        average_reference=float(np.average(reference.ravel(), weights=levels)),
        average_model=float(np.average(model.ravel(), weights=levels)),
    )


def imaginary_confusion(
    weights: FloatArray, reference: FloatArray, model: FloatArray, threshold: float
) -> ImaginaryConfusion:
    """Count the imaginary modes of the full mesh; bands pair by their order in frequency.

    Parameters
    ----------
    weights
        shape (n_q,), multiplicity of each q-point.
    reference, model
        shape (n_q, n_modes), THz, negative where imaginary.
    threshold
        THz; a mode below it counts as imaginary.
    """
    ours, theirs = reference < threshold, model < threshold
    both, missed, invented, neither = (
        int(weights @ pair.sum(axis=1))
        for pair in (ours & theirs, ours & ~theirs, ~ours & theirs, ~ours & ~theirs)
    )
    return ImaginaryConfusion(
        both=both,
        only_reference=missed,
        only_model=invented,
        neither=neither,
        precision=_share(both, both + invented),
        recall=_share(both, both + missed),
        threshold=threshold,
    )


def _share(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


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
    areas = [_area(curve, grid) for curve in curves]
    gap = np.abs(curves[0] / areas[0] - curves[1] / areas[1])
    return float(100 * 0.5 * _area(gap, grid))


def _area(curve: FloatArray, grid: FloatArray) -> float:
    return float(np.sum(np.diff(grid) * (curve[1:] + curve[:-1])) / 2)


def thermal_deviations(reference: PhononDocument, model: PhononDocument) -> ThermalDeviations:
    """Return F, S and C_v of the model minus the reference's, at 300 K and where they differ most."""
    ours, theirs = reference.data.arrays(), model.data.arrays()
    off = {name: theirs[name] - ours[name] for name in _THERMAL}
    at_300 = {
        f"{name}_300": getattr(model.thermal_300, name) - getattr(reference.thermal_300, name)
        for name in _THERMAL
    }
    largest = {f"{name}_largest": _largest(values) for name, values in off.items()}
    return ThermalDeviations(
        **at_300, **largest, highest_temperature=float(ours["temperatures"].max())
    )


def _largest(values: FloatArray) -> float:
    """Return the entry of largest size, with its sign."""
    return float(values.flat[np.abs(values).argmax()])


def elastic_deviations(reference: ElasticDocument, model: ElasticDocument) -> dict[str, Any]:
    """Return the fields of Deviations that elastic constants give."""
    ours, theirs = np.array(reference.elastic_tensor), np.array(model.elastic_tensor)
    size = np.maximum(np.abs(ours), np.abs(theirs))
    counted = size > _SMALL_CONSTANT * np.abs(ours).max()
    constants = {
        f"C{i + 1}{j + 1}": float(theirs[i, j] - ours[i, j])
        for i, j in zip(*np.triu_indices(6), strict=True)
        if counted[i, j]
    }
    first, second = reference.young_modulus, model.young_modulus
    return {
        "bulk_modulus": percent(reference.bulk_modulus, model.bulk_modulus),
        "shear_modulus": percent(reference.shear_modulus, model.shear_modulus),
        "elastic": ElasticDeviations(
            constants=constants,
            largest=max(constants, key=lambda name: abs(constants[name])),
            young_modulus=None if first is None or second is None else percent(first, second),
            clamped_largest=_largest(
                np.array(model.clamped_tensor) - np.array(reference.clamped_tensor)
            ),
        ),
    }


def well_deviations(reference: WellDocument, model: WellDocument) -> dict[str, Any]:
    """Return the fields of Deviations that a double well gives."""
    return {
        "well_depth": percent(reference.depth, model.depth),
        "well_q0": percent(reference.q0, model.q0),
    }


def expansion_deviations(
    reference: QuasiHarmonicDocument, model: QuasiHarmonicDocument
) -> dict[str, Any]:
    """Return the fields of Deviations that the quasi-harmonic approximation gives."""
    ours, theirs = reference.at_300, model.at_300
    return {
        "volume_300": percent(ours.volume, theirs.volume),
        "thermal_expansion_300": percent(ours.thermal_expansion, theirs.thermal_expansion),
    }


def phase_deviations(reference: TransitionDocument, model: TransitionDocument) -> dict[str, Any]:
    """Return the field of Deviations that two trees of phases give."""
    match = phase_match(reference, model)
    shares = {
        name: None if value is None else 100 * value
        for name in ("precision", "recall", "f1")
        for value in [getattr(match, name)]
    }
    return {
        "phases": PhaseConfusion(
            both=match.both,
            only_reference=match.only_reference,
            only_model=match.only_model,
            ground_state_reference=reference.ground_state.space_group,
            ground_state_model=model.ground_state.space_group,
            **shares,
        )
    }
