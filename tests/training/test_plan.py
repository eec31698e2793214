import pytest

from phonotune.errors import ConfigError
from phonotune.models.weight_updates import WeightUpdate, weight_blocks
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


def test_equitrain_moves_what_the_paper_ran_or_what_it_describes(foundation):
    ran, described = (
        parse_overrides("equitrain", [f"recipe={r}"]).root for r in ("paper", "described")
    )
    assert ran.model_copy(update={"recipe": "described", "layers": "all"}) == described
    plan = find_strategy("equitrain").plan(foundation, SALT, described)
    assert plan.moved == plan.reached == plan.total
    assert any(term.block.parameter.startswith("readouts.") for term in plan.terms)
    early = plan_of(foundation, "equitrain", "recipe=described", "layers=early")
    assert early == plan_of(foundation, "equitrain", "recipe=paper")


def test_an_empty_plan_is_refused(foundation):
    with pytest.raises(ConfigError, match="moves no parameter"):
        plan_terms(weight_blocks(foundation, SALT), [])


def test_changing_a_block_twice_is_refused(foundation):
    blocks = weight_blocks(foundation, SALT)
    term = WeightUpdate(block=blocks[0])
    with pytest.raises(ConfigError, match="twice"):
        plan_terms(blocks, [term, term])


def test_freezing_early_and_late_blocks_are_complements(foundation):
    early, late = (
        {term.block.key for term in plan_of(foundation, "freeze", f"frozen={which}").terms}
        for which in ("early", "late")
    )
    assert not early & late
    assert early | late == {block.key for block in weight_blocks(foundation, SALT)}
    assert any(key.startswith("readouts.") for key in early)
    assert any(key.startswith("node_embedding.") for key in late)


def test_named_blocks_stay_frozen(foundation):
    plan = plan_of(foundation, "freeze", "frozen=interactions.0, readouts")
    moved = {term.block.parameter for term in plan.terms}
    assert not any(name.startswith(("interactions.0.", "readouts.")) for name in moved)
    assert any(name.startswith("interactions.1.") for name in moved)


def test_an_unknown_block_is_refused_with_the_nearest(foundation):
    with pytest.raises(ConfigError, match=r"Unknown block 'interaction.0'. Did you mean 'interac"):
        plan_of(foundation, "freeze", "frozen=interaction.0")


def test_freezing_everything_is_refused(foundation):
    with pytest.raises(ConfigError, match="moves no parameter"):
        plan_of(foundation, "freeze", "frozen=node_embedding,interactions,products,readouts")


def test_multihead_has_a_second_head_of_readouts(foundation):
    plan = plan_of(foundation, "multihead")
    assert {t.block.parameter.split(".")[0] for t in plan.replay_head} == {"readouts"}
    assert "a second head of" in str(plan)


def test_alpha_over_rank_scales_low_rank_changes(foundation):
    plan = plan_of(foundation, "lora", "rank=2", "alpha=6")
    assert {term.scale for term in plan.terms if term.rank} == {3.0}
