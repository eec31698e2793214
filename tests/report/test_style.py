from __future__ import annotations

import pytest

from phonotune.report.style import CSS_NAMES, UNTUNED, looks
from phonotune.schemas.base import Source
from phonotune.training.strategies import STRATEGIES


def source(role: str, model_id: str = "x") -> Source:
    return Source(role=role, evaluator="mini", model_id=model_id)


@pytest.mark.parametrize("role", ["untuned", *STRATEGIES])
def test_a_role_looks_the_same_in_every_figure(role: str) -> None:
    beside_one = looks([source("reference"), source(role)])[1]
    assert looks([source(role), source("reference"), source("untuned")])[0] == beside_one


def test_a_source_alone_keeps_its_colour_and_is_solid() -> None:
    (alone,) = looks([source("untuned")])
    assert (alone.color, alone.dashes) == (UNTUNED, "solid")


def test_every_strategy_differs_from_every_other_in_colour_or_dashes() -> None:
    styles = looks([source(role) for role in ("reference", "untuned", *STRATEGIES)])
    assert len({(s.color, s.dashes) for s in styles}) == len(styles)


def test_two_models_of_one_strategy_differ_within_a_figure() -> None:
    first, second = looks([source("lora", "1"), source("lora", "2")])
    assert first.color != second.color


def test_every_colour_of_a_role_has_a_theme_variable() -> None:
    styles = looks([source(role) for role in ("reference", "untuned", *STRATEGIES, "own")])
    assert {s.color for s in styles} <= set(CSS_NAMES)
