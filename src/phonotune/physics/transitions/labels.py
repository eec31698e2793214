"""Phases of a tree by a labeller: how far the energies of the model that grew it are off."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from phonotune.errors import InputError
from phonotune.ports import Answers, Evaluation
from phonotune.schemas.transition import PhaseLabel, PhaseNode, TransitionDocument


def with_labels(
    document: TransitionDocument,
    labeller: str,
    protocol: str,
    answers: Answers,
    reasons: Mapping[int, str] | None = None,
) -> TransitionDocument:
    """Return a tree whose phases carry the energies of a labeller beside those of the model.

    Single points of the cells as the model relaxed them: no phase is relaxed by the labeller.

    Parameters
    ----------
    document
        The tree by the model.
    labeller, protocol
        Who labelled, and the hash of its settings.
    answers
        One a phase, in the order of ``document.structures()``; None where the label died.
    reasons
        Why, by the index of the phase.

    Raises
    ------
    InputError
        Another number of answers than phases.
    """
    if len(answers) != len(document.nodes):
        raise InputError(
            f"A tree of {len(document.nodes)} phases got labels of {len(answers)}; give one a phase, "
            "None where there is none."
        )
    root = answers[0]
    nodes = []
    for node, answer in zip(document.nodes, answers, strict=True):
        label = _label(node, answer, root, document.nodes[0].n_atoms)
        if answer is None:
            label = label.model_copy(update={"reason": (reasons or {}).get(node.id, "no label")})
        nodes.append(node.model_copy(update={"label": label}))
    return document.model_copy(
        update={"labeller": labeller, "label_protocol": protocol, "nodes": nodes}
    )


def _label(
    node: PhaseNode, answer: Evaluation | None, root: Evaluation | None, n_root: int
) -> PhaseLabel:
    """Return the label of one phase; energies in meV/atom from eV a cell."""
    if answer is None:
        return PhaseLabel(energy_per_atom=None, error=None, largest_force=None)
    force = float(np.linalg.norm(answer.forces, axis=1).max())
    if root is None:
        reason = "the root has no label to count from"
        return PhaseLabel(energy_per_atom=None, error=None, largest_force=force, reason=reason)
    energy = 1000 * float(answer.energy / node.n_atoms - root.energy / n_root)
    return PhaseLabel(
        energy_per_atom=energy, error=node.energy_per_atom - energy, largest_force=force
    )
