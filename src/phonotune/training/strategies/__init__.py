"""The strategies by name, in the order of reports; a new one is a new file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from phonotune.errors import unknown_name
from phonotune.training.plan import Strategy
from phonotune.training.strategies import (
    delta,
    equitrain,
    freeze,
    lora,
    multihead,
    scratch,
    transfer,
)

STRATEGIES: Final[Mapping[str, Strategy]] = {
    "lora": lora.STRATEGY,
    "equitrain": equitrain.STRATEGY,
    "delta": delta.STRATEGY,
    "transfer": transfer.STRATEGY,
    "multihead": multihead.STRATEGY,
    "freeze": freeze.STRATEGY,
    "scratch": scratch.STRATEGY,
}


def find_strategy(name: str) -> Strategy:
    """Return a strategy; ConfigError with the list of names if there is none of that name."""
    try:
        return STRATEGIES[name]
    except KeyError:
        raise unknown_name("strategy", name, STRATEGIES) from None
