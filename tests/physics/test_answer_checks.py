from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.errors import LabelError
from phonotune.physics.answer_checks import require_answers
from phonotune.ports import Evaluation


def good(copper: Structure) -> Evaluation:
    return Evaluation(0.0, np.zeros((len(copper), 3)), np.zeros((3, 3)))


def test_complete_answers_pass(copper: Structure) -> None:
    answers = [good(copper), good(copper)]
    assert require_answers([copper] * 2, answers, "Phonons", stress=True) == answers


def test_missing_and_broken_answers_are_named(copper: Structure) -> None:
    nan = Evaluation(0.0, np.full((len(copper), 3), np.nan))
    short = Evaluation(0.0, np.zeros((1, 3)))
    answers = [good(copper), None, nan, short, None]
    with pytest.raises(LabelError) as caught:
        require_answers([copper] * 5, answers, "Phonons")
    assert "no answer for frames: 1, 4" in str(caught.value)
    assert "NaN for frames: 2" in str(caught.value)
    assert "forces of the wrong shape for frames: 3" in str(caught.value)


def test_a_missing_stress_matters_only_where_it_is_needed(copper: Structure) -> None:
    answers = [Evaluation(0.0, np.zeros((len(copper), 3)))]
    assert len(require_answers([copper], answers, "Phonons")) == 1
    with pytest.raises(LabelError, match="no stress for frames: 0"):
        require_answers([copper], answers, "Elastic constants", stress=True)


def test_a_wrong_number_of_answers_is_refused(copper: Structure) -> None:
    with pytest.raises(LabelError, match="planned 2 structures but got 1 answers"):
        require_answers([copper] * 2, [good(copper)], "Phonons")
