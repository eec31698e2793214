"""What a reader left behind or changed, said once per kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Note:
    """One kind of thing that was left behind or changed.

    Attributes
    ----------
    what
        A sentence without its full stop, the same for everything of the kind.
    first
        Where it was met first: a file, or a frame or step of one.
    count
        How often it was met.
    """

    what: str
    first: str
    count: int = 1

    def __str__(self) -> str:
        times = f"{self.count} times, first in " if self.count > 1 else ""
        return f"{self.what} ({times}{self.first})."


class Notes(dict[str, Note]):
    """Notes by their sentence, in the order in which they were met first."""

    def add(self, what: str, origin: str, count: int = 1) -> None:
        """Count one more thing of a kind; parameters as in :class:`Note`."""
        if what in self:
            self[what].count += count
        else:
            self[what] = Note(what, origin, count)
