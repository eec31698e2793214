import pytest

from phonotune.training.config import parse_overrides
from phonotune.training.schedule import best_epoch, learning_rate, stop_after


def options(*overrides):
    return parse_overrides("lora", list(overrides)).root


def test_cosine_starts_at_the_full_rate_and_ends_near_zero():
    settings = options("max_epochs=10", "lr=0.02")
    rates = [learning_rate(settings, [1.0] * n) for n in range(1, 11)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[5] == pytest.approx(0.01)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.001


def test_plateau_cuts_after_the_patience_and_waits_again():
    settings = options("schedule=plateau", "plateau_patience=2", "lr=0.01")
    losses = [1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    rates = [learning_rate(settings, losses[:n]) for n in range(1, 8)]
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.005])


def test_plateau_does_not_cut_while_the_loss_falls():
    settings = options("schedule=plateau", "lr=0.01")
    assert learning_rate(settings, [0.9**n for n in range(50)]) == 0.01


def test_the_foundation_counts_as_an_epoch():
    assert best_epoch([1.0, 2.0, 3.0]) == 0
    assert best_epoch([1.0, 0.5, 0.5]) == 1


def test_patience_stops_a_training_that_never_gets_better():
    settings = options("patience=3", "max_epochs=100")
    assert stop_after(settings, [1.0, 2.0, 2.0], 0.0) is None
    assert "no better" in stop_after(settings, [1.0, 2.0, 2.0, 2.0], 0.0).reason


def test_time_and_epochs_stop():
    settings = options("max_seconds=5", "max_epochs=2")
    assert stop_after(settings, [1.0], 4.9) is None
    assert stop_after(settings, [1.0], 5.1).kind == "time"
    assert stop_after(settings, [1.0, 1.0, 1.0], 0.0).reason == "all 2 epochs done"
