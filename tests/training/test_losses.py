import numpy as np
import pytest
import torch

from phonotune.schemas.dataset import Frame
from phonotune.training.batches import FrameSet
from phonotune.training.losses import Tally, loss_terms, total_loss
from phonotune.training.options import LossOptions
from phonotune.training.prediction import Prediction

WEIGHTS = LossOptions(energy=2.0, forces=3.0, stress=5.0, delta=0.1)


@pytest.fixture
def batch_of(foundation):
    def build(frames):
        return FrameSet.build(frames, foundation, [11, 17]).batch(range(len(frames)))

    return build


def off_by(labels, energy=0.0, forces=0.0, stress=0.0):
    return Prediction(
        labels.energy + energy * labels.sizes, labels.forces + forces, labels.stress + stress
    )


def loss_of(labels, prediction):
    terms = loss_terms(WEIGHTS)
    return float(total_loss(terms, [term(prediction, labels) for term in terms]))


def test_perfect_predictions_cost_nothing(batch_of, labelled):
    labels = batch_of(labelled[:2]).labels
    assert loss_of(labels, off_by(labels)) == 0.0


@pytest.mark.parametrize(("kind", "weight"), [("energy", 2.0), ("forces", 3.0), ("stress", 5.0)])
def test_each_term_is_quadratic_below_delta_and_linear_above(batch_of, labelled, kind, weight):
    labels = batch_of(labelled[:2]).labels
    small, large = (off_by(labels, **{kind: size}) for size in (0.05, 0.5))
    assert loss_of(labels, small) == pytest.approx(weight * 0.5 * 0.05**2)
    assert loss_of(labels, large) == pytest.approx(weight * 0.1 * (0.5 - 0.05))


def test_missing_labels_are_masks_not_zeros(batch_of, labelled):
    full, bare = labelled[0], Frame(labelled[1].structure, None, labelled[1].forces, None)
    labels = batch_of([full, bare]).labels
    prediction = off_by(labels, energy=0.05, stress=0.05)
    alone = batch_of([full]).labels
    assert loss_of(labels, prediction) == pytest.approx(
        loss_of(alone, off_by(alone, energy=0.05, stress=0.05))
    )


def test_a_frame_without_forces_leaves_the_forces_of_the_others(batch_of, labelled):
    bare = Frame(labelled[1].structure, labelled[1].energy, None, None)
    labels = batch_of([labelled[0], bare]).labels
    assert labels.has_forces.tolist() == [True] * 8 + [False] * 8
    assert loss_of(labels, off_by(labels, forces=0.05)) == pytest.approx(3.0 * 0.5 * 0.05**2)


def test_batches_add_up_to_the_mean_of_the_set(batch_of, labelled):
    rng = np.random.default_rng(0)
    terms = loss_terms(WEIGHTS)
    parts, whole = [labelled[:1], labelled[1:4]], labelled[:4]
    noise = [torch.as_tensor(rng.normal(scale=0.1, size=(8 * len(p), 3))) for p in parts]
    tallies = [Tally()] * 3
    for frames, error in zip(parts, noise, strict=True):
        labels = batch_of(frames).labels
        for i, term in enumerate(terms):
            tallies[i] += term(off_by(labels, forces=error), labels)
    labels = batch_of(whole).labels
    expected = loss_of(labels, off_by(labels, forces=torch.cat(noise)))
    assert float(total_loss(terms, tallies)) == pytest.approx(expected)


@pytest.mark.parametrize(("penalty", "cost"), [("l2", 0.5**2), ("l1", 0.5)])
def test_squares_and_absolute_values_are_penalties_too(batch_of, labelled, penalty, cost):
    labels = batch_of(labelled[:2]).labels
    terms = loss_terms(LossOptions(forces=3.0, penalty=penalty))
    prediction = off_by(labels, forces=0.5)
    loss = total_loss(terms, [term(prediction, labels) for term in terms])
    assert float(loss) == pytest.approx(3.0 * cost)
