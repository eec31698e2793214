"""How a toy pair from real surfaces is made: crystals, frames, labels and training, without SevenNet."""

from __future__ import annotations

import fcntl
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.spacegroup import Spacegroup
from pymatgen.io.ase import AseAtomsAdaptor

sys.path.insert(0, str(Path(__file__).parents[2] / "workflows"))

import pair_frames
import pair_labels
import pair_structures
import pair_training
from pair_frames import FIRST, HELD_OUT, KINDS, Kind, formula_of, frames, split_of

CUBIC = Spacegroup(225)


def entry(name: str, symbols: list[str], positions: list[list[float]], a: float) -> dict[str, Any]:
    """A face-centred cubic crystal in its cubic cell, as ``structures.json`` holds it."""
    return {
        "name": name,
        "symbols": symbols,
        "positions": positions,
        "cell": (a * np.eye(3)).tolist(),
        "rotations": [r.tolist() for r, _ in CUBIC.get_symop()],
        "translations": [t.tolist() for _, t in CUBIC.get_symop()],
    }


def metal(symbol: str, a: float) -> dict[str, Any]:
    """A face-centred cubic metal of four atoms."""
    sites = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    return entry(f"fcc-{symbol}", [symbol] * 4, sites, a)


class Noisy(EMT):
    """EMT whose forces and stress are wrong by random numbers, as those of single precision are."""

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), changes: Any = ()
    ) -> None:
        super().calculate(atoms, ["energy", "forces", "stress"], changes)
        rng = np.random.default_rng(3)
        self.results["forces"] = self.results["forces"] + rng.normal(0, 0.1, (len(self.atoms), 3))
        self.results["stress"] = self.results["stress"] + rng.normal(0, 0.01, 6)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and small frames."""
    few = {
        "near": Kind(2, (4, 8), 0.015, 0.005, (0.01, 0.03)),
        "strained": Kind(1, (1, 14), 0.08, 0.03, (0.0, 0.0)),
    }
    monkeypatch.setattr(pair_frames, "KINDS", few)


@pytest.fixture
def labelled(small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two metals labelled by EMT, which stands for both surfaces."""
    emt: dict[str, Calculator] = {surface: EMT() for surface in pair_labels.SURFACES.values()}
    monkeypatch.setattr(pair_labels, "load_surfaces", lambda: emt)
    made = [metal("Cu", 3.4), metal("Al", 4.2)]
    (tmp_path / "structures.json").write_text(json.dumps(made))
    pair_labels.label_all(tmp_path)
    return tmp_path


# --- crystals --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def names() -> list[str]:
    """All crystals; their volumes, which take most of the time, are left as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_structures, "_substituted", exchanged)
        return [name for name, _ in pair_structures.crystals()]


def exchanged(cell: Any, replaced: list[str], by: list[str]) -> Any:
    """The cell with other elements at its own volume."""
    new = cell.copy()
    new.replace_species(dict(zip(replaced, by, strict=True)))
    return new


def test_crystals_are_many_and_hold_sixty_elements(names: list[str]) -> None:
    symbols = {x for name in names for x in re.findall("[A-Z][a-z]?", formula_of(name))}
    assert len(names) == len(set(names)) >= 500
    assert symbols == pair_structures.ELEMENTS
    assert len(symbols) >= 60


def test_kept_out_formulas_come_once_each_and_no_demo_is_among_them(names: list[str]) -> None:
    kept = [formula_of(name) for name in names if formula_of(name) in HELD_OUT]
    assert sorted(kept) == sorted(HELD_OUT)
    assert set(FIRST) <= set(names)
    assert not {formula_of(name) for name in FIRST} & HELD_OUT


# --- frames ----------------------------------------------------------------------------------------


def test_frames_depend_on_names_and_numbers_alone() -> None:
    salt = bulk("NaCl", "rocksalt", a=5.69)
    first, again = list(frames("rocksalt-NaCl", salt)), list(frames("rocksalt-NaCl", salt))
    assert [f.kind for f in first] == [f.kind for f in again]
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.atoms.positions, other.atoms.positions)
    other = next(frames("rocksalt-KCl", salt))
    assert len(other.atoms) != len(first[0].atoms) or not np.allclose(
        other.atoms.positions, first[0].atoms.positions
    )


def test_frames_keep_to_what_their_kind_says() -> None:
    salt = bulk("NaCl", "rocksalt", a=5.69)
    volume = salt.get_volume() / 2
    found = list(frames("rocksalt-KBr", salt))
    assert {f.kind for f in found} == set(KINDS) - {"polar"}
    for frame in found:
        kind = KINDS[frame.kind]
        assert kind.atoms[0] <= len(frame.atoms) <= kind.atoms[1]
        one = frame.atoms.get_volume() / len(frame.atoms)
        assert one == pytest.approx(volume, rel=kind.volume + 0.002)
        assert frame.rattle == 0 if kind.rattle[1] == 0 else kind.rattle[0] <= frame.rattle <= 0.15
        assert list(frame.atoms.symbols).count("Na") * 2 == len(frame.atoms)


def test_polar_frames_move_the_octahedral_cation() -> None:
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    cubic = Atoms("BaTiO3", scaled_positions=sites, cell=[4.03] * 3, pbc=True)
    polar = [f for f in frames("perovskite-BaTiO3", cubic) if f.kind == "polar"]
    shifts = []
    for frame in polar:
        cell = np.linalg.inv(frame.atoms.cell.array)
        by = frame.atoms.positions @ cell - np.array(sites)
        shifts.append(np.linalg.norm((by[1] - by[2:].mean(axis=0)) @ frame.atoms.cell.array))
    assert len(polar) == 2 * KINDS["polar"].count
    assert max(shifts) > 0.12
    assert max(shifts) < 0.5


def test_splits_are_by_crystal_and_by_a_small_share_of_frames() -> None:
    assert split_of("rocksalt-CaSe", "near", 0) == "held_out"
    splits = [split_of("rocksalt-NaCl", "near", i) for i in range(2000)]
    assert set(splits) == {"train", "validation"}
    assert splits.count("validation") / 2000 == pytest.approx(0.06, abs=0.02)


# --- labels ----------------------------------------------------------------------------------------


def test_symmetrised_forces_and_stress_have_the_symmetry_of_the_crystal() -> None:
    given = metal("Cu", 3.7)
    atoms = Atoms(
        given["symbols"], scaled_positions=given["positions"], cell=given["cell"], pbc=True
    )
    group = np.array(given["rotations"]), np.array(given["translations"])
    atoms.calc = pair_labels.Symmetrised(Noisy(), atoms, *group)
    assert np.abs(atoms.get_forces()).max() < 1e-12
    stress = atoms.get_stress()
    assert stress[:3] == pytest.approx(stress[0] * np.ones(3))
    assert np.abs(stress[3:]).max() < 1e-12


def test_symmetrised_forces_keep_what_the_symmetry_allows() -> None:
    wurtzite = bulk("CuAl", "wurtzite", a=3.6, c=6.2)
    given = pair_structures._entry("wurtzite-AlCu", AseAtomsAdaptor.get_structure(wurtzite))
    assert len(given["rotations"]) == 12
    plain = wurtzite.copy()
    plain.calc = EMT()
    wurtzite.calc = pair_labels.Symmetrised(
        EMT(), wurtzite, np.array(given["rotations"]), np.array(given["translations"])
    )
    assert wurtzite.get_forces() == pytest.approx(plain.get_forces(), abs=1e-8)
    assert wurtzite.get_stress() == pytest.approx(plain.get_stress(), abs=1e-8)


def test_operations_of_another_crystal_are_refused() -> None:
    atoms = Atoms("Cu2", scaled_positions=[[0, 0, 0], [0.3, 0.1, 0]], cell=[4, 4, 4], pbc=True)
    group = np.array([-np.eye(3)]), np.zeros((1, 3))
    with pytest.raises(ValueError, match="do not map"):
        pair_labels.Symmetrised(EMT(), atoms, *group)


def test_a_crystal_is_relaxed_from_a_volume_far_off() -> None:
    emt: dict[str, Calculator] = {surface: EMT() for surface in pair_labels.SURFACES.values()}
    relaxed = pair_labels.relaxed_crystal(metal("Cu", 2.9), emt)
    assert relaxed.cell.cellpar()[:3] == pytest.approx([3.59] * 3, abs=0.02)  # EMT's own, Å


def test_labels_are_made_once_and_a_locked_crystal_is_left_to_its_process(labelled: Path) -> None:
    folder = labelled / "labels"
    before = (folder / "fcc-Cu.npz").stat().st_mtime_ns
    (folder / "fcc-Al.npz").unlink()
    with (folder / "fcc-Al.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pair_labels.label_all(labelled)
        assert not (folder / "fcc-Al.npz").exists()
    pair_labels.label_all(labelled)
    assert (folder / "fcc-Al.npz").exists()
    assert (folder / "fcc-Cu.npz").stat().st_mtime_ns == before


def test_a_crystal_that_falls_together_is_left_out_and_not_tried_again(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (labelled / "labels" / "fcc-Al.npz").unlink()
    monkeypatch.setattr(pair_labels, "CLOSEST", 5.0)
    pair_labels.label_all(labelled)
    assert "fcc-Al: left out, two atoms came too close" in capsys.readouterr().out
    pair_labels.label_all(labelled)
    assert "fcc-Al" not in capsys.readouterr().out


def test_labels_that_are_not_finite_are_refused() -> None:
    class Broken(EMT):
        def calculate(self, *arguments: Any, **named: Any) -> None:
            super().calculate(*arguments, **named)
            self.results["forces"] = self.results["forces"] * np.nan

    with pytest.raises(ValueError, match="not finite"):
        pair_labels.answer(bulk("Cu"), Broken())


# --- training --------------------------------------------------------------------------------------


def test_labels_come_back_as_they_were_given(labelled: Path) -> None:
    found = pair_training.read_labels(labelled / "labels" / "fcc-Cu.npz", "7net-0")
    assert len(found) == 3
    for frame in found:
        atoms = Atoms(frame.structure.atomic_numbers, frame.structure.cart_coords)
        atoms.set_cell(frame.structure.lattice.matrix)
        atoms.set_pbc(True)
        atoms.calc = EMT()
        assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        assert frame.forces == pytest.approx(atoms.get_forces(), abs=1e-5)
        stress = pair_labels.voigt_6_to_full_3x3_stress(atoms.get_stress())
        assert frame.stress == pytest.approx(stress, abs=1e-8)


def test_small_displacements_weigh_more() -> None:
    assert pair_training.harmonic_weight(0.0) == 1.0
    weights = [pair_training.harmonic_weight(rattle) for rattle in (0.01, 0.02, 0.04, 0.15)]
    assert weights == pytest.approx([3.0, 2.0, 1.0, 0.5])


@pytest.fixture
def tiny(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Labels for a model of four channels, and batches of few atoms."""
    monkeypatch.setattr(pair_training, "CHANNELS", {"mini": 4, "teacher": 4})
    monkeypatch.setattr(pair_training, "L_MAX", 1)
    monkeypatch.setattr(pair_training, "BATCH_ATOMS", 16)
    return labelled


def test_batches_hold_every_frame_once(tiny: Path) -> None:
    card, found = pair_training.start("mini", tiny)
    graphs = pair_training.LabelledGraphs(found, card)
    for rng in (None, np.random.default_rng(2)):
        batches = graphs.batches(rng)
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(found)))
        assert len(batches) > 1
        assert all(len(b) == 1 or graphs.sizes[b].sum() <= 2 * 16 for b in batches)


def test_isolated_energies_make_up_the_energies_of_compositions(tiny: Path) -> None:
    card, found = pair_training.start("mini", tiny)
    wrong = [
        f.energy / len(f.structure)
        - np.mean(
            [card.atomic_energies[card.elements.index(z)] for z in f.structure.atomic_numbers]
        )
        for f in found
    ]
    assert np.abs(wrong).max() < 0.3  # eV per atom: what strain and rattle cost


def test_the_model_has_the_blocks_of_mp_0b3_and_equitrain_moves_two_thirds_of_it() -> None:
    labels = 0.0, np.ones((62, 3)), np.eye(3)
    frame = pair_training.Labelled("x", "near", 0.01, "train", _every_element(), *labels)
    for model, megabytes in (("mini", 2.0), ("teacher", 4.0)):
        card = pair_training.make_card(model, [frame], 30.0)
        sizes = {k: p.numel() for k, p in pair_training.build_mace(card).named_parameters()}
        early = sum(
            n for k, n in sizes.items() if k.startswith(("node_embedding", "interactions.0"))
        )
        assert 0.6 <= early / sum(sizes.values()) <= 0.72  # MP-0b3: 0.66
        assert 4e-6 * sum(sizes.values()) <= megabytes


def _every_element() -> Any:
    symbols = sorted(pair_structures.ELEMENTS)
    sites = [[i / len(symbols), 0, 0] for i in range(len(symbols))]
    return pair_training.Structure(10 * np.eye(3), symbols, sites)


def test_a_run_that_is_cut_continues_with_the_same_steps(tiny: Path) -> None:
    card, found = pair_training.start("mini", tiny)
    graphs = pair_training.LabelledGraphs(found, card)
    batches = [graphs.batch(b) for b in graphs.batches(None)]
    folder = tiny / "runs" / "mini"
    whole = pair_training.Run(card, folder)
    for batch in batches[:2]:
        whole.step(*batch, 0.01)
    whole.save()
    whole.step(*batches[0], 0.01)
    again = pair_training.Run(card, folder)
    assert again.restore()
    assert again.progress.step == 2
    again.step(*batches[0], 0.01)
    assert whole.average.keys() == again.average.keys()
    for name, value in whole.average.items():
        assert torch.equal(value, again.average[name])
        assert torch.equal(whole.parameters[name], again.parameters[name])


def test_training_lowers_the_errors_and_exports_a_model(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_training, "WARM_UP_STEPS", 5)
    card, found = pair_training.start("mini", tiny)
    graphs = pair_training.LabelledGraphs(found, card)
    run = pair_training.Run(card, tiny / "runs" / "mini")
    batches = [graphs.batch(indices) for indices in graphs.batches(None)]
    losses = [sum(run.step(*batch, 0.02) for batch in batches) for _ in range(30)]
    assert losses[-1] < 0.95 * losses[0]
    run.save()
    assert pair_training.mean_errors(run.averaged(), graphs)["energy"] > 0
    pair_training.export("mini", tiny, tiny / "export")
    assert {path.name for path in (tiny / "export").iterdir()} == {"mini.json", "mini.safetensors"}
