"""Statistics over the long table of a campaign: by model and frames, paired over materials, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, wilcoxon

from phonotune.physics.phonon.residual import CORRECTED
from phonotune.physics.study.columns import COLUMNS
from phonotune.schemas.base import Document
from phonotune.schemas.columns import unit_at
from phonotune.schemas.comparison import ComparisonDocument, Properties

GROUP: Final = ["model", "frames"]
"""What makes rows one group: foundation, strategy, recipe and ΔΦ (in words), and frames."""
QUANTITIES: Final = tuple(
    name
    for name in COLUMNS
    if name.endswith(("_THz", "_percent", "_K", "_mol", "_A", "seconds", "labels"))
    and not name.startswith("imaginary")
    and "reference" not in name
)
"""Columns that are summarised."""
RESAMPLES: Final = 2000
MIN_PAIRS: Final = 6
"""Materials from which a paired test is made: with fewer, Wilcoxon's p cannot fall below 0.05."""


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return median, quartiles, mean and largest size by quantity and group, over materials and seeds."""
    rows = []
    for (model, frames), group in table.groupby(GROUP, dropna=False, sort=False):
        for name in QUANTITIES:
            values = group[name].dropna().to_numpy(dtype=float)
            if len(values):
                lower, median, upper = np.percentile(values, [25, 50, 75])
                rows.append(
                    {
                        "model": model,
                        "frames": frames,
                        "quantity": name,
                        "materials": group.loc[group[name].notna(), "material_id"].nunique(),
                        "rows": len(values),
                        "median": median,
                        "lower_quartile": lower,
                        "upper_quartile": upper,
                        "mean_absolute": np.abs(values).mean(),
                        "largest_absolute": np.abs(values).max(),
                    }
                )
    return pd.DataFrame(rows)


def confusion(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """Return pooled counts, precision, recall and F1 (percent) by group.

    Parameters
    ----------
    table
        The long table.
    what
        ``modes``: imaginary modes of the mesh; ``crystals``: crystals with an imaginary mode; ``phases``:
        phases found by following modes.

    Precision is both / (both + only_model), recall both / (both + only_reference), F1 their harmonic mean
    2 both / (2 both + only_model + only_reference); each is empty where its denominator is 0.
    """
    counts = ["both", "only_reference", "only_model", "neither"]
    if what == "crystals":
        known = table.dropna(subset=["reference_imaginary", "model_imaginary"])
        ours, theirs = (known[f"{n}_imaginary"].astype(bool) for n in ("reference", "model"))
        cases = (ours & theirs, ours & ~theirs, ~ours & theirs, ~ours & ~theirs)
        counted = known[GROUP].assign(**dict(zip(counts, cases, strict=True)))
    else:
        prefix = {"modes": "imaginary", "phases": "phases"}[what]
        counts = [count for count in counts if f"{prefix}_{count}" in table]
        named = {f"{prefix}_{count}": count for count in counts}
        counted = table.dropna(subset=list(named)).rename(columns=named)[[*GROUP, *counts]]
    grouped = counted.groupby(GROUP, dropna=False, sort=False)
    found = grouped[counts].sum().astype(float)
    both, missed, invented = (found[name] for name in counts[:3])
    found.insert(0, "rows", grouped.size())
    for name, total in (("precision", both + invented), ("recall", both + missed)):
        found[f"{name}_percent"] = 100 * both / total.where(total > 0)
    doubled = 2 * both + missed + invented
    found["f1_percent"] = 200 * both / doubled.where(doubled > 0)
    return found.reset_index()


def paired(table: pd.DataFrame, quantity: str = "frequency_mae_THz") -> pd.DataFrame:
    """Return paired differences between groups over the materials that both have.

    Of several seeds the median counts; the size of a signed quantity is compared. The interval holds the
    median difference with 95 % by the percentile bootstrap over materials; ``p`` is that of Wilcoxon's
    two-sided signed-rank test. Groups of different numbers of frames are not paired, except with one that has
    none (untuned, symfc). From six materials on.
    """
    if table.empty:
        return pd.DataFrame()
    sized = table.assign(size=table[quantity].abs(), frames=table["frames"].fillna(0))
    wide = sized.pivot_table(
        index="material_id", columns=GROUP, values="size", aggfunc="median", sort=False
    )
    rows: list[dict[str, Any]] = []
    groups: list[Any] = list(wide.columns)
    for first, second in combinations(groups, 2):
        if first[1] != second[1] and 0 not in (first[1], second[1]):
            continue
        both = wide[[first, second]].dropna()
        off = (both[second] - both[first]).to_numpy(dtype=float)
        if len(off) < MIN_PAIRS:
            continue
        interval = bootstrap(
            (off,),
            np.median,
            n_resamples=RESAMPLES,
            method="percentile",
            random_state=np.random.default_rng(0),
        ).confidence_interval
        rows.append(
            {
                "first": first[0],
                "second": second[0],
                "frames": max(first[1], second[1]) or None,
                "quantity": quantity,
                "materials": len(off),
                "median_first": both[first].median(),
                "median_second": both[second].median(),
                "median_difference": np.median(off),
                "lower_95": interval.low,
                "upper_95": interval.high,
                "second_better": int((off < 0).sum()),
                "wilcoxon_p": float(wilcoxon(off).pvalue) if off.any() else 1.0,
            }
        )
    return pd.DataFrame(rows)


def error_bars(table: pd.DataFrame, documents: Mapping[str, Sequence[Document]]) -> pd.DataFrame:
    """Return stated standard deviations beside true errors: of the zone, and of a committee's properties.

    The true error of the zone is the root mean square deviation of its frequencies, which a standard
    deviation stands for; of a property it is the absolute deviation from the reference.
    """
    stated = table.dropna(subset=["stated_error_THz", "frequency_rmse_THz"])
    rows = [
        {
            "structure": row.structure,
            "model": row.model,
            "by": "ΔΦ" if row.residual else "committee",
            "quantity": "frequencies of the zone",
            "unit": "THz",
            "stated": row.stated_error_THz,
            "error": row.frequency_rmse_THz,
        }
        for row in stated.itertuples()
    ]
    keys = zip(table["model_id"], table["residual"], strict=True)
    names = dict(zip(keys, table["model"], strict=True))
    for structure, found in documents.items():
        for comparison in found:
            if not isinstance(comparison, ComparisonDocument):
                continue
            for row in comparison.rows:
                for field in Properties.model_fields:
                    bar = getattr(row.error_bars, field, None)
                    ours, theirs = (
                        getattr(side, field)
                        for side in (comparison.reference_properties, row.properties)
                    )
                    if field == "others" or None in (bar, ours, theirs):
                        continue
                    rows.append(
                        {
                            "structure": structure,
                            "model": names.get(
                                (row.source.model_id, row.source.role.endswith(CORRECTED)), ""
                            ),
                            "by": "committee",
                            "quantity": field.replace("_", " "),
                            "unit": unit_at(Properties, field),
                            "stated": bar,
                            "error": abs(theirs - ours),
                        }
                    )
    columns = ["structure", "model", "by", "quantity", "unit", "stated", "error"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(ignore_index=True)


def calibration(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the share of true errors within one and two stated deviations (ideal: 68 and 95 %)."""
    rows = []
    for (by, quantity, unit), group in bars.groupby(["by", "quantity", "unit"], sort=False):
        size, error = group["stated"].to_numpy(float), group["error"].to_numpy(float)
        rows.append(
            {
                "by": by,
                "quantity": quantity,
                "unit": unit,
                "rows": len(group),
                "within_1_percent": 100 * float((error <= size).mean()),
                "within_2_percent": 100 * float((error <= 2 * size).mean()),
                "median_error_over_stated": float(np.median(error[size > 0] / size[size > 0]))
                if (size > 0).any()
                else None,
            }
        )
    return pd.DataFrame(rows)
