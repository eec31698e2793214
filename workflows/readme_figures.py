"""Draw the figures of the README from the store of a finished ``phonotune demo``.

python workflows/readme_figures.py [--store DIR] [--out docs/_static]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from phonotune.report.bundle import bundle_documents
from phonotune.report.plots import plot_bands_and_dos, plot_well, save_png
from phonotune.store import ResultStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=None)
    parser.add_argument("--formula", default="BaTiO3")
    parser.add_argument("--out", type=Path, default=Path("docs/_static"))
    given = parser.parse_args()
    results = ResultStore(given.store)
    given.out.mkdir(parents=True, exist_ok=True)
    (material,) = bundle_documents(results.query(formula=given.formula))
    save_png(plot_bands_and_dos(material.phonons), given.out / "demo_bands.png")
    save_png(plot_well(material.wells), given.out / "demo_well.png")


if __name__ == "__main__":
    main()
