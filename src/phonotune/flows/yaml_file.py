"""The one reader of YAML files that people write: mappings, or one sentence about what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phonotune.errors import ConfigError


def read_mapping(file: Path, what: str, advice: str) -> dict[Any, Any]:
    """Return the mapping in a YAML file; an empty file is an empty mapping.

    Parameters
    ----------
    file
        The file; ``~`` is the home folder.
    what
        What the file is, for the message: ``"configuration"``.
    advice
        What to write instead, or how to get an example, as a sentence.

    Raises
    ------
    ConfigError
        The file cannot be read, is not YAML, or holds something else.
    """
    import yaml

    try:
        content = yaml.safe_load(file.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"The {what} {file} cannot be read: {error.strerror}. {advice}"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"The {what} {file} is not YAML: {' '.join(str(error).split())}."
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"The {what} {file} holds a {type(content).__name__}; a mapping is needed. {advice}"
        )
    return content
