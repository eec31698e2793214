"""Many items a few at a time: rows of one query, frames of one Blob, structures of one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def chunked(
    items: Iterable[T],
    most: int | None = None,
    *,
    size: Callable[[T], float] | None = None,
    limit: float | None = None,
) -> Iterator[list[T]]:
    """Yield all items in order, in lists that are never empty; the items are taken one list at a time.

    Parameters
    ----------
    items
        The items.
    most
        Most items in a list; None: any number.
    size
        Size of an item, for example its bytes or atoms.
    limit
        Largest sum of the sizes in a list; an item that is larger is a list of its own. None: any.
    """
    chunk: list[T] = []
    room = limit or 0.0
    for item in items:
        own = 0.0 if size is None or limit is None else size(item)
        if chunk and (len(chunk) == most or (limit is not None and own > room)):
            yield chunk
            chunk, room = [], limit or 0.0
        chunk.append(item)
        room -= own
    if chunk:
        yield chunk
