"""Numbers of a Document as columns of a table: where they stand, their words, units and decimals."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from phonotune.dotted import load
from phonotune.units import unit_of

ABSENT: Final = "–"
"""What stands in a table where there is no number."""


@dataclass(frozen=True)
class Column:
    """One number of a Document in a table.

    Attributes
    ----------
    path
        Dotted path of the field: ``thermal_300.entropy``; properties of a class count as fields.
    label
        Words for people, without the unit.
    digits
        Decimals.
    exponent
        The number is shown in units of ten to this power: -6 shows 3e-5 1/K as 30.0 in 1e-6/K.
    field
        Field of :class:`phonotune.schemas.comparison.Properties` that holds it in a comparison; empty:
        ``others``, by kind and path.
    deviation
        Field of :class:`phonotune.schemas.comparison.Deviations` with its deviation in percent; empty:
        ``others``, by kind and path.
    brief
        Whether the short table of a comparison shows it.
    owner
        Dotted path of the class that ``path`` starts from; the row fills it in.
    """

    path: str
    label: str
    digits: int = 2
    exponent: int = 0
    field: str = ""
    deviation: str = ""
    brief: bool = False
    owner: str = ""

    @property
    def unit(self) -> str:
        """Unit, from the type of the field; empty for a pure number."""
        symbol = unit_at(load(self.owner), self.path)
        if not self.exponent:
            return symbol
        return f"1e{self.exponent}{symbol.removeprefix('1')}"

    @property
    def heading(self) -> str:
        """Label and unit: ``bulk modulus, GPa``."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def value(self, part: Any) -> Any:
        """Return the value in a Document or a part of one; None where anything on the way is None."""
        return value_at(part, self.path)

    def number(self, value: float | None) -> str:
        """Return a value of this column as text without its unit; a dash for None, never ``-0.0``."""
        if value is None:
            return ABSENT
        return f"{round(value / 10**self.exponent, self.digits) + 0.0:.{self.digits}f}"

    def text(self, part: Any) -> str:
        """Return the value in a Document with its unit, text and whole numbers as they are."""
        value = self.value(part)
        if not isinstance(value, float):
            return ABSENT if value is None else str(value)
        return f"{self.number(value)} {self.unit}".rstrip()


def value_at(part: Any, path: str) -> Any:
    """Return the value at a dotted path; None where anything on the way is None or a key is missing."""
    names = path.split(".")
    for index, name in enumerate(names):
        if part is None:
            return None
        if isinstance(part, Mapping):
            return part.get(".".join(names[index:]))
        part = getattr(part, name)
    return part


def unit_at(annotation: Any, path: str) -> str:
    """Return the unit of the number at a dotted path of a class; empty for a pure number or text.

    Raises
    ------
    AttributeError
        The class has no such field.
    """
    name, _, rest = path.partition(".")
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    for choice in typing.get_args(annotation) if is_union else (annotation,):
        if typing.get_origin(choice) is dict:
            return unit_at(typing.get_args(choice)[1], "")
        if not path and (symbol := unit_of(choice)) is not None:
            return "" if symbol == "1" else symbol.replace("^3", "³")
        if path and isinstance(choice, type):
            owner = choice if name in typing.get_type_hints(choice) else getattr(choice, name).fget
            hints = typing.get_type_hints(owner, include_extras=True)
            return unit_at(hints.get(name, hints.get("return")), rest)
    if path:
        raise AttributeError(f"{annotation!r} has no field {path!r}")
    return ""
