"""What a selection chooses from: frames, what a model says of them, and what was chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np

from phonotune.errors import FramesError
from phonotune.ports import FloatArray
from phonotune.schemas.base import structure_hash
from phonotune.schemas.dataset import Frame

T = TypeVar("T")
Needs = Literal["descriptors", "force features"] | None
"""What a model computes of every frame for a method; None if energies suffice."""


@dataclass(frozen=True)
class Choice:
    """A chosen frame: its index in the pool, why, and the number that the method chose it by."""

    index: int
    reason: str
    score: float | None = None


@dataclass(frozen=True, eq=False)
class Pool:
    """Frames that may be chosen, and frames that will be labelled in any case.

    Attributes
    ----------
    frames
        Steps of relaxations with the energies of the relaxing model, eV; ``group`` names the
        trajectory.
    fixed
        Frames that are labelled as they are: they count as known, not as candidates.
    descriptors
        One array per frame, shape (n_atoms, n_features): invariant node features of the model.
    fixed_descriptors
        The same of ``fixed``.
    features
        One array per frame, shape (3 n_atoms, n_weights), eV/Å per unit of a weight: derivatives of
        the forces with respect to the last-layer weights.
    fixed_features
        The same of ``fixed``.
    """

    frames: Sequence[Frame]
    fixed: Sequence[Frame] = ()
    descriptors: Sequence[FloatArray] | None = None
    fixed_descriptors: Sequence[FloatArray] = ()
    features: Sequence[FloatArray] | None = None
    fixed_features: Sequence[FloatArray] = ()

    def sorted(self) -> Pool:
        """Return the pool in an order of its own, each structure once.

        Trajectories by name, frames from high to low energy, then by a hash of the structure: what
        is chosen cannot depend on the order in which frames arrive.

        Raises
        ------
        FramesError
            A frame without an energy.
        """
        keys, hashes = [], [structure_hash(frame.structure) for frame in self.frames]
        for frame, name in zip(self.frames, hashes, strict=True):
            if frame.energy is None or not np.isfinite(frame.energy):
                raise FramesError(
                    f"A step of trajectory {frame.group!r} has energy {frame.energy}; every step "
                    "needs the energy of the relaxing model. Relax again."
                )
            keys.append((frame.group, -frame.energy, name))
        first = {hashes[i]: i for i in sorted(range(len(keys)), key=keys.__getitem__, reverse=True)}
        return self.take(sorted(first.values(), key=keys.__getitem__))

    def take(self, indices: Sequence[int]) -> Pool:
        """Return the pool with these frames only, in this order."""
        return Pool(
            _taken(self.frames, indices),
            self.fixed,
            None if self.descriptors is None else _taken(self.descriptors, indices),
            self.fixed_descriptors,
            None if self.features is None else _taken(self.features, indices),
            self.fixed_features,
        )

    def split(self, group: str) -> tuple[Pool, Pool]:
        """Return the frames of a group, and all others."""
        inside = [i for i, frame in enumerate(self.frames) if frame.group == group]
        outside = [i for i, frame in enumerate(self.frames) if frame.group != group]
        return self.take(inside), self.take(outside)

    def require(self, needs: Needs, method: str) -> None:
        """Raise FramesError if what a method needs was not computed."""
        given = self.descriptors if needs == "descriptors" else self.features
        if needs is not None and given is None:
            raise FramesError(
                f"Selection method {method!r} needs the {needs} of a model for each of the "
                f"{len(self.frames)} frames and has none. Give SelectMaker.make the model, or choose "
                "method energy or random."
            )


class MethodOptions(Protocol):
    """What methods read of :class:`~phonotune.sampling.settings.SelectSettings`."""

    @property
    def span(self) -> float:
        """Share of the way down in energy that frames cover."""
        ...

    @property
    def ridge(self) -> float:
        """Regularisation of the information matrix."""
        ...


Method = Callable[[Pool, int, MethodOptions, np.random.Generator], list[Choice]]
"""Chooses a number of frames from a sorted pool, at most as many as it holds; no frame twice."""


def _taken(values: Sequence[T], indices: Sequence[int]) -> list[T]:
    return [values[i] for i in indices]
