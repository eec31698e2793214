"""Statistics of labelled frames, gathered one frame at a time; units that look wrong are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np

from phonotune.schemas.statistics import DatasetStatistics
from phonotune.units import EV_PER_CUBIC_ANGSTROM_IN_GPA

if TYPE_CHECKING:
    from phonotune.schemas.dataset import Frame

UNUSUAL_ENERGY: Final = 35.0
"""eV/atom: no cohesive energy, nor total energy of VASP, is as large; most of those in kcal/mol are."""
UNUSUAL_FORCE: Final = 50.0
"""eV/Å: no atom that a force constant or a model is fitted to feels as much."""
UNUSUAL_PRESSURE: Final = 300.0
"""GPa: stresses in GPa or kB taken for eV/Å^3 are larger."""

UNKNOWN: Final = "unknown"


class Tally:
    """Counts frames and keeps the extremes of their labels; memory does not grow with frames.

    ``add`` every frame, then take ``result``.
    """

    def __init__(self) -> None:
        self._groups: set[str] = set()
        self._formulas: Counter[str] = Counter()
        self._protocols: Counter[str] = Counter()
        self._with: Counter[str] = Counter()
        self._sizes = Extremes()
        self._energies = Extremes()
        self._forces = Extremes()
        self._pressures = Extremes()
        self._squares, self._components = 0.0, 0
        self.n_frames = 0

    def add(self, frame: Frame) -> None:
        """Count a frame."""
        self.n_frames += 1
        self._groups.add(frame.group)
        self._formulas[frame.structure.composition.reduced_formula] += 1
        self._protocols[protocol_name(frame)] += 1
        self._sizes.add(len(frame.structure))
        for label in ("energy", "forces", "stress", "magmoms"):
            self._with[label] += getattr(frame, label) is not None
        if frame.energy is not None:
            self._energies.add(frame.energy / len(frame.structure))
        if frame.forces is not None:
            with np.errstate(over="ignore"):  # of forces beyond 1e154, which are warned of
                self._forces.add(float(np.linalg.norm(frame.forces, axis=1).max()))
                self._squares += float(np.square(frame.forces).sum())
            self._components += frame.forces.size
        if frame.stress is not None:
            pressure = -float(np.trace(frame.stress)) / 3.0 * EV_PER_CUBIC_ANGSTROM_IN_GPA
            self._pressures.add(pressure)

    def counted(self, frame: Frame) -> Frame:
        """Count a frame and return it."""
        self.add(frame)
        return frame

    def result(self) -> DatasetStatistics:
        """Return the statistics of what was added."""
        rms = float(np.sqrt(self._squares / self._components)) if self._components else None
        return DatasetStatistics(
            n_frames=self.n_frames,
            n_groups=len(self._groups),
            smallest=int(self._sizes.lowest or 0),
            largest=int(self._sizes.highest or 0),
            compositions=dict(self._formulas.most_common()),
            protocols=dict(self._protocols.most_common()),
            with_energy=self._with["energy"],
            with_forces=self._with["forces"],
            with_stress=self._with["stress"],
            with_magmoms=self._with["magmoms"],
            energy_lowest=self._energies.lowest,
            energy_highest=self._energies.highest,
            force_rms=_finite(rms),
            force_largest=_finite(self._forces.highest),
            pressure_lowest=_finite(self._pressures.lowest),
            pressure_highest=_finite(self._pressures.highest),
            warnings=self._warnings(),
        )

    def _warnings(self) -> list[str]:
        found = []
        if self._energies.furthest > UNUSUAL_ENERGY:
            found.append(
                f"Energies reach {self._energies.furthest:.0f} eV/atom; above {UNUSUAL_ENERGY:g} eV/atom "
                "they are not those of VASP. If they are in kcal/mol (1 eV = 23.06), kJ/mol or Hartree, "
                "convert them; total energies of an all-electron or norm-conserving code are fine."
            )
        if self._forces.furthest > UNUSUAL_FORCE:
            found.append(
                f"Forces reach {self._forces.furthest:.0f} eV/Å; above {UNUSUAL_FORCE:g} eV/Å atoms collide, "
                "or the unit is another one. Check it, or leave those frames out."
            )
        if self._pressures.furthest > UNUSUAL_PRESSURE:
            found.append(
                f"Pressures reach {self._pressures.furthest:.0f} GPa; stresses are in eV/Å^3 "
                "(1 eV/Å^3 = 160.2 GPa = 1602 kB). Check the unit."
            )
        return found


class Extremes:
    """The lowest and the highest of the numbers added; None before the first."""

    def __init__(self) -> None:
        self.lowest: float | None = None
        self.highest: float | None = None

    def add(self, value: float) -> None:
        """Take a number into account."""
        self.lowest = value if self.lowest is None else min(self.lowest, value)
        self.highest = value if self.highest is None else max(self.highest, value)

    @property
    def furthest(self) -> float:
        """The largest absolute value; 0 before the first number."""
        return max(abs(self.lowest or 0.0), abs(self.highest or 0.0))


def _finite(value: float | None) -> float | None:
    """Return a number, or None for one beyond the largest that can be stored."""
    return value if value is None or np.isfinite(value) else None


def protocol_name(frame: Frame) -> str:
    """Return labeller and protocol of a frame in one text; ``unknown`` where neither is known."""
    return f"{frame.labeller} {frame.protocol}".strip() or UNKNOWN


def describe(frames: Iterable[Frame]) -> DatasetStatistics:
    """Return the statistics of frames."""
    tally = Tally()
    for frame in frames:
        tally.add(frame)
    return tally.result()
