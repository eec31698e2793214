"""Phases of a tree by a labeller: the errors of the energies of the model that grew it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from phonotune.errors import InputError
from phonotune.ports import Answers
from phonotune.schemas.transition import PhaseLabel, TransitionDocument


def with_labels(
    document: TransitionDocument,
    labeller: str,
    protocol: str,
    answers: Answers,
    reasons: Mapping[int, str] | None = None,
) -> TransitionDocument:
    """Return a tree whose phases have the energies of a labeller in addition to those of the model.

    They are single points of the cells that the model relaxed: the labeller relaxes no phase.

    Parameters
    ----------
    document
        The tree by the model.
    labeller, protocol
        Who labelled, and the hash of its settings.
    answers
        One per phase, in the order of ``document.structures()``; None where the label failed.
    reasons
        Why it failed, by the index of the phase.

    Raises
    ------
    InputError
        The number of answers is not that of the phases.
    """
    if len(answers) != len(document.nodes):
        raise InputError(
            f"A tree of {len(document.nodes)} phases got {len(answers)} labels; give one per phase, "
            "None where there is none."
        )
    root = answers[0]
    nodes = []
    for node, answer in zip(document.nodes, answers, strict=True):
        energy = force = reason = None
        if answer is None:
            reason = (reasons or {}).get(node.id, "no label")
        else:
            force = float(np.linalg.norm(answer.forces, axis=1).max())
            if root is None:
                reason = "there is no label of the root to compare with"
            else:
                per_atom = root.energy / document.nodes[0].n_atoms
                energy = 1000 * float(answer.energy / node.n_atoms - per_atom)
        label = PhaseLabel(
            energy_per_atom=energy,
            error=None if energy is None else node.energy_per_atom - energy,
            largest_force=force,
            reason=reason,
        )
        nodes.append(node.model_copy(update={"label": label}))
    return document.model_copy(
        update={"labeller": labeller, "label_protocol": protocol, "nodes": nodes}
    )
