"""Documents of a campaign as one long table: a row per crystal and model, with and without ΔΦ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.constants import Boltzmann, Planck

from phonotune.physics.committee_spread import spread_arrays
from phonotune.physics.deviations import percent
from phonotune.physics.phonon.residual import CORRECTED, SYMFC
from phonotune.physics.study.columns import COLUMNS, NOT_NUMBERS
from phonotune.schemas.base import Document
from phonotune.schemas.comparison import ComparisonDocument, ComparisonRow, Properties
from phonotune.schemas.dataset import DatasetDocument
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.thermal import QuasiHarmonicDocument
from phonotune.schemas.training import TrainingDocument

KELVIN_PER_THZ = 1e12 * Planck / Boltzmann
"""ħω/k_B of 1 THz, K."""


def study_table(
    documents: Mapping[str, Sequence[Document]], names: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return the long table of a campaign; what was not computed is empty.

    Parameters
    ----------
    documents
        Finished Documents by the name of their crystal.
    names
        Names of models by model_id, instead of their description.

    Returns
    -------
    DataFrame with the columns of :data:`phonotune.physics.study.columns.COLUMNS`; a row that several
    comparisons hold stands there once.
    """
    rows = [
        row
        for structure, found in documents.items()
        for row in _rows_of_crystal(structure, found, names or {})
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).drop_duplicates(ignore_index=True)
    numbers = [name for name in COLUMNS if name not in NOT_NUMBERS]
    table[numbers] = table[numbers].apply(pd.to_numeric)
    return table


def _rows_of_crystal(
    structure: str, found: Sequence[Document], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    trainings = {d.model.model_id: d for d in found if isinstance(d, TrainingDocument)}
    datasets = {d.dataset_hash: d for d in found if isinstance(d, DatasetDocument)}
    phonons = [d for d in found if isinstance(d, PhononDocument)]
    expansions = [d for d in found if isinstance(d, QuasiHarmonicDocument)]
    rows = []
    for comparison in found:
        if not isinstance(comparison, ComparisonDocument):
            continue
        full_set = _of(phonons, comparison.reference.role, None, comparison.reference_properties)
        slack = _slack(expansions, comparison.reference.role, None)
        fitted = [
            phonon.residual.n_frames
            for row in comparison.rows
            if row.source.role.endswith(CORRECTED)  # whose frequencies tell which phonons they are
            and (phonon := _phonon_of(phonons, row)) is not None
            and phonon.residual is not None
        ]
        for row in comparison.rows:
            training = trainings.get(row.source.model_id or "")
            phonon = _phonon_of(phonons, row)
            ours = _identity(row, training, names)
            ours |= {
                "structure": structure,
                "formula": comparison.formula,
                "material_id": comparison.material_id,
                "reference": comparison.reference.evaluator,
                "full_set": full_set and full_set.n_displacements,
                **_numbers(row, comparison.reference_properties),
            }
            if ours["residual"] and phonon is not None and phonon.residual is not None:
                ours["residual_frames"] = phonon.residual.n_frames
            if ours["strategy"] == SYMFC and fitted:
                ours["residual_frames"] = fitted[0]
            if (
                training is None and "residual_frames" in ours
            ):  # those of other frames are other models
                number = ours["residual_frames"]
                ours["model"] += f", {number} frame{'' if number == 1 else 's'}"
            ours["labels"] = _labels(training, datasets, ours.get("residual_frames"))
            ours["stated_error_THz"] = _stated_error(phonon, bool(ours["residual"]))
            kappa = _slack(expansions, row.source.role, row.source.model_id)
            if kappa is not None:
                ours["slack_conductivity_W_per_m_per_K"] = kappa
                if slack is not None:
                    ours["slack_conductivity_error_percent"] = percent(slack, kappa)
            rows.append(ours)
    return rows


def _identity(
    row: ComparisonRow, training: TrainingDocument | None, names: Mapping[str, str]
) -> dict[str, Any]:
    """Return who the row is: model, foundation, strategy, recipe, frames, seed, errors of the training."""
    residual = row.source.role.endswith(CORRECTED)
    strategy = row.source.role.removesuffix(CORRECTED)
    found: dict[str, Any] = {
        "model_id": row.source.model_id,
        "foundation": None if strategy == SYMFC else row.source.evaluator,
        "strategy": strategy,
        "residual": residual,
    }
    words = (
        row.source.evaluator if strategy == "untuned" else f"{row.source.evaluator} + {strategy}"
    )
    if training is not None:
        config = training.model.config
        members = 1 + len(training.further_members)
        found |= {
            "recipe": config.get("recipe", "default"),
            "frames": training.metrics.train_after.n_frames,
            "seed": config.get("seed"),
            "training_seconds": training.seconds + sum(m.seconds for m in training.further_members),
        }
        if not residual:
            found |= {
                "force_mae_meV_per_A": training.metrics.valid_after.forces_mae,
                "force_mae_foundation_meV_per_A": training.metrics.valid_before.forces_mae,
            }
        if found["recipe"] != "default":
            words += f" ({found['recipe']})"
        if members > 1:
            words += f", {members} members"
    if strategy == SYMFC:
        words = SYMFC
    name = names.get(row.source.model_id or "", words)
    return found | {"model": name + CORRECTED if residual else name}


def _numbers(row: ComparisonRow, reference: Properties) -> dict[str, Any]:
    """Return the numbers of a row of a comparison by column."""
    off, own = row.deviations, row.properties
    found: dict[str, Any] = {
        "frequency_mae_THz": off.frequency_mae,
        "frequency_rmse_THz": off.frequency_rmse,
        "frequency_largest_THz": off.frequency_max,
        "dos_error_percent": off.dos_error,
        "max_frequency_bias_percent": off.highest_frequency_bias,
        "helmholtz_300_error_percent": off.helmholtz_300,
        "entropy_300_error_percent": off.entropy_300,
        "heat_capacity_300_error_percent": off.heat_capacity_300,
        "bulk_modulus_error_percent": off.bulk_modulus,
        "shear_modulus_error_percent": off.shear_modulus,
        "well_depth_error_percent": off.well_depth,
        "well_q0_error_percent": off.well_q0,
    }
    pairs = {
        "max": (reference.highest_frequency, own.highest_frequency),
        "min": (reference.lowest_frequency, own.lowest_frequency),
    }
    if off.spectrum is not None:
        found["spectrum_w1_THz"] = off.spectrum.wasserstein
        pairs["average"] = (off.spectrum.average_reference, off.spectrum.average_model)
    for name, (first, second) in pairs.items():
        found[f"{name}_frequency_reference_THz"] = first
        found[f"{name}_frequency_THz"] = second
        if second is not None:
            found[f"{name}_frequency_K"] = second * KELVIN_PER_THZ
            if first is not None:
                found[f"{name}_frequency_error_K"] = (second - first) * KELVIN_PER_THZ
    if off.thermal is not None:
        found |= {
            "helmholtz_300_error_kJ_per_mol": off.thermal.helmholtz_300,
            "entropy_300_error_J_per_K_per_mol": off.thermal.entropy_300,
            "heat_capacity_300_error_J_per_K_per_mol": off.thermal.heat_capacity_300,
        }
    if off.imaginary is not None:
        threshold = off.imaginary.threshold
        found["imaginary_threshold_THz"] = threshold
        if threshold is not None:
            for name, value in zip(("reference", "model"), pairs["min"], strict=True):
                found[f"{name}_imaginary"] = None if value is None else value < threshold
    for name, part in (("imaginary", off.imaginary), ("phases", off.phases)):
        for count in ("both", "only_reference", "only_model", "neither"):
            if part is not None and hasattr(part, count):
                found[f"{name}_{count}"] = getattr(part, count)
    return found


def _of(
    phonons: Sequence[PhononDocument], role: str, model_id: str | None, numbers: Properties
) -> PhononDocument | None:
    """Return the phonons of a Source; of several, those with the frequencies that were compared."""
    own = [p for p in phonons if (p.source.role, p.source.model_id) == (role, model_id)]
    ends = (numbers.lowest_frequency, numbers.highest_frequency)
    same = [p for p in own if (p.lowest_frequency, p.highest_frequency) == ends]
    return next(iter(same or own), None)


def _phonon_of(phonons: Sequence[PhononDocument], row: ComparisonRow) -> PhononDocument | None:
    role = row.source.role.removesuffix(CORRECTED)
    return _of(phonons, role, row.source.model_id, row.properties)


def _slack(
    expansions: Sequence[QuasiHarmonicDocument], role: str, model_id: str | None
) -> float | None:
    own = (e for e in expansions if (e.source.role, e.source.model_id) == (role, model_id))
    return next((e.slack_conductivity for e in own), None)


def _labels(
    training: TrainingDocument | None,
    datasets: Mapping[str, DatasetDocument],
    residual_frames: int | None,
) -> int | None:
    """Return the labelled frames that a row needed; those of ΔΦ are in the dataset of a training."""
    if training is None:
        return residual_frames
    dataset = datasets.get(training.model.dataset_hash or "")
    if dataset is not None:
        return len(dataset.train) + len(dataset.valid)
    return training.metrics.train_after.n_frames + training.metrics.valid_after.n_frames


def _stated_error(phonon: PhononDocument | None, residual: bool) -> float | None:
    """Return the standard deviation of the frequencies that the phonons state, mean over the zone, THz."""
    if phonon is None:
        return None
    if residual:
        return None if phonon.residual is None else phonon.residual.frequency_uncertainty
    if phonon.residual is not None:
        return None  # the spread is that of model + ΔΦ
    spread = spread_arrays(phonon).get("mesh_frequencies")
    if spread is None:
        return None
    weights = phonon.data.arrays()["mesh_weights"]
    return float(np.average(spread.mean(axis=1), weights=weights))
