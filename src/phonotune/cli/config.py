"""The configuration file of `run`: its keys are the fields of PhonotuneMaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from phonotune.errors import ConfigError, invalid_value, unknown_name
from phonotune.flows.yaml_file import read_mapping

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.cli.console import Session
    from phonotune.cli.options import Masses
    from phonotune.flows.pipeline import PhonotuneMaker

_NOT_IN_A_FILE: Final = frozenset({"name", "label_maker"})
NO_STRATEGY: Final = "none"
_ADVICE: Final = "Write one like `foundation: mini`."


def read_task(
    structures: Sequence[Path], config: Path | None, masses: Masses, out: Session, **options: Any
) -> tuple[dict[str, Structure], PhonotuneMaker]:
    """Read the crystals of a command, by the paths they came from, and build its Maker.

    ``options`` are those of :func:`build_maker`.

    Raises
    ------
    StructureError
        A file holds no usable structure.
    ConfigError
        As :func:`build_maker`.
    """
    from phonotune.cli.crystal import read_masses

    crystals = {str(path): read_masses(path, masses, out) for path in structures}
    return crystals, build_maker(config, options)


def build_maker(file: Path | None, options: Mapping[str, Any]) -> PhonotuneMaker:
    """Build the Maker of a run; what the command line gives replaces what the file says.

    Parameters
    ----------
    file
        YAML with fields of PhonotuneMaker, nested settings as mappings; None for defaults.
    options
        Fields given on the command line; None and empty lists count as not given. ``label_preset`` is the
        field ``preset`` of ``vasp``.

    Raises
    ------
    ConfigError
        The file is missing or no mapping, a key is unknown (the nearest is named), a value is not
        allowed.
    """
    content = {} if file is None else read_mapping(file, "configuration", _ADVICE)
    return maker_of(content, options, file)


def maker_of(
    content: Mapping[Any, Any],
    options: Mapping[str, Any],
    file: Path | None,
    extra: Sequence[str] = (),
) -> PhonotuneMaker:
    """Build a Maker of what ``file`` holds; see :func:`build_maker`.

    ``extra`` are keys that the file may have besides; None as ``file`` leaves its name out of messages.
    """
    from phonotune.flows.pipeline import PhonotuneMaker
    from phonotune.jobs.vasp.presets import PRESETS

    default, options = PhonotuneMaker(), dict(options)
    preset = options.pop("label_preset", None)
    if preset is not None:
        if preset not in PRESETS:
            raise unknown_name("label preset", preset, PRESETS)
        given = content.get("vasp", {})
        content = {
            **content,
            "vasp": {**given, "preset": preset} if isinstance(given, dict) else given,
        }
    allowed = [field.name for field in fields(default) if field.name not in _NOT_IN_A_FILE]
    where = "" if file is None else f" in {file}"
    chosen: dict[str, Any] = {}
    for key, value in content.items():
        if key == "overrides":
            raise ConfigError(
                f"overrides{where} is now options, by strategy: write `options: {{lora: "
                "{max_epochs: 50}}` instead of `overrides: [max_epochs=50]`."
            )
        if key not in allowed:
            raise unknown_name(f"key{where}", str(key), [*allowed, *extra])
        chosen[key] = _checked(str(key), value, getattr(default, key), where)
    chosen |= {key: value for key, value in options.items() if value not in (None, [])}
    if chosen.get("strategies") == [NO_STRATEGY]:
        chosen["strategies"] = []
    return PhonotuneMaker(**chosen)


def _checked(key: str, value: Any, default: Any, where: str) -> Any:
    """Return a value of the type of the field's default."""
    from pydantic import BaseModel, TypeAdapter, ValidationError

    if key == "born" and value is False:
        value = "off"  # which YAML reads as false
    whole: dict[type, Any] = {list: list[str], dict: dict[str, dict[str, Any]]}
    before = f"{where.removeprefix(' in ')}: " if where else ""
    expected: Any = str if key == "head" else whole.get(type(default), type(default))
    if isinstance(default, BaseModel) and isinstance(value, dict):
        for name in value:
            if name not in type(default).model_fields:
                raise unknown_name(f"key of {key}{where}", str(name), type(default).model_fields)
    try:
        return TypeAdapter(expected).validate_python(
            value, strict=not isinstance(default, BaseModel)
        )
    except ConfigError as error:
        raise ConfigError(f"{before}{error}") from error
    except ValidationError as error:
        why = invalid_value(error, lambda path: ".".join([key, *path]))
        raise ConfigError(f"{before}{why}") from error
