"""One dataset, one protocol: labels of different set-ups differ by more than noise."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final

from phonotune.data.statistics import UNKNOWN, protocol_name
from phonotune.data.vasp_settings import (
    differing_keys,
    potcar_titles,
    protocol_of,
    read_settings,
)
from phonotune.errors import FramesError

if TYPE_CHECKING:
    from phonotune.schemas.dataset import Frame

UNSET: Final = "unset"


class ProtocolGuard:
    """Looks at frames one by one and refuses the first of a second protocol.

    Frames of an unknown protocol count as a protocol of their own: nobody knows whether they agree with
    others. All that is known of a VASP file is its settings, which are its protocol; it agrees with a
    label protocol whose runs had the same settings.

    Parameters
    ----------
    allow_mixed
        Refuse none; :attr:`mixed` tells whether there are several.
    """

    def __init__(self, allow_mixed: bool = False) -> None:
        self.allow_mixed = allow_mixed
        self._examples: dict[tuple[str, str], Frame] = {}

    @property
    def mixed(self) -> bool:
        """Whether frames of several protocols were seen."""
        return any(not agree(one, two) for one, two in combinations(self._examples.values(), 2))

    def add(self, frame: Frame) -> None:
        """Take a frame into account.

        Raises
        ------
        FramesError
            It is of another protocol than the frames before, and that is not allowed.
        """
        name = protocol_name(frame)
        if (name, frame.settings) in self._examples:
            return
        others = list(self._examples.values())
        self._examples[name, frame.settings] = frame
        other = next((one for one in others if not agree(one, frame)), None)
        if other is not None and not self.allow_mixed:
            one, two = read_settings(other.settings), read_settings(frame.settings)
            differ = [
                f"{key} {one.get(key, UNSET)} and {two.get(key, UNSET)}"
                for key in (differing_keys(one, two) if one and two else ())
            ]
            listed = f" ({', '.join(differ)})" if differ else ""
            raise FramesError(
                f"Mixed protocols: {_who(other)} and {_who(frame)}{listed}. Labels of "
                "different set-ups differ by more than noise; give frames of one protocol, or allow it "
                "with --allow-mixed (allow_mixed=True)."
            )


def agree(one: Frame, other: Frame) -> bool:
    """Return whether two frames are known to be of one protocol.

    Names decide, but POTCARs of another release are another protocol. Where names differ and one is
    nothing but the settings that the frame carries (an imported file of VASP), the settings of both
    decide.
    """
    settings, others = read_settings(one.settings), read_settings(other.settings)
    if protocol_name(one) == protocol_name(other):
        titles, more = potcar_titles(settings), potcar_titles(others)
        return all(titles[element] == more[element] for element in titles.keys() & more.keys())
    if one.labeller != other.labeller or not settings:
        return False
    named = {protocol_of(settings), protocol_of(others)} & {one.protocol, other.protocol}
    return bool(named) and not differing_keys(settings, others)


def _who(frame: Frame) -> str:
    name = protocol_name(frame)
    named = f"protocol {name!r}" if name != UNKNOWN else "an unknown protocol"
    return f"{frame.origin or 'no origin given'} is of {named}"
