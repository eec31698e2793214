"""What a tuned model forgot: its deviation from the foundation far from the training frames."""

from __future__ import annotations

from pydantic import Field

from phonotune.schemas.base import Part
from phonotune.schemas.blob import Blob
from phonotune.units import (
    ElectronVolt,
    MilliElectronVoltPerAngstrom,
    MilliElectronVoltPerAtom,
    MilliElectronVoltPerCubicAngstrom,
    Percent,
)


class ProbeDeviation(Part):
    """Mean absolute deviation of the tuned model from the foundation on frames of the probe.

    Before tuning every number is zero by construction: the foundation gave the labels.
    """

    n_frames: int
    energy: MilliElectronVoltPerAtom = Field(
        description="after taking off the shift of the atomic energies that tuning added on purpose"
    )
    forces: MilliElectronVoltPerAngstrom
    forces_relative: Percent = Field(
        description="of the foundation's mean absolute force on these frames"
    )
    stress: MilliElectronVoltPerCubicAngstrom | None = Field(
        description="None where an evaluator gives no stress"
    )


class HoleScan(Part):
    """Holes inside the repulsive walls of the pairs of the material's elements.

    A pair's wall begins at its minimum and goes inwards; a hole is a fall of the energy on going to
    shorter distance there, its depth the largest such fall (:func:`phonotune.training.forgetting.hole_scan`
    defines both). A sound wall has depth 0.

    ``data`` holds ``pairs`` (n_pairs,) text such as ``"Na-Cl"``; ``distances`` (n_pairs, n_distances),
    Å, ascending; ``energies_before`` and ``energies_after`` (n_pairs, n_distances), eV, against the
    two atoms apart; ``depths_before`` and ``depths_after`` (n_pairs,), eV; ``below_before`` and
    ``below_after`` (n_pairs,), whether an energy inside the wall lies below the pair's minimum.
    """

    n_pairs: int
    deepest_before: ElectronVolt = Field(description="depth of the foundation's deepest hole")
    deepest_after: ElectronVolt = Field(description="depth of the tuned model's deepest hole")
    worst_pair: str | None = Field(description="pair of the latter; None where there is no hole")
    pairs_below_before: int = Field(
        description="pairs whose wall of the foundation falls below the pair's minimum"
    )
    pairs_below_after: int = Field(description="the same of the tuned model")
    data: Blob


class ForgettingProbe(Part):
    """Deviation from the foundation on a fixed probe, and a scan for short-range holes.

    ``touching`` are frames that hold at least one element of the material, ``others`` those that
    hold none; either is None where the probe has no such frame.
    """

    version: int = Field(description="of the set of frames; other versions do not compare")
    elements: tuple[str, ...] = Field(description="chemical symbols of the material")
    overall: ProbeDeviation
    touching: ProbeDeviation | None
    others: ProbeDeviation | None
    holes: HoleScan
