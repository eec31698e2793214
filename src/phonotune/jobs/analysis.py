"""One way from planned structures to a document, with error bars where a committee answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from pymatgen.core import Structure

from phonotune.errors import PhonotuneError
from phonotune.physics.committee_spread import mean_answers, with_spread
from phonotune.ports import Answers, Evaluator
from phonotune.schemas.base import PropertyDocument

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=PropertyDocument)

_FEWEST: Final = 2
"""Members that a standard deviation needs."""


def evaluate_and_analyse(
    evaluator: Evaluator, structures: Sequence[Structure], analyse: Callable[[Answers], D]
) -> D:
    """Evaluate planned structures once and analyse the answers.

    Parameters
    ----------
    evaluator
        A model, or a committee: then its mean answers are analysed, and every member's own for the
        document's ``spread``. A member whose answers cannot be analysed (unstable phonons at one of
        several volumes, say) is counted as left out; of fewer than two there is no spread.
    structures
        What was planned.
    analyse
        Turns answers to these structures into the document.
    """
    if not evaluator.members:
        return analyse(evaluator(structures))
    members = [member(structures) for member in evaluator.members]
    document = analyse(mean_answers(members))
    found = []
    for answers in members:
        try:
            found.append(analyse(answers))
        except PhonotuneError as error:
            logger.warning("A member of the committee gives no %s: %s", document.kind, error)
    if len(found) < _FEWEST:
        return document
    return with_spread(document, found, n_left_out=len(members) - len(found))
