"""Atomic energies: the labels' offset, linear in composition, is fitted before the first step.

Energies of another DFT set-up differ from the foundation's by a constant for each element. Left in,
the network would have to learn several eV per atom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from phonotune.ports import FloatArray
from phonotune.training.batches import LabelledBatch
from phonotune.training.prediction import predict


@dataclass(frozen=True)
class EnergyRefit:
    """Shifts of the atomic energies.

    Attributes
    ----------
    shifts
        eV by atomic number.
    transferable
        Whether the compositions determine every shift; if not, they are the smallest that fit, and
        energies of other compositions mean nothing.
    text
        The same in words.
    """

    shifts: dict[int, float]
    transferable: bool
    text: str


def no_refit(elements: Sequence[int], why: str = "refit_energies is off") -> EnergyRefit:
    """Keep the foundation's atomic energies."""
    shifts = dict.fromkeys((int(z) for z in elements), 0.0)
    return EnergyRefit(shifts, True, f"atomic energies kept: {why}")


def refit_energies(
    elements: Sequence[int], composition: FloatArray, residual: FloatArray
) -> EnergyRefit:
    """Fit the offset between labels and foundation by least squares on the composition.

    Parameters
    ----------
    elements
        Atomic numbers, the columns of `composition`.
    composition
        shape (n_frames, n_elements), number of atoms; frames with an energy label only.
    residual
        shape (n_frames,), eV: label minus foundation, whole cells, not per atom.

    Notes
    -----
    Rows are divided by the number of atoms, so that frames of all sizes weigh alike. With fewer
    independent compositions than elements the solution of least norm is taken.
    """
    if len(residual) == 0:
        return no_refit(elements, "there is no energy label")
    sizes = composition.sum(axis=1)
    solution, _, rank, _ = np.linalg.lstsq(
        composition / sizes[:, None], residual / sizes, rcond=1e-8
    )
    shifts = {int(z): float(shift) for z, shift in zip(elements, solution, strict=True)}
    listed = ", ".join(f"Z={z}: {shift:+.4f} eV" for z, shift in shifts.items())
    complete = int(rank) == len(elements)
    if complete:
        return EnergyRefit(shifts, True, f"atomic energies shifted by {listed}")
    return EnergyRefit(
        shifts,
        False,
        f"atomic energies shifted by {listed}; minimum norm ({int(rank)} independent "
        f"composition(s) for {len(elements)} elements), not transferable to other compositions",
    )


def interaction_energies(model: torch.nn.Module, batches: Sequence[LabelledBatch]) -> FloatArray:
    """Return the foundation's energies without atomic energies, eV, one per frame, in order."""
    parts = [predict(model, {}, batch.graph).energy.cpu().double().numpy() for batch in batches]
    return np.concatenate(parts)
