"""Crystals relaxed by MACE models: as ASE relaxes them."""

import pytest
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from pymatgen.core import Lattice, Structure

from phonotune.models.calculator import load_calculator
from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.relax import RelaxSettings, relax_batch

MODEL_FMAX, MODEL_SAME_ENERGY = 1e-3, 1e-4
"""eV/Å and eV/atom, of the comparison on a MACE model."""


def test_a_model_relaxes_crystals_downhill(tiny_mace_session, magnesia, silicon, rattled):
    evaluator = ModelEvaluator(tiny_mace_session, device="cpu")
    starts = [rattled(magnesia, 1), rattled(silicon, 2)]
    for relaxation in relax_batch(evaluator, starts, RelaxSettings(max_steps=15)):
        assert relaxation.energies[-1] < relaxation.energies[0]


MODEL_CRYSTALS = {
    "NaCl": Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ),
    "BaTiO3": Structure.from_spacegroup(
        "Pm-3m",
        Lattice.cubic(4.0),
        ["Ba", "Ti", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODEL_CRYSTALS)
def test_a_model_finds_the_minima_that_ase_finds(name, rattled):
    """The start of BaTiO3 is a polar phase: around the unstable cubic one there are several minima."""
    evaluator, settings = load_evaluator("mini"), RelaxSettings(fmax=MODEL_FMAX)
    minimum = relax_batch(evaluator, [rattled(MODEL_CRYSTALS[name], 0, 0.07)], settings)[0].final
    starts = [rattled(minimum, seed, 0.03) for seed in range(3)]
    for start, relaxation in zip(starts, relax_batch(evaluator, starts, settings), strict=True):
        atoms = start.to_ase_atoms()
        atoms.calc = load_calculator("mini")
        assert FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=MODEL_FMAX, steps=1000)
        assert relaxation.converged
        assert relaxation.max_force < MODEL_FMAX
        energy = atoms.get_potential_energy()
        limit = MODEL_SAME_ENERGY * len(start)
        assert relaxation.energies[-1] == pytest.approx(energy, abs=limit)
        assert relaxation.final.volume == pytest.approx(atoms.get_volume(), rel=2e-3)
