from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from ase.data import atomic_numbers, covalent_radii
from pymatgen.core import Structure

from phonotune.errors import InputError, StructureError, TrainingError
from phonotune.models.adapter import shift_energies
from phonotune.models.evaluate import ModelEvaluator
from phonotune.ports import Evaluation
from phonotune.schemas.dataset import Frame
from phonotune.schemas.forgetting import ForgettingProbe, HoleScan
from phonotune.settings import get_settings
from phonotune.training import forgetting as module
from phonotune.training.forgetting import PROBE_SIZE, forgetting, hole_scan, probe_frames
from phonotune.training.replay import replay_frames

ELEMENTS = ("Ba", "Cl", "Na", "O")
SUM = 2 * float(covalent_radii[atomic_numbers["Na"]])
CUTOFF = 4.0

pytestmark = pytest.mark.own_probes

Curve = Callable[[np.ndarray], np.ndarray]


def morse(r: np.ndarray) -> np.ndarray:
    """Well of 2 eV at the sum of the covalent radii of Na, with a wall that rises to the end."""
    return 2.0 * (np.exp(-0.6 * (r - SUM)) - 1.0) ** 2 - 2.0


def with_hole(depth: float, at: float = 1.2, width: float = 0.25) -> Curve:
    return lambda r: morse(r) - depth * np.exp(-(((r - at) / width) ** 2))


class Dimers:
    """Two atoms of a cell feel a curve of their nearest distance; more atoms are counted only."""

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self.calls: list[Sequence[Structure]] = []

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        self.calls.append(structures)
        distances = np.array([structure.get_distance(0, 1) for structure in structures])
        return [Evaluation(float(e), np.zeros((2, 3)), None) for e in self._curve(distances)]


class Offset:
    """Another evaluator whose answers are moved by constants."""

    def __init__(
        self, inner: Counting, energy: float = 0.0, force: float = 0.0, stress: float = 0.0
    ) -> None:
        self._inner, self._moves = inner, (energy, force, stress)

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        energy, force, stress = self._moves
        return [
            Evaluation(a.energy + energy * len(a.forces), a.forces + force, a.stress + stress)
            for a in self._inner(structures)
        ]


class Counting:
    """A model evaluator that counts its calls."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._evaluator = ModelEvaluator(model, "cpu")
        self.sizes: list[int] = []

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        self.sizes.append(len(structures))
        return self._evaluator(structures)


@pytest.fixture(scope="module")
def before(foundation_session: torch.nn.Module) -> Counting:
    return Counting(foundation_session)


@pytest.fixture(scope="module")
def frames(before: Counting) -> list[Frame]:
    return probe_frames(before, ELEMENTS)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe of a quarter of the frames, where only the file that keeps it matters."""
    monkeypatch.setattr(module, "PROBE_SIZE", PROBE_SIZE // 4)


def probe(before, after, material=("Na", "Cl"), **options) -> ForgettingProbe:
    options = {"foundation_sha256": "the session's", **options}
    return forgetting(before, after, ELEMENTS, material, cutoff=CUTOFF, **options)


def scan(before: Curve, after: Curve) -> HoleScan:
    return hole_scan(Dimers(before), Dimers(after), ["Na"], CUTOFF)


def numbers(probe: ForgettingProbe) -> np.ndarray:
    parts = [part for part in (probe.overall, probe.touching, probe.others) if part is not None]
    return np.array([(p.energy, p.forces, p.forces_relative, p.stress) for p in parts])


def test_identical_models_forget_nothing_and_have_the_same_holes(before: Counting) -> None:
    found = probe(before, before)
    np.testing.assert_allclose(numbers(found), 0.0, atol=1e-8)
    arrays = found.holes.data.arrays()
    np.testing.assert_array_equal(arrays["energies_before"], arrays["energies_after"])
    np.testing.assert_array_equal(arrays["depths_before"], arrays["depths_after"])
    assert found.holes.deepest_before == found.holes.deepest_after
    assert found.holes.pairs_below_before == found.holes.pairs_below_after


def test_shifted_atomic_energies_alone_count_as_no_forgetting(
    before: Counting, foundation_session: torch.nn.Module
) -> None:
    shifts = {11: -0.7, 17: 1.9}
    shifted = copy.deepcopy(foundation_session)
    shift_energies(shifted, shifts)
    after = Counting(shifted)
    np.testing.assert_allclose(numbers(probe(before, after, energy_shifts=shifts)), 0.0, atol=1e-6)
    unsaid = probe(before, after)
    assert unsaid.touching is not None
    assert unsaid.touching.energy > 100.0
    arrays = unsaid.holes.data.arrays()
    np.testing.assert_allclose(arrays["energies_after"], arrays["energies_before"], atol=1e-9)


def test_deviations_are_mean_absolute_errors_in_their_units(
    before: Counting, frames: list[Frame]
) -> None:
    found = probe(before, Offset(before, energy=0.004, force=-0.02, stress=0.003)).overall
    size = np.abs(np.concatenate([frame.forces for frame in frames])).mean()
    assert found.energy == pytest.approx(4.0)
    assert found.forces == pytest.approx(20.0)
    assert found.stress == pytest.approx(3.0)
    assert found.forces_relative == pytest.approx(100.0 * 0.02 / size)


def test_frames_of_the_material_and_others_are_told_apart(
    before: Counting, frames: list[Frame]
) -> None:
    found = probe(before, before, ["Ba"])
    holding = sum("Ba" in frame.structure.symbol_set for frame in frames)
    assert found.touching is not None
    assert found.others is not None
    assert (found.touching.n_frames, found.others.n_frames) == (holding, len(frames) - holding)
    assert found.elements == ("Ba",)
    assert probe(before, before, ELEMENTS).others is None


def test_the_probe_depends_on_the_foundation_only(before: Counting, frames: list[Frame]) -> None:
    again = probe_frames(before, ELEMENTS[::-1])
    assert [frame.structure for frame in again] == [frame.structure for frame in frames]
    first, second = probe(before, before, ["Na"]), probe(before, before, ["Ba", "O"])
    assert first.overall.n_frames == second.overall.n_frames == PROBE_SIZE == len(frames)


def test_the_probe_holds_every_element_and_the_foundations_labels(
    before: Counting, frames: list[Frame]
) -> None:
    assert {s for frame in frames for s in frame.structure.symbol_set} == set(ELEMENTS)
    answers = before([frame.structure for frame in frames])
    for frame, answer in zip(frames, answers, strict=True):
        assert frame.energy == pytest.approx(answer.energy, abs=1e-10)
        np.testing.assert_allclose(frame.forces, answer.forces, atol=1e-10)


def test_no_frame_of_the_probe_is_a_replay_frame(before: Counting, frames: list[Frame]) -> None:
    volumes = {round(frame.structure.volume, 6) for frame in frames}
    replay = replay_frames(before, ELEMENTS, ["Na", "Cl"], 40, seed=1)
    assert volumes.isdisjoint(round(frame.structure.volume, 6) for frame in replay)


@pytest.mark.usefixtures("small")
def test_the_labelled_probe_is_kept_for_the_next_model_of_the_same_foundation(
    foundation_session: torch.nn.Module,
) -> None:
    foundation = Counting(foundation_session)
    probe(foundation, foundation, foundation_sha256="kept")
    first = len(foundation.sizes)
    second = probe(foundation, foundation, ["Ba"], foundation_sha256="kept")
    assert len(foundation.sizes) - first == 3
    third = probe(foundation, foundation, ["Ba"], foundation_sha256=None)
    assert len(foundation.sizes) - first > 6
    assert third == second


@pytest.mark.usefixtures("small")
def test_another_process_reads_the_kept_probe_and_finds_the_same_numbers(
    foundation_session: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    foundation = Counting(foundation_session)
    after = Offset(foundation, energy=0.003, force=0.01)
    first = probe(foundation, after, foundation_sha256="shared")
    asked = len(foundation.sizes)
    monkeypatch.setattr(module, "_labelled", {})
    assert probe(foundation, after, foundation_sha256="shared") == first
    assert len(foundation.sizes) - asked == 3
    monkeypatch.setattr(module, "_labelled", {})
    assert probe(foundation, after, foundation_sha256="another") == first
    assert len(foundation.sizes) - asked > 6
    assert probe(foundation, after, foundation_sha256=None) == first


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", None])
def test_a_damaged_probe_is_made_anew_and_replaced(
    before: Counting,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    damage: bytes | None,
) -> None:
    monkeypatch.setattr(module, "_labelled", {})
    first = probe(before, before)
    (path,) = (get_settings().cache_dir / "probes").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"A", b"B", 1) if damage is None else damage)
    monkeypatch.setattr(module, "_labelled", {})
    assert probe(before, before) == first
    assert "made anew" in caplog.text
    assert path.read_bytes() == whole


@pytest.mark.usefixtures("small")
def test_a_probe_of_a_cache_that_cannot_be_written_is_made_and_said_so(
    before: Counting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_labelled", {})
    get_settings().cache_dir.parent.mkdir(parents=True, exist_ok=True)
    get_settings().cache_dir.write_text("a file, not a folder")
    assert probe(before, before).overall.forces < 1e-9
    assert "not kept for other processes" in caplog.text


def test_a_foundation_that_holds_no_crystal_together_has_no_probe() -> None:
    def pushes(structures: Sequence[Structure]) -> list[Evaluation]:
        return [Evaluation(-s.volume, np.zeros((len(s), 3)), None) for s in structures]

    with pytest.raises(TrainingError, match=f"Only 0 of {PROBE_SIZE} frames"):
        probe_frames(pushes, ELEMENTS)


def test_a_sound_wall_has_no_hole() -> None:
    found = scan(morse, morse)
    assert (found.deepest_before, found.deepest_after, found.worst_pair) == (0.0, 0.0, None)
    assert (found.pairs_below_before, found.pairs_below_after) == (0, 0)


@pytest.mark.parametrize("depth", [12.0, 60.0])
def test_a_planted_hole_is_found_with_its_depth_but_for_the_grid(depth: float) -> None:
    found = scan(morse, with_hole(depth))
    fine = np.linspace(0.4, SUM, 20001)[::-1]
    energies = with_hole(depth)(fine)
    expected = float((np.maximum.accumulate(energies) - energies).max())
    assert expected > 3.0
    assert found.deepest_before == 0.0
    assert 0.9 * expected < found.deepest_after <= expected
    assert found.worst_pair == "Na-Na"


def test_only_a_hole_deeper_than_the_wall_is_high_lies_below_the_minimum() -> None:
    floor = float(morse(np.array(1.2)))
    shallow, deep = scan(morse, with_hole(0.8 * floor)), scan(morse, with_hole(floor + 5.0))
    assert shallow.deepest_after > 0.0
    assert (shallow.pairs_below_after, deep.pairs_below_after) == (0, 1)


def test_tuning_cannot_heal_a_hole_unseen() -> None:
    found = scan(with_hole(20.0), morse)
    assert found.deepest_before > 5.0
    assert (found.deepest_after, found.worst_pair) == (0.0, None)


def test_a_pair_that_falls_into_the_core_without_any_wall_is_one_hole() -> None:
    found = scan(morse, lambda r: -10.0 / r)
    arrays = found.data.arrays()
    own = np.searchsorted(arrays["distances"][0], 0.9 * SUM)
    curve = -10.0 / arrays["distances"][0]
    assert found.deepest_after == pytest.approx(curve[own] - curve[0])
    assert found.pairs_below_after == 1


def test_a_bond_that_tuning_made_a_little_shorter_is_no_hole() -> None:
    found = scan(morse, lambda r: morse(r + 0.15))
    assert (found.deepest_after, found.pairs_below_after) == (0.0, 0)


def test_energies_are_those_of_the_pair_against_the_atoms_apart() -> None:
    arrays = scan(lambda r: morse(r) - 7.0, morse).data.arrays()
    apart = morse(np.array(CUTOFF + 0.65 * SUM))
    for name in ("energies_before", "energies_after"):
        np.testing.assert_allclose(arrays[name], morse(arrays["distances"]) - apart, atol=1e-12)


def test_every_pair_of_elements_is_scanned_in_one_call_each_out_of_reach_of_its_images() -> None:
    before, after = Dimers(morse), Dimers(morse)
    found = hole_scan(before, after, ["Na", "Cl", "Na"], CUTOFF)
    arrays = found.data.arrays()
    assert arrays["pairs"].tolist() == ["Cl-Cl", "Cl-Na", "Na-Na"]
    assert found.n_pairs == 3
    np.testing.assert_allclose(arrays["distances"][:, 0], 0.4)
    assert arrays["distances"][2, -1] == pytest.approx(1.3 * SUM)
    assert len(before.calls) == len(after.calls) == 1
    for cell in before.calls[0]:
        length = cell.get_distance(0, 1)
        assert min(cell.lattice.abc) - length > CUTOFF
    assert before.calls[0][-1].get_distance(0, 1) > CUTOFF


def test_an_element_that_the_foundation_does_not_know_is_refused(before: Counting) -> None:
    with pytest.raises(StructureError, match="does not know Fe"):
        probe(before, before, ["Fe"])


def test_a_cutoff_that_is_no_length_is_refused() -> None:
    with pytest.raises(InputError, match="0 Å"):
        hole_scan(Dimers(morse), Dimers(morse), ["Na"], 0.0)
