"""The one reader of YAML files that people write: mappings, or one sentence about what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phonotune.errors import ConfigError

Lines = dict[tuple[Any, ...], int]
"""Line by the keys and positions that lead to it."""


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
    return read_with_lines(file, what, advice)[0]


def read_with_lines(file: Path, what: str, advice: str) -> tuple[dict[Any, Any], Lines]:
    """Return the mapping in a YAML file as :func:`read_mapping` does, and the line of everything in it.

    Lines count from 1 and are found by the keys and positions that lead there: ``("structures", 2, "a")``.

    Raises
    ------
    ConfigError
        As :func:`read_mapping`; also a key that stands twice in one mapping.
    """
    import yaml

    lines: Lines = {(): 1}
    try:
        loader = yaml.SafeLoader(file.expanduser().read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is not None:
            _note_lines(node, (), lines, file)
        content = None if node is None else loader.construct_document(node)
    except OSError as error:
        raise ConfigError(
            f"The {what} {file} cannot be read: {error.strerror}. {advice}"
        ) from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"The {what} {file} is not YAML: {' '.join(str(error).split())}."
        ) from error
    if content is None:
        return {}, lines
    if not isinstance(content, dict):
        raise ConfigError(
            f"The {what} {file} holds a {type(content).__name__}; a mapping is needed. {advice}"
        )
    return content, lines


def _note_lines(node: Any, path: tuple[Any, ...], lines: Lines, file: Path) -> None:
    """Write down the line of a node and of all below it; refuse a key that stands twice."""
    import yaml

    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*path, index), lines, file)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, key.value)
            if inner in lines and key.value != "<<":
                raise ConfigError(
                    f"{key.value!r} stands twice in {file}: in line {lines[inner]} and in line "
                    f"{key.start_mark.line + 1}. Keep one of them."
                )
            lines[inner] = key.start_mark.line + 1
            _note_lines(value, inner, lines, file)
