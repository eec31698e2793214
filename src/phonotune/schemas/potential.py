"""A potential: an ASE calculator, how it is made, where it runs, and how it was tested."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from phonotune.part import Part
from phonotune.units import Angstrom, ElectronVoltPerAngstrom, ElectronVoltPerSquareAngstrom


class Weights(Part):
    """The file of a potential's parameters."""

    path: str = Field(
        description="begins with {prefix} where it lies in the potential's environment"
    )
    sha256: str


class PotentialTests(Part):
    """What a potential answered when it was tested on one crystal."""

    crystal: str = Field(description="formula of the cell, e.g. Na4Cl4")
    displacements: tuple[Angstrom, ...]
    stiffnesses: tuple[ElectronVoltPerSquareAngstrom, ...] = Field(
        description="-dF/dx of one atom, from a central difference over each displacement"
    )
    smooth: bool = Field(description="the stiffness does not depend on the displacement")
    scatter: ElectronVoltPerAngstrom = Field(
        description="standard deviation of a force while the whole crystal is turned"
    )
    precision: Literal["float64", "float32", "coarse"] = Field(
        description="of the arithmetic, by the scatter and the digits of the forces; coarse: it scatters more "
        "than float32 explains"
    )
    repeatable: bool = Field(
        description="the same structure twice gives the same forces, but for what its precision explains: "
        "several threads sum in another order each time"
    )
    repeat_error: ElectronVoltPerAngstrom = Field(
        default=0.0, description="largest difference of a force between the two"
    )
    conservative: bool = Field(description="the forces are the gradient of the energy")
    work_error: ElectronVoltPerAngstrom = Field(
        description="mean force along the longest displacement minus -ΔE/Δx"
    )
    stress: bool = Field(description="whether it gives a stress")


class Potential(Part):
    """An ASE calculator that runs in a process of its own, made from what is said here."""

    calculator: str = Field(description="module:callable, whose result is an ASE calculator")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="its arguments; {weights} in a text is the file's path"
    )
    python: str | None = Field(
        default=None, description="the Python that runs it; None: the one that runs phonotune"
    )
    weights: Weights | None = None
    versions: dict[str, str] = Field(
        description="version of the package, or the sha256 of the module's file"
    )
    elements: tuple[str, ...] | None = Field(
        default=None, description="chemical symbols that it knows; None if it does not say"
    )
    level_of_theory: str = Field(default="", description="as the user stated it")
    tests: PotentialTests | None = Field(default=None, description="None: it was not tested")

    def __str__(self) -> str:
        """Return package, version, calculator, arguments, weights and level of theory in one line."""
        packages = ", ".join(
            f"{name} {version[:12]}" for name, version in sorted(self.versions.items())
        )
        given = ", ".join(f"{key}={value}" for key, value in sorted(self.arguments.items()))
        weights = f", weights {self.weights.sha256[:12]}" if self.weights else ""
        theory = f", level of theory {self.level_of_theory}" if self.level_of_theory else ""
        return f"{packages}, {self.calculator.partition(':')[2]}({given}){weights}{theory}"
