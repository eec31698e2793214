"""The crystal and the DAG of ``phonotune demo``."""

from __future__ import annotations

from pymatgen.core import Lattice, Structure

from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.sampling.settings import RattleSettings


def demo_structure() -> Structure:
    """Return cubic BaTiO3 with a lattice constant of 4.00 Å; the flow relaxes it first."""
    return Structure.from_spacegroup(
        "Pm-3m",
        Lattice.cubic(4.00),
        ["Ba", "Ti", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]],
    )


def demo_maker() -> PhonotuneMaker:
    """Return the DAG of the demo: ``mini`` tuned towards ``teacher``, the stand-in for DFT.

    Cells of about (7.5 Å)^3, for BaTiO3 2x2x2 with 40 atoms, keep it within minutes on two cores; the
    default of the product is 10 Å.
    """
    return PhonotuneMaker(
        foundation="mini",
        labeller="teacher",
        strategies=["lora"],
        options={"lora": {"max_epochs": 40}},
        rattle=RattleSettings(min_length=7.5),
        phonon=PhononSettings(min_length=7.5),
    )
