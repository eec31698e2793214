"""Checks of an evaluator's answers that every analysis makes before it uses them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymatgen.core import Structure

from phonotune.errors import LabelError
from phonotune.ports import Answers, Evaluation


def require_answers(
    structures: Sequence[Structure], answers: Answers, purpose: str, stress: bool = False
) -> list[Evaluation]:
    """Return the answers if every planned structure has a complete one.

    Parameters
    ----------
    structures
        The planned structures.
    answers
        One answer per structure, in that order.
    purpose
        What the answers are for, e.g. ``"phonons"``.
    stress
        True if a stress is needed.

    Raises
    ------
    LabelError
        A missing answer, forces of the wrong shape, NaN, no stress; the frames are named.
    """
    if len(answers) != len(structures):
        raise LabelError(
            f"{purpose} planned {len(structures)} structures but got {len(answers)} answers; "
            "there must be one answer per structure, in the plan's order, None where one failed."
        )
    complete: list[Evaluation] = []
    faults: dict[str, list[int]] = {}
    for index, (structure, answer) in enumerate(zip(structures, answers, strict=True)):
        if answer is None:
            fault = "no answer for frames"
        elif np.shape(answer.forces) != (len(structure), 3):
            fault = "forces of the wrong shape for frames"
        elif not (np.isfinite(answer.forces).all() and np.isfinite(answer.energy)):
            fault = "NaN for frames"
        elif stress and (answer.stress is None or not np.isfinite(answer.stress).all()):
            fault = "no stress for frames"
        else:
            complete.append(answer)
            continue
        faults.setdefault(fault, []).append(index)
    if faults:
        parts = []
        for fault, frames in faults.items():
            more = "" if len(frames) <= 20 else f", ... ({len(frames)} in all)"
            parts.append(f"{fault}: {', '.join(map(str, frames[:20]))}{more}")
        listed = "; ".join(parts)
        raise LabelError(
            f"{purpose} needs an answer for each of its {len(structures)} structures ({listed}). "
            "Evaluate those frames again."
        )
    return complete
