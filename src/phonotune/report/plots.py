"""Documents -> matplotlib Figure, one function per figure; pyplot's global state is not touched."""

from __future__ import annotations

from phonotune.report.plots_comparison import plot_branches, plot_frequencies
from phonotune.report.plots_forgetting import plot_hole_scan
from phonotune.report.plots_mechanics import plot_elastic, plot_well
from phonotune.report.plots_phonon import plot_bands, plot_bands_and_dos, plot_dos, plot_thermal
from phonotune.report.plots_training import plot_history, plot_parity
from phonotune.report.style import save_png

__all__ = [
    "plot_bands",
    "plot_bands_and_dos",
    "plot_branches",
    "plot_dos",
    "plot_elastic",
    "plot_frequencies",
    "plot_history",
    "plot_hole_scan",
    "plot_parity",
    "plot_thermal",
    "plot_well",
    "save_png",
]
