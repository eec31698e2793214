"""What every analysis asks of an evaluator's answers before it trusts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymatgen.core import Structure

from phonotune.errors import LabelError
from phonotune.ports import Answers, Evaluation


def require_answers(
    structures: Sequence[Structure], answers: Answers, purpose: str, stress: bool = False
) -> list[Evaluation]:
    """Return the answers if each planned structure has a complete one.

    Parameters
    ----------
    structures
        The planned structures.
    answers
        One answer a structure, in that order.
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
            "answers come one a structure, in the plan's order, None where one failed."
        )
    complete: list[Evaluation] = []
    faults: dict[str, list[int]] = {}
    for index, (structure, answer) in enumerate(zip(structures, answers, strict=True)):
        fault = _fault(structure, answer, stress)
        if answer is None or fault:
            faults.setdefault(fault, []).append(index)
        else:
            complete.append(answer)
    if faults:
        listed = "; ".join(f"{fault}: {_listed(frames)}" for fault, frames in faults.items())
        raise LabelError(
            f"{purpose} needs an answer for each of its {len(structures)} structures ({listed}). "
            "Evaluate those frames again."
        )
    return complete


def _fault(structure: Structure, answer: Evaluation | None, stress: bool) -> str:
    if answer is None:
        return "no answer for frames"
    if np.shape(answer.forces) != (len(structure), 3):
        return "forces of the wrong shape for frames"
    if not (np.isfinite(answer.forces).all() and np.isfinite(answer.energy)):
        return "NaN for frames"
    if stress and (answer.stress is None or not np.isfinite(answer.stress).all()):
        return "no stress for frames"
    return ""


def _listed(frames: list[int]) -> str:
    shown = ", ".join(str(f) for f in frames[:20])
    return shown if len(frames) <= 20 else f"{shown}, ... ({len(frames)} in all)"
