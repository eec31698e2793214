"""The one port between physics and engines: an evaluator gives energy, forces and stress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from phonotune.part import Part

if TYPE_CHECKING:
    from pymatgen.core import Structure

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Energy, forces and stress of one structure.

    Attributes
    ----------
    energy
        Total energy of the cell, eV.
    forces
        shape (n_atoms, 3), eV/Å, in the order of the structure's sites.
    stress
        shape (3, 3), eV/Å^3, ASE's sign (positive = the cell wants to shrink: dE/dε / V), or None if not given.
    spread
        How far the members of a committee differ; None for a single model.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None = None
    spread: Spread | None = None


@dataclass(frozen=True, eq=False)
class Spread:
    """Standard deviations over the members of a committee, shapes and units as in Evaluation."""

    energy: float
    forces: FloatArray
    stress: FloatArray | None = None


class Source(Part):
    """Who gave the energies and forces behind a result."""

    role: str = Field(description="reference, untuned, or the strategy of a tuned model")
    evaluator: str = Field(description="labeller or foundation name; a stand-in is named as such")
    model_id: str | None = Field(default=None, description="None for a labeller")
    dtype: str | None = Field(
        default=None, description="float64 or float32; None for a labeller or an ASE calculator"
    )
    device: str | None = Field(
        default=None, description="cpu or cuda:0; None for a labeller or an ASE calculator"
    )
    potential: str | None = Field(
        default=None, description="package, version, arguments and weights of a named potential"
    )


Answers = Sequence[Evaluation | None]
"""One answer per planned structure, in the plan's order; None where the evaluation failed."""

Evaluate = Callable[[Sequence["Structure"]], list[Evaluation]]
"""A function that answers structures, in order: all that relaxations and trees of phases ask for."""


class Evaluator(Protocol):
    """A model, or any other engine, that answers structures with energies, forces and stresses."""

    @property
    def elements(self) -> tuple[str, ...] | None:
        """Chemical symbols that the engine knows; None if it does not say."""
        ...

    @property
    def source(self) -> Source:
        """Who answers, as Documents name it."""
        ...

    @property
    def identity(self) -> str:
        """All that determines an answer but the structure and the device: engine, model, precision."""
        ...

    @property
    def members(self) -> Sequence[Evaluator]:
        """Members of a committee, whose mean is the answer; empty for a single model."""
        ...

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Evaluate structures, in order."""
        ...
