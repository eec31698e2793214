"""Split frames into training and validation; groups are never torn apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phonotune.errors import ConfigError, FramesError, PhonotuneError
from phonotune.schemas.statistics import SplitRecord


def split_by_group(
    groups: Sequence[str],
    *,
    valid_groups: Sequence[str] | None = None,
    valid_fraction: float | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[list[int], list[int]]:
    """Split frame indices by group, either by naming the groups that validate or by a fraction.

    Frames of one group (one relaxation trajectory, one volume) resemble each other; a split through
    a group would make the validation error too small.

    Parameters
    ----------
    groups
        The group of each frame, in frame order.
    valid_groups
        Groups that validate; all others train.
    valid_fraction
        Share of the frames that should validate, between 0 and 1. Groups are taken in random order
        while that brings the share nearer; both sides keep at least one group.
    rng
        Source of the random order; needed with ``valid_fraction``.

    Returns
    -------
    train, valid
        Frame indices, ascending; together every frame once.

    Raises
    ------
    ConfigError
        Not exactly one of ``valid_groups`` and ``valid_fraction``, or a fraction outside 0 to 1.
    FramesError
        An unknown group, or fewer than two groups, so that a side would be empty.
    """
    names = list(dict.fromkeys(groups))
    if len(names) < 2:
        raise FramesError(
            f"{len(groups)} frames in {len(names)} group(s) cannot be split: at least two groups "
            "are needed. Give training and validation frames in two files, or name a group in "
            "each frame."
        )
    if (valid_groups is None) == (valid_fraction is None):
        raise ConfigError("A split takes either valid_groups or valid_fraction; give exactly one.")
    if valid_groups is not None:
        chosen = set(valid_groups)
        if unknown := sorted(chosen - set(names)):
            raise FramesError(
                f"No frame belongs to the validation group(s) {', '.join(unknown)}; groups found: "
                f"{some_of(names)}."
            )
        if not 0 < len(chosen) < len(names):
            side = "train" if chosen else "validate"
            raise FramesError(
                f"No group is left to {side}; name at least one and not all of: {some_of(names)}."
            )
    elif valid_fraction is None or not 0.0 < valid_fraction < 1.0:
        raise ConfigError(
            f"valid_fraction is {valid_fraction}; a share between 0 and 1 is needed, e.g. 0.2."
        )
    elif rng is None:
        raise ConfigError("valid_fraction draws groups at random; pass a numpy Generator as rng.")
    else:
        sizes = Counter(groups)
        target = valid_fraction * len(groups)
        order = [names[i] for i in rng.permutation(len(names))]
        chosen, taken = {order[0]}, sizes[order[0]]
        for name in order[1:-1]:
            if abs(taken + sizes[name] - target) < abs(taken - target):
                chosen.add(name)
                taken += sizes[name]
    train = [i for i, group in enumerate(groups) if group not in chosen]
    valid = [i for i, group in enumerate(groups) if group in chosen]
    check_whole_groups(groups, train, valid)
    return train, valid


@dataclass(frozen=True, eq=False)
class SplitRequest:
    """A split by groups that somebody asked for; parameters as in :func:`split_by_group`."""

    valid_groups: Sequence[str] | None = None
    valid_fraction: float | None = None
    rng: np.random.Generator | None = None
    reason: str = ""

    def apply(self, groups: Sequence[str]) -> tuple[list[int], list[int], SplitRecord]:
        """Return the indices that train and validate, and the record of it.

        Raises
        ------
        FramesError, ConfigError
            As :func:`split_by_group`.
        """
        train, valid = split_by_group(
            groups,
            valid_groups=self.valid_groups,
            valid_fraction=self.valid_fraction,
            rng=self.rng,
        )
        asked = (
            f"named: {some_of(self.valid_groups)}"
            if self.valid_groups is not None
            else f"drawn, {self.valid_fraction:.0%} of the frames by whole groups"
        )
        split = SplitRecord(
            how="drawn" if self.valid_groups is None else "named",
            reason=f"{asked} ({self.reason})" if self.reason else asked,
            valid_fraction=self.valid_fraction,
            **count_groups(groups, train, valid),
        )
        return train, valid, split


def count_groups(groups: Sequence[str], train: list[int], valid: list[int]) -> dict[str, int]:
    """Return the numbers of groups on both sides, as fields of SplitRecord."""
    sides = {"train_groups": train, "valid_groups": valid}
    return {name: len({groups[i] for i in indices}) for name, indices in sides.items()}


def some_of(names: Sequence[str], most: int = 10) -> str:
    """Return the first names in words, and how many there are more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more


def torn_groups(groups: Sequence[str], train: Sequence[int], valid: Sequence[int]) -> list[str]:
    """Return the groups that have frames on both sides of a split, sorted."""
    return sorted({groups[i] for i in train} & {groups[i] for i in valid})


def check_whole_groups(groups: Sequence[str], train: Sequence[int], valid: Sequence[int]) -> None:
    """Assert that no group is torn apart and that every frame is on one side.

    Raises
    ------
    PhonotuneError
        It is not so; a mistake of this program, never of its input.
    """
    torn = torn_groups(groups, train, valid)
    if torn or sorted((*train, *valid)) != list(range(len(groups))):
        raise PhonotuneError(
            f"A split of {len(groups)} frames tore the groups {torn[:5]} apart or lost frames; this "
            "is a mistake of phonotune: please report it with the frames."
        )
