import numpy as np
import pytest
import torch

from phonotune.errors import StructureError
from phonotune.training.batches import FrameSet
from phonotune.training.prediction import predict


@pytest.fixture
def frames(foundation, labelled):
    return FrameSet.build(labelled, foundation, [11, 17])


def energies(batches):
    return [value for batch in batches for value in batch.labels.energy.tolist()]


def test_every_frame_trains_once_an_epoch_and_the_last_small_batch_is_kept(frames):
    batches = list(frames.shuffled(4, np.random.default_rng(0)))
    assert [len(batch.labels.energy) for batch in batches] == [4, 2]
    assert sorted(energies(batches)) == sorted(energies(frames.in_order(1)))


def test_fewer_frames_than_the_batch_size_still_train(frames):
    assert len(list(frames.shuffled(8, np.random.default_rng(0)))) == 1


def test_the_order_is_that_of_the_generator(frames):
    first, again, other = (
        energies(frames.shuffled(2, np.random.default_rng(seed))) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_labels_are_energies_without_atomic_energies(frames, labelled):
    known = 4 * -1.0 + 4 * -4.0
    assert energies(frames.in_order(2)) == pytest.approx([f.energy - known for f in labelled])
    shifted = frames.shifted({11: 0.5, 17: -1.0})
    assert energies(shifted.in_order(2)) == pytest.approx(
        [f.energy - known + 2.0 for f in labelled]
    )


def test_a_batch_is_not_changed_by_a_prediction(frames, foundation):
    (batch,) = frames.in_order(8)
    before = {name: tensor.clone() for name, tensor in batch.graph.items()}
    predict(foundation, {}, batch.graph, stress=True)
    assert all((before[name] == tensor).all() for name, tensor in batch.graph.items())


def test_an_element_outside_the_foundation_is_named(foundation, labelled):
    potassium = labelled[0].structure.copy()
    potassium.replace(0, "K")
    frame = type(labelled[0])(potassium, 0.0, labelled[0].forces)
    with pytest.raises(StructureError, match="K"):
        FrameSet.build([frame], foundation, [11, 17, 19])


def test_batches_are_bounded_by_frames_and_by_atoms(foundation, labelled):
    frames = FrameSet.build(labelled, foundation, [11, 17])
    sizes = [len(b.labels.sizes) for b in frames.in_order(4, batch_atoms=24)]
    assert sizes == [3, 3]
    assert [len(b.labels.sizes) for b in frames.in_order(4)] == [4, 2]
    alone = [len(b.labels.sizes) for b in frames.in_order(4, batch_atoms=1)]
    assert alone == [1] * 6


def test_a_bootstrap_draws_with_replacement_and_keeps_frames_and_labels_together(
    foundation, labelled
):
    frames = FrameSet.build(labelled, foundation, [11, 17])
    drawn = frames.resampled(np.random.default_rng(1))
    assert len(drawn) == len(frames)
    origins = [labelled.index(frame) for frame in drawn.frames]
    assert len(set(origins)) < len(origins)
    one = drawn.batch([2])
    same = frames.batch([origins[2]])
    torch.testing.assert_close(one.labels.energy, same.labels.energy)
    torch.testing.assert_close(one.graph["positions"], same.graph["positions"])
