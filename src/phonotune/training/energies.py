"""Atomic energies: the labels' offset, linear in composition, is taken up before the first step.

Energies of another DFT set-up differ from the foundation's by a constant for each element. Left in,
the network would have to learn several eV per atom. The energies of isolated atoms of that set-up, where
the dataset has them, replace the foundation's atomic energies as they are, as in MACE; those of the
other elements are fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    left
        eV/atom: mean difference of labels and foundation that energies of isolated atoms leave; 0 without.
    """

    shifts: dict[int, float]
    transferable: bool
    text: str
    left: float = 0.0


def no_refit(elements: Sequence[int], why: str = "refit_energies is off") -> EnergyRefit:
    """Keep the foundation's atomic energies."""
    shifts = dict.fromkeys((int(z) for z in elements), 0.0)
    return EnergyRefit(shifts, True, f"atomic energies kept: {why}")


def refit_energies(
    elements: Sequence[int],
    composition: FloatArray,
    residual: FloatArray,
    known: Mapping[int, float] | None = None,
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
    known
        Shifts that isolated atoms give, eV by atomic number; only the others are fitted.

    Notes
    -----
    Rows are divided by the number of atoms, so that frames of all sizes weigh alike. With fewer
    independent compositions than elements the solution of least norm is taken.
    """
    given = {int(z): known[z] for z in elements if known and z in known}
    if len(residual) == 0 and not given:
        return no_refit(elements, "there is no energy label")
    fitted = np.array([z not in given for z in elements])
    shifts = np.array([given.get(int(z), 0.0) for z in elements])
    sizes = composition.sum(axis=1)
    fractions, offset = composition / sizes[:, None], residual / sizes
    solution, _, rank, _ = np.linalg.lstsq(
        fractions[:, fitted], offset - fractions @ shifts, rcond=1e-8
    )
    shifts[fitted] = solution
    complete = int(rank) == fitted.sum()
    by_element = {int(z): float(shift) for z, shift in zip(elements, shifts, strict=True)}
    listed = ", ".join(f"Z={z}: {shift:+.4f} eV" for z, shift in by_element.items())
    text, left = f"atomic energies shifted by {listed}", 0.0
    if given:
        text += f"; from isolated atoms: {', '.join(f'Z={z}' for z in given)}"
        text += ", the others fitted" if fitted.any() else ""
        if len(residual):
            left = float(np.mean(offset - fractions @ shifts))
            text += f"; this leaves {left:+.3f} eV/atom between the labels and the foundation"
    if not complete:
        text += (
            f"; minimum norm ({int(rank)} independent composition(s) for {fitted.sum()} elements), not "
            "transferable to other compositions"
        )
    return EnergyRefit(by_element, complete, text, left)


def interaction_energies(model: torch.nn.Module, batches: Sequence[LabelledBatch]) -> FloatArray:
    """Return the foundation's energies without atomic energies, eV, one per frame, in order."""
    parts = [predict(model, {}, batch.graph).energy.cpu().double().numpy() for batch in batches]
    return np.concatenate(parts)
