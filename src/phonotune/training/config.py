"""The configuration of a fine-tuning: the options of one strategy, chosen by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    RootModel,
    SerializeAsAny,
    ValidationError,
    field_validator,
)

from phonotune.errors import ConfigError, invalid_value, unknown_name
from phonotune.part import PlainContent
from phonotune.training.options import Options
from phonotune.training.strategies import STRATEGIES, find_strategy

SYNONYMS: Final = {
    "learning_rate": "lr",
    "epochs": "max_epochs",
    "wd": "weight_decay",
    "r": "rank",
}
"""What users of other tools type, by our key."""


class FineTuneConfig(RootModel[SerializeAsAny[Options]]):
    """Options of one strategy, e.g. ``FineTuneConfig(strategy="lora", rank=8)``.

    ``config.root`` holds the strategy's options; missing keys take the strategy's defaults. A
    strategy that the registry does not know raises ConfigError.
    """

    model_config = ConfigDict(frozen=True)

    as_dict: ClassVar[Any] = PlainContent()

    @field_validator("root", mode="plain")
    @classmethod
    def _options_of_the_strategy(cls, given: Any) -> Options:
        if isinstance(given, Options):
            return given
        if not isinstance(given, Mapping) or "strategy" not in given:
            raise ValueError(f"strategy is missing; it is one of {', '.join(sorted(STRATEGIES))}")
        return find_strategy(given["strategy"]).options.model_validate(given)

    @property
    def strategy(self) -> str:
        """Name of the strategy."""
        return self.root.strategy

    def resolved(self) -> dict[str, Any]:
        """Return every option as JSON, as stored with the model."""
        return self.root.model_dump(mode="json")


def build_config(strategy: str, options: Mapping[str, Any] | None = None) -> FineTuneConfig:
    """Build a configuration from a strategy's name and its options.

    Parameters
    ----------
    strategy
        Name of the strategy.
    options
        Value by key, nested or with dots: ``{"rank": 8, "loss": {"forces": 10}}`` and
        ``{"rank": 8, "loss.forces": 10}`` are the same. What is left out has the strategy's default.

    Raises
    ------
    ConfigError
        An unknown strategy or key (with the nearest one), or a value that is not allowed.
    """
    fields = find_strategy(strategy).options
    allowed = option_keys(fields)
    values: dict[str, Any] = {"strategy": strategy}
    for key, value in _flat(options or {}):
        if key not in allowed:
            if (meant := SYNONYMS.get(key)) in allowed:
                listed = ", ".join(sorted(allowed))
                raise ConfigError(
                    f"Unknown key {key!r}. Did you mean {meant!r}? Allowed: {listed}."
                )
            raise unknown_name("key", key, allowed)
        *groups, name = key.split(".")
        inner = values
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = value
    try:
        return FineTuneConfig(fields.model_validate(values))
    except ValidationError as error:
        raise ConfigError(f"{invalid_value(error)} Change the settings.") from error


def parse_overrides(strategy: str, overrides: Sequence[str] = ()) -> FineTuneConfig:
    """Build a configuration from a strategy's name and the ``KEY=VALUE`` texts of a command line.

    Parameters
    ----------
    strategy
        Name of the strategy.
    overrides
        For example ``["loss.forces=10", "max_epochs=50"]``; ``none`` switches an option off. A key
        may begin with the strategy: ``lora.rank=8``.

    Raises
    ------
    ConfigError
        As :func:`build_config`; a key that begins with another strategy.
    """
    options: dict[str, str | None] = {}
    for override in overrides:
        key, separator, text = (part.strip() for part in override.partition("="))
        if not separator:
            raise ConfigError(f"Override {override!r} is not KEY=VALUE, for example max_epochs=50.")
        prefix, _, rest = key.partition(".")
        if prefix in STRATEGIES and prefix != strategy:
            raise ConfigError(
                f"{key!r} is for the strategy {prefix!r}, but the strategy is {strategy!r}. Choose "
                f"{prefix!r} or leave the key out."
            )
        options[rest if prefix == strategy else key] = None if text.lower() == "none" else text
    return build_config(strategy, options)


def option_keys(options: type[BaseModel], prefix: str = "") -> tuple[str, ...]:
    """Return every key of a strategy's options, nested ones with dots: what ``--set`` takes."""
    keys: list[str] = []
    for name, field in options.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys.extend(option_keys(field.annotation, f"{prefix}{name}."))
        elif name != "strategy":
            keys.append(prefix + name)
    return tuple(keys)


def describe_keys() -> str:
    """Return the keys that ``--set`` takes, in words: those of all strategies, then of single ones."""
    keys = {name: option_keys(row.options) for name, row in STRATEGIES.items()}
    shared = [key for key in option_keys(Options) if all(key in own for own in keys.values())]
    single = {name: [key for key in own if key not in shared] for name, own in keys.items()}
    rest = (f"{name}: {', '.join(own)}" for name, own in single.items() if own)
    return "; ".join([", ".join(shared), *rest])


def _flat(options: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
