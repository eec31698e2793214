"""Relaxation of many crystals at once: FIRE, one state a cell, one evaluator call a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from pydantic import Field
from pymatgen.core import Lattice, Structure

from phonotune.errors import PhonotuneError
from phonotune.physics.symmetry import symmetrised
from phonotune.ports import Evaluate, Evaluation, FloatArray
from phonotune.progress import Progress
from phonotune.schemas.base import Part
from phonotune.schemas.masses import mass_property
from phonotune.units import Angstrom, ElectronVoltPerAngstrom

StopReason = Literal["converged", "step limit", "volume limit"]

_VOLUME_LIMITS: Final = (0.5, 2.0)
_TIME_STEP, _LONGEST_TIME_STEP = 0.1, 1.0
_FASTER, _SLOWER = 1.1, 0.5
_MIXING, _MIXING_DECAY = 0.1, 0.99
_STEPS_BEFORE_FASTER = 5


class RelaxSettings(Part):
    """How crystals are relaxed (FIRE; Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006))."""

    fmax: ElectronVoltPerAngstrom = Field(
        default=1e-4,
        gt=0,
        description="largest force on an atom and, if the cell relaxes, largest row of "
        "volume * stress / n_atoms (as ASE's cell filters)",
    )
    max_steps: int = Field(default=500, ge=0, description="steps after the start, per cell")
    relax_cell: bool = Field(default=True, description="relax the cell with the positions")
    max_step: Angstrom = Field(default=0.1, gt=0, description="longest move of an atom in one step")
    symprec: Angstrom | None = Field(
        default=None,
        gt=0,
        description="keep the symmetry of the start within this tolerance, so that rounding cannot push a "
        "crystal off a saddle point; None: atoms and cell are free",
    )


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The relaxation of one crystal; every step is kept, the start first.

    Attributes
    ----------
    structures
        Crystal at each step, n_steps + 1 of them, sites in the order of the start.
    evaluations
        Energy, forces and stress at each step.
    max_forces
        shape (n_steps + 1,), eV/Å: the quantity compared with ``fmax``.
    stop_reason
        ``"converged"``, ``"step limit"``, or ``"volume limit"``: the cell was about to leave half
        to twice the volume of the start.
    """

    structures: list[Structure] = field(repr=False)
    evaluations: list[Evaluation] = field(repr=False)
    max_forces: FloatArray = field(repr=False)
    stop_reason: StopReason

    @property
    def converged(self) -> bool:
        """True if the last step meets ``fmax``."""
        return self.stop_reason == "converged"

    @property
    def n_steps(self) -> int:
        """Steps taken, the start not counted."""
        return len(self.structures) - 1

    @property
    def final(self) -> Structure:
        """The crystal of the last step, converged or not."""
        return self.structures[-1]

    def require_converged(self) -> Structure:
        """Return the crystal of the last step.

        Raises
        ------
        PhonotuneError
            It is not converged.
        """
        if not self.converged:
            raise PhonotuneError(
                f"{self.final.reduced_formula} did not relax ({self.stop_reason} after "
                f"{self.n_steps} steps, largest force {self.max_force:.2g} eV/Å). Start from a "
                "crystal nearer to the evaluator's minimum, or allow more steps or a larger fmax."
            )
        return self.final

    @property
    def max_force(self) -> float:
        """Largest force of the last step, eV/Å."""
        return float(self.max_forces[-1])

    @property
    def energies(self) -> FloatArray:
        """Energy of each step, shape (n_steps + 1,), eV."""
        return np.array([evaluation.energy for evaluation in self.evaluations])

    @property
    def forces(self) -> list[FloatArray]:
        """Forces of each step, each (n_atoms, 3), eV/Å."""
        return [evaluation.forces for evaluation in self.evaluations]


class _Fire:
    """FIRE for one set of coordinates: rows of vectors in Å, unit masses."""

    def __init__(self, shape: tuple[int, int], max_step: float) -> None:
        self._velocity = np.zeros(shape)
        self._max_step = max_step
        self._time_step, self._mixing, self._downhill = _TIME_STEP, _MIXING, 0

    def step(self, forces: FloatArray) -> FloatArray:
        """Return the displacement, Å, for forces in eV/Å."""
        if np.vdot(forces, self._velocity) > 0:
            speed = np.linalg.norm(self._velocity) / np.linalg.norm(forces)
            self._velocity += self._mixing * (speed * forces - self._velocity)
            if self._downhill > _STEPS_BEFORE_FASTER:
                self._time_step = min(self._time_step * _FASTER, _LONGEST_TIME_STEP)
                self._mixing *= _MIXING_DECAY
            self._downhill += 1
        elif self._velocity.any():
            self._velocity[:] = 0
            self._time_step *= _SLOWER
            self._mixing, self._downhill = _MIXING, 0
        self._velocity += self._time_step * forces
        move = self._time_step * self._velocity
        longest = np.linalg.norm(move, axis=1).max()
        return move * min(1.0, self._max_step / longest) if longest > 0 else move


class _Cell:
    """One crystal and the state of its relaxation.

    Positions are ``u @ F`` and the cell is ``cell_0 @ F`` with a symmetric deformation gradient F
    (six strains, no rotation), as in ASE's UnitCellFilter. The coordinates that FIRE moves are u
    and ``scale * (F - 1)``; scale = n^(1/2) (V/n)^(1/3) makes a strain about as stiff as an atom.
    """

    def __init__(self, structure: Structure, settings: RelaxSettings) -> None:
        self.structures = [structure]
        self.evaluations: list[Evaluation] = []
        self.max_forces: list[float] = []
        self.stop_reason: StopReason | None = None
        self._settings = settings
        self._species = structure.species_and_occu
        self._masses = mass_property(structure)
        self._start = np.array(structure.lattice.matrix)
        self._undeformed = np.array(structure.cart_coords)
        self._deformation = np.eye(3)
        n = len(structure)
        self._scale = np.sqrt(n) * (structure.volume / n) ** (1 / 3)
        self._fire = _Fire((n + 3 * settings.relax_cell, 3), settings.max_step)

    def record(self, answer: Evaluation) -> None:
        """Keep the answer for the last structure and check whether it is converged."""
        symprec = self._settings.symprec
        if symprec is not None:
            answer = symmetrised(self.structures[-1], answer, symprec)
        self.evaluations.append(answer)
        largest = float(np.linalg.norm(answer.forces, axis=1).max())
        if self._settings.relax_cell:
            per_atom = self._virial() / len(self._species)
            largest = max(largest, float(np.linalg.norm(per_atom, axis=1).max()))
        self.max_forces.append(largest)
        if largest < self._settings.fmax:
            self.stop_reason = "converged"

    def advance(self) -> None:
        """Take one step; the new structure has no answer yet."""
        n = len(self._species)
        forces = self.evaluations[-1].forces @ self._deformation
        if self._settings.relax_cell:
            on_cell = -np.linalg.solve(self._deformation, self._virial())
            forces = np.concatenate([forces, 0.5 * (on_cell + on_cell.T) / self._scale])
        move = self._fire.step(forces)
        deformation = self._deformation
        if self._settings.relax_cell:
            deformation = deformation + move[n:] / self._scale
            low, high = _VOLUME_LIMITS
            if not low < np.linalg.det(deformation) < high:
                self.stop_reason = "volume limit"
                return
        self._undeformed = self._undeformed + move[:n]
        self._deformation = deformation
        self.structures.append(
            Structure(
                Lattice(self._start @ deformation),
                self._species,
                self._undeformed @ deformation,
                coords_are_cartesian=True,
                site_properties=self._masses,
            )
        )

    def result(self) -> Relaxation:
        """Return the trajectory; a cell that did not stop ran out of steps."""
        return Relaxation(
            structures=self.structures,
            evaluations=self.evaluations,
            max_forces=np.array(self.max_forces),
            stop_reason=self.stop_reason or "step limit",
        )

    def _virial(self) -> FloatArray:
        stress = self.evaluations[-1].stress
        if stress is None:
            raise PhonotuneError(
                "The evaluator gives no stress, so the cell cannot relax. "
                "Set relax_cell to False or use an evaluator with stress."
            )
        virial: FloatArray = self.structures[-1].volume * stress
        return virial


def relax_batch(
    evaluator: Evaluate,
    structures: Sequence[Structure],
    settings: RelaxSettings | None = None,
    progress: Progress | None = None,
) -> list[Relaxation]:
    """Relax crystals side by side; a cell that is converged leaves the batch.

    Parameters
    ----------
    evaluator
        Called once per step with every crystal that still moves.
    structures
        Crystals to relax; they are not modified.
    settings
        Convergence and limits; None takes the defaults.
    progress
        Gets the number of stopped cells after each step.

    Returns
    -------
    list of Relaxation
        One per structure, in order. A crystal that did not converge is returned too and says so.

    Raises
    ------
    PhonotuneError
        The cell is to relax and the evaluator gives no stress; also whatever the evaluator raises.
    """
    settings, progress = settings or RelaxSettings(), progress or Progress()
    cells = [_Cell(structure, settings) for structure in structures]
    progress.start("relaxation", len(cells))
    _answer(evaluator, cells)
    for step in range(1, settings.max_steps + 1):
        for cell in _moving(cells):
            cell.advance()
        if not (moving := _moving(cells)):
            break
        _answer(evaluator, moving)
        progress.advance(len(cells) - len(_moving(cells)), f"relaxation step {step}")
    return [cell.result() for cell in cells]


def _moving(cells: Sequence[_Cell]) -> list[_Cell]:
    return [cell for cell in cells if cell.stop_reason is None]


def _answer(evaluator: Evaluate, cells: Sequence[_Cell]) -> None:
    answers = evaluator([cell.structures[-1] for cell in cells])
    for cell, answer in zip(cells, answers, strict=True):
        cell.record(answer)
