"""The analysis of a campaign as files: the long table, statistics, and figures with their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from phonotune.physics.study.rows import study_table
from phonotune.physics.study.statistics import (
    calibration,
    confusion,
    error_bars,
    paired,
    summary,
)
from phonotune.report.plots_study import FIGURES, plot_calibration
from phonotune.report.style import save_png, save_svg
from phonotune.schemas.base import Document

STUDY: Final = "study.csv"
FOLDER: Final = "study"
"""Where statistics and figures stand, beside the long table."""


def write_study(
    documents: Mapping[str, Sequence[Document]],
    folder: Path,
    names: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write the long table of finished Documents, statistics and figures; nothing is evaluated.

    Parameters
    ----------
    documents
        By the name of their crystal.
    folder
        Gets ``study.csv``, and the other files in ``study``; made if missing.
    names
        Names of models by model_id, instead of their description.

    Returns
    -------
    list
        The files written; none without a comparison.
    """
    table = study_table(documents, names)
    if table.empty:
        return []
    bars = error_bars(table, documents)
    tables = {
        STUDY: table,
        f"{FOLDER}/summary.csv": summary(table),
        f"{FOLDER}/imaginary_modes.csv": confusion(table, "modes"),
        f"{FOLDER}/imaginary_crystals.csv": confusion(table, "crystals"),
        f"{FOLDER}/phases.csv": confusion(table, "phases"),
        f"{FOLDER}/paired.csv": pd.concat(
            [paired(table), paired(table, "max_frequency_bias_percent")]
        ),
        f"{FOLDER}/error_bars.csv": bars,
        f"{FOLDER}/calibration.csv": calibration(bars),
    }
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    written = []
    for name, frame in tables.items():
        (folder / name).unlink(missing_ok=True)
        if not frame.empty:
            frame.to_csv(folder / name, index=False)
            written.append(folder / name)
    drawings = {name: draw(table) for name, draw in FIGURES.items()}
    for name, drawn in {**drawings, "calibration": plot_calibration(bars)}.items():
        paths = [folder / FOLDER / f"figure_{name}.{ending}" for ending in ("png", "svg", "csv")]
        if drawn is None:
            for path in paths:
                path.unlink(missing_ok=True)
            continue
        figure, numbers = drawn
        save_png(figure, paths[0])
        save_svg(figure, paths[1])
        numbers.to_csv(paths[2], index=False)
        written += paths
    return written
