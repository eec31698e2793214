from __future__ import annotations

import numpy as np
import pytest

from phonotune.physics.transitions.labels import with_labels
from phonotune.ports import Evaluation
from phonotune.report.tables_transitions import branch_table, phase_table, plain_space_group
from phonotune.schemas.transition import TransitionDocument
from tests.report.builders import transition_document


@pytest.fixture
def tree() -> TransitionDocument:
    return transition_document()


def test_phases_stand_lowest_first_with_the_mode_that_led_there(tree: TransitionDocument) -> None:
    table = phase_table(tree)
    assert [row.name for row in table.rows] == ["2 R3m", "1 P4mm", "0 Pm-3m"]
    lowest = table.rows[0].cells
    assert [cell.value for cell in lowest[:2]] == ["-43.00", "-8.60"]
    assert (lowest[-2].value, lowest[-2].note) == ("0 Pm-3m", "T1u aaa at Γ")
    assert lowest[-1].value == "stable"
    assert all(len(row.cells) == len(table.heads) for row in table.rows)


def test_labels_stand_beside_the_energies_of_the_model(tree: TransitionDocument) -> None:
    answers = [Evaluation(energy, np.full((5, 3), 0.1), None) for energy in (-41.0, -41.02)]
    labelled = with_labels(tree, "emt", "f" * 16, [*answers, None], {2: "not converged"})
    table = phase_table(labelled)
    assert table.heads[2:4] == (("E, emt", "meV/atom"), ("Model - label", "meV/atom"))
    dead, alive, root = (row.cells[2:4] for row in table.rows)
    assert [cell.value for cell in dead] == ["–", "–"]
    assert dead[0].note == "not converged"
    assert [cell.value for cell in alive] == ["-4.00", "-1.80"]
    assert alive[0].note == "forces up to 0.173 eV/Å"
    assert [cell.value for cell in root] == ["0.00", "0.00"]


def test_every_direction_is_listed_with_what_became_of_it(tree: TransitionDocument) -> None:
    cut = tree.branches[0].model_copy(
        update={"child": None, "outcome": "branch limit", "start_space_group": None}
    )
    table = branch_table(tree.model_copy(update={"branches": [*tree.branches, cut]}))
    assert [row.cells[-1].value for row in table.rows] == ["new phase", "new phase", "branch limit"]
    assert [cell.value for cell in table.rows[2].cells[2:4]] == ["–", "–"]


@pytest.mark.parametrize(
    ("symbol", "text"), [("P6_3/mmc", "P6₃/mmc"), ("Pm-3m", "Pm-3m"), ("P-42_1m", "P-42₁m")]
)
def test_screw_axes_are_set_low(symbol: str, text: str) -> None:
    assert plain_space_group(symbol) == text
