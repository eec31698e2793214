"""What a user asks for, checked and turned into database criteria; no user's text becomes an operator."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from phonotune.errors import InputError, unknown_name
from phonotune.schemas.kinds import KINDS, find_kind
from phonotune.store.documents import PREFIX, kinds_with, scalar_fields

Bound = float | None
Range = tuple[Bound, Bound] | bool
"""Lowest and highest value (None: open), both included; or the truth value that a field must have."""
Criteria = dict[str, Any]

_PLACES: Final = (("source.role", "source.model_id"), ("model.strategy", "model.model_id"))
"""Where strategy and model stand: in a property, and in a training."""
_ID: Final = re.compile(r"[0-9a-fA-F][0-9a-fA-F-]{3,63}")


@dataclass(frozen=True)
class Wanted:
    """A query in a user's words; see :meth:`phonotune.store.ResultStore.query`."""

    formula: str | None = None
    strategy: str | None = None
    kind: str | None = None
    material_id: str | None = None
    model_id: str | None = None
    since: date | str | None = None
    until: date | str | None = None
    where: Mapping[str, Range] | None = None

    @property
    def is_everything(self) -> bool:
        """True if nothing narrows it down."""
        return self == Wanted(where=self.where) and not self.where

    def criteria(self) -> list[Criteria]:
        """Return criteria, one for each place where strategy and model may stand; their results add up.

        Separate criteria instead of one ``$or``: each is answered from an index. What narrows most comes
        first, since a simple server takes the index of the first key.

        Raises
        ------
        ConfigError
            A kind or a field that does not exist.
        InputError
            A value that is not text (a query operator, for example), not a number or not a time.
        """
        strategy, model = _text("strategy", self.strategy), _text("model_id", self.model_id)
        named = _equal("material_id", self.material_id) | _equal("formula", self.formula)
        narrowed = named | dict(
            _range(name, allowed) for name, allowed in (self.where or {}).items()
        )
        bounds = {}
        if self.since is not None:
            bounds["$gte"] = _moment("since", self.since, 0)
        if self.until is not None:
            bounds["$lt"] = _moment("until", self.until, 1)
        if bounds:
            narrowed["completed_at"] = bounds
        found = []
        for kind in self._kinds():
            wanted = narrowed | _where_given("kind", kind)
            if strategy is None and model is None:
                found.append(wanted)
                continue
            for role, identity in _PLACES if kind is None else _PLACES[kind == "training" :][:1]:
                by_model = _where_given(identity, model)
                found.append(by_model | wanted | _where_given(role, strategy))
        return found

    def _kinds(self) -> list[str | None]:
        """Return the kind that is asked for, or those that have the fields asked for; None: any."""
        fields = [str(name).removeprefix(PREFIX) for name in self.where or {}]
        if self.kind is None and not fields:
            return [None]
        if self.kind is not None:
            find_kind(_text("kind", self.kind) or "")
        asked = sorted(KINDS) if self.kind is None else [self.kind]
        able: list[str | None] = [
            kind for kind in asked if all(kind in kinds_with(name) for name in fields)
        ]
        if not able:
            who = (
                "No document has" if self.kind is None else f"A {self.kind} document does not have"
            )
            raise InputError(f"{who} all of {', '.join(fields)}. Ask for them one by one.")
        return able


def _where_given(name: str, value: str | None) -> Criteria:
    return {} if value is None else {PREFIX + name: value}


def _equal(name: str, value: str | None) -> Criteria:
    return _where_given(name, _text(name, value))


def _text(name: str, value: Any) -> str | None:
    """Return a value that is text or None; anything else could carry an operator."""
    if value is None or (isinstance(value, str) and not value.startswith("$")):
        return value
    found = repr(value) if isinstance(value, str) else type(value).__name__
    raise InputError(
        f"A query value must be text, not an operator; found {found} for {name!r}. "
        "Give a plain name, for example formula='BaTiO3'."
    )


def _moment(name: str, value: Any, extra_days: int) -> str:
    """Return a time as jobflow writes it: ISO, local; a date means its first moment, or the next day's."""
    is_day = isinstance(value, str) and len(value) <= len("2026-11-22")
    try:
        if isinstance(value, date) and not isinstance(value, datetime):
            value, is_day = value.isoformat(), True
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{name} must be a date or a time, found {value!r}. Write it as 2026-11-22 or "
            "2026-11-22T18:00."
        ) from error
    if moment.tzinfo is not None:
        moment = moment.astimezone().replace(tzinfo=None)
    return (moment + timedelta(days=extra_days if is_day else 0)).isoformat()


def _range(name: Any, allowed: Any) -> tuple[str, Any]:
    """Return the full name of a number or truth value of a Document, and the criterion of its range."""
    fields = {name for name, kinds in scalar_fields().items() if kinds & {int, float, bool}}
    short = str(name).removeprefix(PREFIX)
    if not isinstance(name, str) or short not in fields:
        raise unknown_name("field", short, fields)
    if isinstance(allowed, bool):
        return PREFIX + short, allowed
    if not isinstance(allowed, tuple | list) or len(allowed) != 2:
        raise InputError(
            f"The range of {name!r} must be (lowest, highest), None where it is open, found "
            f"{allowed!r}. For example (100, None)."
        )
    bounds: dict[str, float] = {}
    for operator, bound in zip(("$gte", "$lte"), allowed, strict=True):
        if bound is None:
            continue
        is_number = isinstance(bound, int | float) and not isinstance(bound, bool)
        if not is_number or not math.isfinite(bound):
            raise InputError(f"A bound of {name!r} must be a finite number, found {bound!r}.")
        bounds[operator] = bound
    if not bounds or bounds.get("$gte", -math.inf) > bounds.get("$lte", math.inf):
        raise InputError(
            f"The range {tuple(allowed)!r} of {name!r} holds no number, or every number. Give at least "
            "one bound, the lower one first."
        )
    return PREFIX + short, bounds


def with_kinds(criteria: Criteria) -> Criteria:
    """Return criteria that leave out what is not a Document, where nothing else narrows them down.

    Beside a formula or another field of a Document, the list of kinds would only keep a server from
    using the index of that field.
    """
    if any(key.startswith(PREFIX) or key == "uuid" for key in criteria):
        return criteria
    return criteria | {f"{PREFIX}kind": {"$in": sorted(KINDS)}}


def id_criteria(text: str) -> list[Criteria]:
    """Return the criteria by which a result is named: its uuid, model_id or dataset_hash, or a beginning.

    Parameters
    ----------
    text
        At least four hexadecimal digits, with the hyphens of a uuid.

    Raises
    ------
    InputError
        The text is not such an id.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise InputError(
            f"{text!r} is not an id. Give the uuid of a result, a model_id or a dataset_hash, or at "
            "least the first four digits of one; `phonotune results` lists them."
        )
    begins = {"$gte": text.lower(), "$lt": text.lower() + "~"}
    return [{key: begins} for key in ("uuid", "output.model.model_id", "output.dataset_hash")]
