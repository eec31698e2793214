"""Laws over all Documents: a unit on every number, frozen, no NaN, small."""

import importlib
import pkgutil
import typing

import pytest
from pydantic import ValidationError

import phonotune.schemas
from phonotune.schemas.base import Document, Part, Source, hash_json
from phonotune.units import unit_of


def all_parts():
    for module in pkgutil.iter_modules(phonotune.schemas.__path__):
        importlib.import_module(f"phonotune.schemas.{module.name}")
    found, queue = [], [Part]
    while queue:
        for child in queue.pop().__subclasses__():
            queue.append(child)
            if child.__module__.startswith("phonotune.schemas"):
                found.append(child)
    return sorted(set(found), key=lambda part: part.__name__)


def bare_floats(annotation):
    """Yield every float in an annotation that carries no unit."""
    if unit_of(annotation):
        return
    if annotation is float:
        yield annotation
    for argument in typing.get_args(annotation):
        yield from bare_floats(argument)


@pytest.mark.parametrize("part", all_parts(), ids=lambda part: part.__name__)
def test_every_number_has_a_unit(part):
    hints = typing.get_type_hints(part, include_extras=True)
    without = [
        name
        for name, annotation in hints.items()
        if name in part.model_fields
        and name not in {"q", "primitive_matrix"}
        and list(bare_floats(annotation))
    ]
    assert not without


@pytest.mark.parametrize("part", all_parts(), ids=lambda part: part.__name__)
def test_every_part_is_frozen_and_refuses_unknown_keys(part):
    assert part.model_config["frozen"]
    assert part.model_config["extra"] == "forbid"
    assert part.model_config["allow_inf_nan"] is False


def test_kinds_are_unique():
    kinds = [
        part.model_fields["kind"].default
        for part in all_parts()
        if issubclass(part, Document) and isinstance(part.model_fields["kind"].default, str)
    ]
    assert len(kinds) == len(set(kinds)) >= 9


def test_an_unknown_key_is_refused():
    with pytest.raises(ValidationError, match="colour"):
        Source(role="reference", evaluator="vasp", colour="red")


def test_the_hash_does_not_depend_on_key_order():
    assert hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1})
    assert hash_json({"a": 1}) != hash_json({"a": 2})
