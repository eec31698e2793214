"""The crystal of ``phonotune demo``."""

from __future__ import annotations

from pymatgen.core import Lattice, Structure

from phonotune.flows.pipeline import PhonotuneMaker


def demo_structure() -> Structure:
    """Return cubic BaTiO3 at its experimental lattice constant (4.00 Å); the flow relaxes it first."""
    return Structure.from_spacegroup(
        "Pm-3m",
        Lattice.cubic(4.00),
        ["Ba", "Ti", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]],
    )


def demo_maker() -> PhonotuneMaker:
    """Return the DAG of the demo: ``mini`` tuned towards ``teacher``, the stand-in for DFT."""
    return PhonotuneMaker(foundation="mini", labeller="teacher", strategies=["lora"])
