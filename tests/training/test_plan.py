import pytest

from phonotune.errors import ConfigError
from phonotune.models.terms import Term, weight_blocks
from phonotune.training.config import parse_overrides
from phonotune.training.plan import plan_terms
from phonotune.training.strategies import find_strategy

SALT = [11, 17]


def plan_of(model, strategy, *overrides):
    options = parse_overrides(strategy, list(overrides)).root
    return find_strategy(strategy).plan(model, SALT, options)


def test_the_total_counts_only_weights_of_the_material(foundation):
    plan = plan_of(foundation, "lora")
    assert plan.total < sum(p.numel() for p in foundation.parameters())
    everything = find_strategy("lora").plan(
        foundation, foundation.atomic_numbers.tolist(), parse_overrides("lora").root
    )
    assert everything.total == sum(p.numel() for p in foundation.parameters())


def test_a_plan_prints_what_moves(foundation):
    plan = plan_of(foundation, "equitrain")
    assert f"of {plan.total:,} parameters".replace(",", " ") in str(plan)
    assert str(plan).endswith(f"{plan.tensors} tensors")
    assert plan.summary().text == str(plan)


def test_low_rank_moves_fewer_numbers_than_it_reaches(foundation):
    plan = plan_of(foundation, "lora", "rank=1")
    assert plan.moved < plan.reached
    assert "rank 1" in str(plan)


def test_equitrain_moves_the_early_layers_in_full(foundation):
    plan = plan_of(foundation, "equitrain")
    assert plan.moved == plan.reached < plan.total
    early = {term.block.parameter.split(".")[0:2][0] for term in plan.terms}
    assert early == {"node_embedding", "interactions"}
    assert not any("interactions.1" in term.block.parameter for term in plan.terms)


def test_an_empty_plan_is_refused(foundation):
    with pytest.raises(ConfigError, match="moves no parameter"):
        plan_terms(foundation, SALT, [])


def test_changing_a_block_twice_is_refused(foundation):
    term = Term(block=weight_blocks(foundation, SALT)[0])
    with pytest.raises(ConfigError, match="twice"):
        plan_terms(foundation, SALT, [term, term])
