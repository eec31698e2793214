"""The configuration of a fine-tuning: the strategies' options, a union tagged by ``strategy``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from phonotune.errors import ConfigError, unknown_name
from phonotune.schemas.base import PlainContent
from phonotune.training.strategies import STRATEGIES, find_strategy
from phonotune.training.strategies.delta import DeltaOptions
from phonotune.training.strategies.equitrain import EquitrainOptions
from phonotune.training.strategies.freeze import FreezeOptions
from phonotune.training.strategies.lora import LoraOptions
from phonotune.training.strategies.multihead import MultiheadOptions
from phonotune.training.strategies.scratch import ScratchOptions
from phonotune.training.strategies.transfer import TransferOptions

AnyOptions = Annotated[
    ScratchOptions
    | TransferOptions
    | FreezeOptions
    | MultiheadOptions
    | EquitrainOptions
    | DeltaOptions
    | LoraOptions,
    Field(discriminator="strategy"),
]

SYNONYMS: Final = {
    "learning_rate": "lr",
    "epochs": "max_epochs",
    "wd": "weight_decay",
    "r": "rank",
}
"""What users of other tools type, by our key."""


class FineTuneConfig(RootModel[AnyOptions]):
    """Options of one strategy, e.g. ``FineTuneConfig(strategy="lora", rank=8)``.

    ``config.root`` holds the strategy's options; missing keys take the strategy's defaults.
    """

    model_config = ConfigDict(frozen=True)

    as_dict: ClassVar[Any] = PlainContent()

    @property
    def strategy(self) -> str:
        """Name of the strategy."""
        return self.root.strategy

    def resolved(self) -> dict[str, Any]:
        """Return every option as JSON, as stored with the model."""
        return self.root.model_dump(mode="json")


def parse_overrides(
    strategy: str, overrides: Sequence[str] = (), beside: Sequence[str] = ()
) -> FineTuneConfig:
    """Build a configuration from a strategy's name and ``key=value`` texts.

    Parameters
    ----------
    strategy
        Name of the strategy.
    overrides
        For example ``["loss.forces=10", "max_epochs=50"]``; ``none`` switches an option off. A key
        that begins with a strategy, ``lora.rank=8``, is for that strategy alone.
    beside
        Strategies that run beside this one; their own keys are left to them.

    Raises
    ------
    ConfigError
        An unknown strategy or key (with the nearest one), a key of a strategy that does not run,
        or a value that is not allowed.
    """
    options = find_strategy(strategy).options
    allowed = list(_keys(options))
    values: dict[str, Any] = {"strategy": strategy}
    for override in overrides:
        key, separator, text = (part.strip() for part in override.partition("="))
        if not separator:
            raise ConfigError(f"Override {override!r} is no KEY=VALUE, for example max_epochs=50.")
        prefix, _, rest = key.partition(".")
        if prefix in STRATEGIES and prefix != strategy:
            if prefix not in beside:
                raise _not_run(key, prefix, strategy, beside)
            continue
        key = rest if prefix == strategy else key
        if key not in allowed:
            raise _unknown_key(key, allowed)
        _put(values, key.split("."), None if text.lower() == "none" else text)
    try:
        return FineTuneConfig.model_validate(values)
    except ValidationError as error:
        raise _config_error(error) from error


def option_keys(strategy: str) -> tuple[str, ...]:
    """Return every key that ``--set`` takes for a strategy, nested ones with dots."""
    return tuple(_keys(find_strategy(strategy).options))


def _keys(options: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, field in options.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
        elif name != "strategy":
            yield prefix + name


def _unknown_key(key: str, allowed: Sequence[str]) -> ConfigError:
    if (meant := SYNONYMS.get(key)) in allowed:
        return ConfigError(
            f"Unknown key {key!r}. Did you mean {meant!r}? Allowed: {', '.join(sorted(allowed))}."
        )
    return unknown_name("key", key, allowed)


def _not_run(key: str, prefix: str, strategy: str, beside: Sequence[str]) -> ConfigError:
    running = ", ".join(dict.fromkeys((strategy, *beside)))
    return ConfigError(
        f"{key!r} is for the strategy {prefix!r}, which does not run here ({running} does). Add the "
        "strategy or leave the key out."
    )


def _put(values: dict[str, Any], path: Sequence[str], value: str | None) -> None:
    *groups, name = path
    for group in groups:
        values = values.setdefault(group, {})
    values[name] = value


def _config_error(error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"][1:])
    if not key:
        return ConfigError(f"{first['msg'].removeprefix('Value error, ')}. Change the settings.")
    wanted = first["msg"].removeprefix("Input should be ").partition(",")[0]
    return ConfigError(f"{key}={first['input']} is not allowed: it must be {wanted}.")
