from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from phonotune.models.calculator import load_calculator
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.transitions.branches import TransitionSettings
from phonotune.physics.transitions.growth import grow_tree
from phonotune.progress import Progress
from phonotune.schemas.base import Source
from phonotune.schemas.transition import TransitionDocument
from tests.physics.test_relax import EmtEvaluator

SOURCE = Source(role="reference", evaluator="emt")
SAME_ENERGY = 0.1
"""meV/atom, against a relaxation by ASE."""
METAL = TransitionSettings(
    max_depth=1, max_cells=2, fmax=1e-3, phonon=PhononSettings(min_length=5.5, mesh_density=15.0)
)
QUICK = METAL.model_copy(update={"relax_root": False, "fmax": 5e-3})
PEROVSKITE = TransitionSettings(
    max_depth=1, phonon=PhononSettings(min_length=7.0, mesh_density=15.0)
)
BCC_COPPER = Structure(Lattice.cubic(2.87), ["Cu", "Cu"], [[0, 0, 0], [0.5] * 3])
FCC_COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])
CUBIC_BATIO3 = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(4.0), ["Ba", "Ti", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
)


@pytest.fixture(scope="module")
def bcc_tree() -> TransitionDocument:
    return grow_tree(BCC_COPPER, EmtEvaluator(), METAL, SOURCE)


@pytest.fixture(scope="module")
def quick_tree() -> TransitionDocument:
    return grow_tree(BCC_COPPER, EmtEvaluator(), QUICK, SOURCE)


def test_bcc_copper_follows_its_n_mode_to_close_packing(bcc_tree: TransitionDocument) -> None:
    hexagonal = bulk("Cu", "hcp", a=2.55, c=4.16)
    hexagonal.calc = EMT()
    FIRE(FrechetCellFilter(hexagonal), logfile=None).run(fmax=1e-4, steps=500)
    root, packed = bcc_tree.nodes
    assert (root.space_group, root.ending) == ("Im-3m", "followed")
    (branch,) = bcc_tree.branches
    assert sorted(np.abs(branch.q)) == [0, 0, 0.5]
    assert branch.n_atoms == 2
    assert (packed.space_group, packed.ending) == ("P6_3/mmc", "stable")
    energy = 1000 * bcc_tree.root_energy + packed.energy_per_atom
    assert energy == pytest.approx(500 * hexagonal.get_potential_energy(), abs=SAME_ENERGY)


def test_the_pathway_ends_at_the_energy_of_the_phase(bcc_tree: TransitionDocument) -> None:
    arrays = bcc_tree.data.arrays()
    (curve,) = arrays["path_energies"]
    child = bcc_tree.nodes[bcc_tree.branches[arrays["path_branches"][0]].child]
    assert curve[0] == 0
    assert curve[-1] == pytest.approx(child.energy, abs=SAME_ENERGY)
    assert len(curve) == METAL.n_path


def test_the_structures_are_what_the_nodes_say(bcc_tree: TransitionDocument) -> None:
    cells = bcc_tree.structures()
    assert [len(cell) for cell in cells] == [node.n_atoms for node in bcc_tree.nodes]
    energies = [1000 * a.energy / len(c) for a, c in zip(EmtEvaluator()(cells), cells, strict=True)]
    assert energies[1] - energies[0] == pytest.approx(bcc_tree.nodes[1].energy_per_atom, abs=1e-6)


def test_a_stable_crystal_is_a_tree_of_one_phase() -> None:
    document = grow_tree(FCC_COPPER, EmtEvaluator(), METAL, SOURCE)
    assert [(n.space_group, n.ending, n.n_atoms) for n in document.nodes] == [
        ("Fm-3m", "stable", 1)
    ]
    assert document.branches == []
    assert document.limits == []
    assert document.data.arrays()["path_energies"].shape == (0, METAL.n_path)


@pytest.mark.parametrize(
    ("limit", "ending"),
    [
        ({"max_depth": 0}, "depth limit"),
        ({"max_atoms": 1}, "atom limit"),
        ({"max_cells": 1}, "atom limit"),
        ({"max_phases": 1}, "phase limit"),
    ],
)
def test_a_limit_that_cuts_the_tree_is_said(limit: dict[str, int], ending: str) -> None:
    document = grow_tree(BCC_COPPER, EmtEvaluator(), QUICK.model_copy(update=limit), SOURCE)
    (root,) = document.nodes
    assert root.ending == ending
    assert ending in document.limits
    assert root.imaginary_modes


def test_a_relaxation_out_of_steps_is_said_and_not_followed() -> None:
    few = METAL.model_copy(update={"max_steps": 2})
    document = grow_tree(BCC_COPPER, EmtEvaluator(), few, SOURCE)
    assert [n.ending for n in document.nodes] == ["relaxation did not converge"]


def test_a_root_that_is_not_relaxed_stays_as_given() -> None:
    settings = QUICK.model_copy(update={"max_depth": 0})
    document = grow_tree(BCC_COPPER, EmtEvaluator(), settings, SOURCE)
    assert document.structures()[0].volume == pytest.approx(2.87**3 / 2)


def test_progress_counts_structures_and_names_phases() -> None:
    seen: list[tuple[int, str]] = []

    class Seen(Progress):
        def show(self) -> None:
            seen.append((self.done, self.text))

    document = grow_tree(BCC_COPPER, EmtEvaluator(), QUICK, SOURCE, Seen())
    counts = [count for count, _ in seen]
    assert counts == sorted(counts)
    assert counts[-1] == document.n_evaluations
    assert {"phonons of Im-3m", "E(Q) of Im-3m", "phonons of P6_3/mmc"} <= {t for _, t in seen}


def relaxed_by_ase(start: Structure) -> float:
    """Return the energy per atom (meV) of a start relaxed by ASE, its symmetry kept."""
    atoms = AseAtomsAdaptor.get_atoms(start)
    atoms.set_constraint(FixSymmetry(atoms, symprec=1e-3))
    atoms.calc = load_calculator("teacher")
    assert FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=2e-3, steps=1000)
    return float(1000 * atoms.get_potential_energy() / len(atoms))


@pytest.mark.slow
def test_cubic_batio3_reaches_its_polar_phases_with_the_energies_of_ase() -> None:
    document = grow_tree(CUBIC_BATIO3, load_evaluator("teacher"), PEROVSKITE, SOURCE)
    led = {b.child: b for b in document.branches if b.q == (0, 0, 0)}
    found = {document.nodes[child].space_group: (child, b) for child, b in led.items()}
    assert set(found) == {"P4mm", "Amm2", "R3m"}
    displaced = {"P4mm": [0, 0, 0.12], "Amm2": [0, 0.09, 0.09], "R3m": [0.08] * 3}
    for symbol, shift in displaced.items():
        start = CUBIC_BATIO3.copy()
        start.translate_sites([1], shift, frac_coords=False)
        node = document.nodes[found[symbol][0]]
        energy = 1000 * document.root_energy / 5 + node.energy_per_atom
        assert energy == pytest.approx(relaxed_by_ase(start), abs=SAME_ENERGY)
    assert found["P4mm"][1].direction == "a00"
    assert len(document.model_dump_json(exclude={"data"})) < 50_000
    ends = document.data.arrays()["path_energies"][:, -1]
    for index, end in zip(document.data.arrays()["path_branches"], ends, strict=True):
        branch = document.branches[index]
        gained = document.nodes[branch.child].energy - document.nodes[branch.parent].energy
        assert end == pytest.approx(gained, abs=5 * SAME_ENERGY)
