from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from phonotune.data.extxyz import write_frames
from phonotune.errors import FramesError, InputError, StructureError, TrainingError
from phonotune.models.evaluate import ModelEvaluator
from phonotune.ports import Evaluation
from phonotune.sampling.prototypes import PROTOTYPES, prototype_crystal
from phonotune.schemas.dataset import Frame
from phonotune.training.replay import MAX_FORCE, SCAN, equilibrium, read_replay, replay_frames

ELEMENTS = ("Ba", "Cl", "Na", "O")
LENGTH = 3.1


class Bulk:
    """Each atom wants a volume of (3.1 Å)^3; one atom feels a force, the same everywhere."""

    def __init__(self, with_stress: bool = True, force: float = 0.1) -> None:
        self.calls: list[int] = []
        self._with_stress, self._force = with_stress, force

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        self.calls.append(len(structures))
        return [self._one(structure) for structure in structures]

    def _one(self, structure: Structure) -> Evaluation:
        length = (structure.volume / len(structure)) ** (1 / 3)
        energy = len(structure) * (length - LENGTH) ** 2
        trace = 2 * len(structure) * (length - LENGTH) * length / structure.volume
        forces = np.zeros((len(structure), 3))
        forces[0, 0] = self._force
        return Evaluation(energy, forces, np.eye(3) * trace / 3 if self._with_stress else None)


@pytest.fixture
def evaluator(foundation_session: torch.nn.Module) -> ModelEvaluator:
    return ModelEvaluator(foundation_session, "cpu")


def same(first: Sequence[Frame], second: Sequence[Frame]) -> bool:
    return len(first) == len(second) and all(
        a.structure == b.structure and a.energy == b.energy
        for a, b in zip(first, second, strict=True)
    )


def test_frames_carry_the_foundations_labels_exactly(evaluator: ModelEvaluator) -> None:
    frames = replay_frames(evaluator, ELEMENTS, ["Na", "Cl"], count=6)
    for frame in frames:
        (answer,) = evaluator([frame.structure])
        assert frame.forces is not None
        assert frame.stress is not None
        assert frame.energy == pytest.approx(answer.energy, abs=1e-10)
        np.testing.assert_allclose(frame.forces, answer.forces, atol=1e-10)
        np.testing.assert_allclose(frame.stress, answer.stress, atol=1e-10)


@pytest.mark.parametrize("count", [0, 1, 7, 30])
def test_the_count_is_met(count: int) -> None:
    assert len(replay_frames(Bulk(), ELEMENTS, ["Na"], count)) == count


def test_the_same_seed_gives_the_same_frames_whatever_the_order_of_elements() -> None:
    frames = replay_frames(Bulk(), ELEMENTS, ["Na", "Cl"], 12, seed=3)
    assert same(frames, replay_frames(Bulk(), ELEMENTS[::-1], ["Cl", "Na"], 12, seed=3))
    assert not same(frames, replay_frames(Bulk(), ELEMENTS, ["Na", "Cl"], 12, seed=4))


def test_a_shorter_draw_is_the_beginning_of_a_longer_one() -> None:
    frames = replay_frames(Bulk(), ELEMENTS, ["Na"], 12)
    assert same(frames[:5], replay_frames(Bulk(), ELEMENTS, ["Na"], 5))


def test_unknown_elements_never_appear_and_half_of_the_frames_hold_the_materials() -> None:
    frames = replay_frames(Bulk(), ELEMENTS, ["Na", "Cl"], 60)
    held = [set(frame.structure.symbol_set) for frame in frames]
    assert set().union(*held) == set(ELEMENTS)
    assert all(symbols <= {"Na", "Cl"} for symbols in held[0::4])
    assert all(symbols & {"Na", "Cl"} for symbols in held[2::4])
    assert any(not symbols & {"Na", "Cl"} for symbols in held[1::2])


def test_frames_are_small_strained_and_rattled_about_the_equilibrium_volume() -> None:
    frames = replay_frames(Bulk(), ELEMENTS, ["Na"], 40)
    assert {4, 6} <= {len(frame.structure) for frame in frames} <= {4, 5, 6}
    volumes = np.array([f.structure.volume / len(f.structure) for f in frames]) / LENGTH**3
    assert 0.90 < volumes.min() < 0.94
    assert 1.06 < volumes.max() < 1.10


def test_a_frame_with_a_large_force_is_never_kept() -> None:
    with pytest.raises(TrainingError, match="Only 0 of 2 replay frames"):
        replay_frames(Bulk(force=1.01 * MAX_FORCE), ELEMENTS, ["Na"], 2)
    assert replay_frames(Bulk(force=0.99 * MAX_FORCE), ELEMENTS, ["Na"], 2)


def test_frames_are_made_in_two_calls_of_the_evaluator_a_round() -> None:
    evaluator = Bulk()
    replay_frames(evaluator, ELEMENTS, ["Na"], 20)
    scans, frames = evaluator.calls[0::2], evaluator.calls[1::2]
    assert scans[0] == 20 * len(SCAN)
    assert sum(frames) == 20
    assert len(scans) == len(frames) < 10


@pytest.mark.parametrize("with_stress", [True, False])
def test_a_crystal_is_brought_to_the_volume_of_lowest_energy(with_stress: bool) -> None:
    rocksalt = next(p for p in PROTOTYPES if p.name == "rocksalt")
    start = prototype_crystal(rocksalt, ["Na", "Cl"])
    (crystal,) = equilibrium(Bulk(with_stress), [start])
    assert crystal is not None
    assert (crystal.volume / 2) ** (1 / 3) == pytest.approx(LENGTH, rel=2e-3)
    np.testing.assert_allclose(crystal.frac_coords, start.frac_coords)


def test_a_crystal_without_a_minimum_inside_the_scan_is_dropped() -> None:
    tiny = Structure(Lattice.cubic(0.5), ["Na"], [[0, 0, 0]])
    huge = Structure(Lattice.cubic(50.0), ["Na"], [[0, 0, 0]])
    good = Structure(Lattice.cubic(3.0), ["Na"], [[0, 0, 0]])
    found = equilibrium(Bulk(), [tiny, good, huge])
    assert [crystal is None for crystal in found] == [True, False, True]


@pytest.mark.parametrize(
    ("material", "words"), [(["Na", "Fe"], "does not know Fe"), ([], "no element")]
)
def test_a_material_that_the_foundation_does_not_know_is_refused(material, words: str) -> None:
    with pytest.raises(StructureError, match=words):
        replay_frames(Bulk(), ELEMENTS, material)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(InputError, match="-1 replay frames"):
        replay_frames(Bulk(), ELEMENTS, ["Na"], -1)


def test_frames_of_a_file_come_back_as_they_were_written(tmp_path: Path) -> None:
    frames = replay_frames(Bulk(), ELEMENTS, ["Na"], 3)
    write_frames(tmp_path / "replay.extxyz", frames)
    read = read_replay(tmp_path / "replay.extxyz")
    assert [frame.energy for frame in read] == [frame.energy for frame in frames]
    assert [frame.group for frame in read] == [frame.group for frame in frames]


def test_a_file_without_forces_is_refused_by_the_name_of_the_label(tmp_path: Path) -> None:
    frame = replay_frames(Bulk(), ELEMENTS, ["Na"], 1)[0]
    write_frames(tmp_path / "replay.extxyz", [Frame(frame.structure, energy=-1.0)])
    with pytest.raises(FramesError, match="REF_forces"):
        read_replay(tmp_path / "replay.extxyz")
