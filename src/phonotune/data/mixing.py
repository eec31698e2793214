"""One dataset, one protocol: labels of different set-ups differ by more than noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from phonotune.data.statistics import UNKNOWN, protocol_name
from phonotune.errors import FramesError

if TYPE_CHECKING:
    from phonotune.schemas.dataset import Frame

UNSET: Final = "unset"


class ProtocolGuard:
    """Looks at frames one by one and refuses the first of a second protocol.

    Frames of an unknown protocol are a protocol of their own: nobody knows that they agree with
    others.

    Parameters
    ----------
    allow_mixed
        Count the protocols, but refuse none.
    settings
        By name of a protocol what is in it, for the message.
    """

    def __init__(
        self,
        allow_mixed: bool = False,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.allow_mixed = allow_mixed
        self.counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._settings = {} if settings is None else settings

    @property
    def mixed(self) -> bool:
        """True if more than one protocol was seen."""
        return len(self.counts) > 1

    def add(self, frame: Frame) -> None:
        """Take a frame into account.

        Raises
        ------
        FramesError
            It is of another protocol than the frames before, and that is not allowed.
        """
        name = protocol_name(frame)
        self.counts[name] += 1
        self._examples.setdefault(name, frame.origin or "no origin given")
        if self.mixed and not self.allow_mixed:
            first, second = list(self._examples)[:2]
            raise FramesError(
                f"Mixed protocols: {self._who(first)} and {self._who(second)}"
                f"{self._difference(first, second)}. Labels of different set-ups differ by more than "
                "noise; give frames of one protocol, or allow it with --allow-mixed (allow_mixed=True)."
            )

    def _who(self, name: str) -> str:
        named = f"protocol {name!r}" if name != UNKNOWN else "an unknown protocol"
        return f"{self._examples[name]} is of {named}"

    def _difference(self, first: str, second: str) -> str:
        one, other = (self._settings.get(name.split()[-1]) for name in (first, second))
        if one is None or other is None:
            return ""
        keys = sorted(k for k in {*one, *other} if one.get(k) != other.get(k))
        return (
            " ("
            + ", ".join(f"{k} {one.get(k, UNSET)} and {other.get(k, UNSET)}" for k in keys)
            + ")"
        )


def check_one_protocol(frames: Iterable[Frame], allow_mixed: bool = False) -> bool:
    """Check that frames are of one protocol; return whether they are of several and that is allowed.

    Raises
    ------
    FramesError
        Frames of two protocols without ``allow_mixed``.
    """
    guard = ProtocolGuard(allow_mixed)
    for frame in frames:
        guard.add(frame)
    return guard.mixed
