import json
import subprocess
import sys

import pytest
from monty.json import MontyDecoder, MontyEncoder
from pydantic import ValidationError

from phonotune.errors import ConfigError
from phonotune.training.config import FineTuneConfig, build_config, parse_overrides
from phonotune.training.strategies import STRATEGIES


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_needs_no_overrides(strategy):
    assert parse_overrides(strategy).strategy == strategy


def test_overrides_reach_the_options_with_their_types():
    options = parse_overrides(
        "lora", ["loss.forces=10", "max_epochs=7", "rank=8", "dtype=float32", "clip_norm=none"]
    ).root
    assert (options.loss.forces, options.max_epochs, options.rank) == (10.0, 7, 8)
    assert (options.dtype, options.clip_norm) == ("float32", None)


def test_overrides_leave_other_defaults_of_the_strategy():
    options = parse_overrides("equitrain", ["recipe=paper", "loss.energy=1"]).root
    assert (options.lr, options.weight_decay, options.max_epochs) == (0.01, 10.0, 200)
    assert (options.loss.energy, options.loss.forces, options.loss.stress) == (1.0, 100.0, 1000.0)


def test_a_misspelt_key_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"Unknown key 'los.forces'. Did you mean 'loss.forces'"):
        parse_overrides("lora", ["los.forces=1"])


def test_a_key_of_another_strategy_is_refused():
    with pytest.raises(ConfigError, match="Unknown key 'rank'"):
        parse_overrides("equitrain", ["rank=4"])


def test_an_unknown_strategy_is_refused_with_the_list():
    with pytest.raises(ConfigError, match=r"Did you mean 'lora'.*Allowed: delta, equitrain"):
        parse_overrides("loar")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rank=0", "rank = '0' is not allowed"),
        ("loss.forces=-1", "loss.forces = '-1' is not allowed"),
        ("lr=fast", "lr = 'fast' is not allowed"),
        ("loss=3", "Unknown key 'loss'"),
        ("rank", "is not KEY=VALUE"),
    ],
)
def test_a_wrong_value_names_its_key(override, message):
    with pytest.raises(ConfigError, match=message):
        parse_overrides("lora", [override])


def test_configs_are_frozen_and_refuse_unknown_keys():
    config = FineTuneConfig(strategy="lora", rank=3)
    with pytest.raises(ValidationError):
        config.root.rank = 4
    with pytest.raises(ValidationError):
        FineTuneConfig(strategy="lora", rnak=3)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_config_survives_the_store(strategy):
    config = parse_overrides(strategy, ["max_epochs=3"])
    text = json.dumps(config, cls=MontyEncoder)
    assert json.loads(text, cls=MontyDecoder) == config
    assert FineTuneConfig.model_validate(config.resolved()) == config


def test_configs_are_read_without_torch():
    code = "import sys, phonotune.training.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.parametrize(("typed", "meant"), [("learning_rate", "lr"), ("epochs", "max_epochs")])
def test_names_of_other_tools_are_answered_with_ours(typed, meant):
    with pytest.raises(ConfigError, match=f"Did you mean '{meant}'"):
        parse_overrides("lora", [f"{typed}=1"])


def test_a_recipe_sets_defaults_and_what_is_given_goes_before_it():
    options = parse_overrides("transfer", ["recipe=mace", "lr=0.5"]).root
    assert (options.lr, options.ema, options.clip_norm) == (0.5, 0.999, 1.0)
    assert parse_overrides("transfer", ["recipe=paper"]).root.weight_decay == 5e-3


def test_nested_keys_beside_a_recipe_leave_its_other_numbers():
    options = parse_overrides("multihead", ["recipe=mace", "replay.batch_size=3"]).root
    assert (options.replay.frames, options.replay.batch_size) == (10_000, 3)
    assert parse_overrides("multihead", ["replay.batch_size=3"]).root.replay.frames == 100


def test_an_unknown_recipe_is_refused_with_the_list():
    with pytest.raises(ConfigError, match=r"recipe 'papper' is unknown; .* default, paper"):
        parse_overrides("equitrain", ["recipe=papper"])


def test_a_resolved_configuration_stays_what_it_is():
    config = parse_overrides("transfer", ["recipe=paper", "lr=0.1"])
    assert FineTuneConfig.model_validate(config.resolved()) == config


def test_a_key_may_begin_with_its_strategy():
    assert parse_overrides("lora", ["lora.rank=8", "lora.loss.forces=3"]).root.rank == 8


def test_a_key_of_a_strategy_that_is_not_trained_is_refused():
    with pytest.raises(
        ConfigError, match=r"'delta\.lr' is for the strategy 'delta', but .* 'lora'"
    ):
        parse_overrides("lora", ["delta.lr=0.1"])


def test_low_rank_factors_have_no_decay_of_the_weights():
    with pytest.raises(ConfigError, match="needs a full change"):
        parse_overrides("lora", ["decay=weights"])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_recipe_of_a_strategy_is_valid(strategy):
    for recipe in STRATEGIES[strategy].options.RECIPES:
        assert parse_overrides(strategy, [f"recipe={recipe}"]).root.recipe == recipe


def test_a_mapping_is_read_with_its_types_nested_or_with_dots():
    nested = build_config("lora", {"rank": 8, "loss": {"forces": 10}, "clip_norm": None})
    assert nested == build_config("lora", {"rank": 8, "loss.forces": 10.0, "clip_norm": None})
    assert nested == parse_overrides("lora", ["rank=8", "loss.forces=10", "clip_norm=none"])
    with pytest.raises(ConfigError, match="Unknown key 'loss'"):
        build_config("lora", {"loss": 3})
    with pytest.raises(ConfigError, match=r"loss.forces = -1 is not allowed"):
        build_config("lora", {"loss": {"forces": -1}})


def test_a_config_without_a_strategy_is_refused_with_the_list():
    with pytest.raises(ValidationError, match="strategy is missing; it is one of delta, equitrain"):
        FineTuneConfig.model_validate({"max_epochs": 3})
    with pytest.raises(ConfigError, match="Did you mean 'lora'"):
        FineTuneConfig(strategy="loar")
