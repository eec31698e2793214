"""Base of everything that is stored: frozen, no unknown keys, no NaN."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from monty.json import jsanitize
from pydantic import BaseModel, ConfigDict


class PlainContent:
    """``as_dict`` of instances, which monty asks for; FireWorks turns what has none into text.

    Not of classes: monty would call it on a job's output schema.
    """

    def __get__(self, instance: BaseModel | None, owner: type) -> Callable[[], dict[str, Any]]:
        if instance is None:
            raise AttributeError("as_dict")
        return partial(jsanitize, instance, strict=True)


class Part(BaseModel):
    """A frozen piece of a Document, or settings; unknown keys, NaN and infinity are refused."""

    content_version: ClassVar[int] = 1
    """Raised when a default or the mathematics behind the class changes (:mod:`phonotune.schemas.content`)."""
    uncounted_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that say nothing about what a job computes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True
    )

    as_dict: ClassVar[Any] = PlainContent()
