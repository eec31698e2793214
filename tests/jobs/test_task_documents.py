"""What documents of VASP say beside energy, forces and stress of converged DFT steps."""

from typing import Any

import numpy as np
import pytest
from ase.units import GPa
from pymatgen.core import Structure

from phonotune.data.vasp import ML_STEPS, PERHAPS_P_V
from phonotune.jobs.task_documents import read_task


def _document(
    structure: Structure, energies: list[float], free: float, **used: Any
) -> dict[str, Any]:
    step = {
        "structure": structure,
        "e_fr_energy": free,
        "forces": np.zeros((len(structure), 3)).tolist(),
        "stress": (10.0 * np.eye(3)).tolist(),
        "electronic_steps": [{"e_fr_energy": energy} for energy in energies],
    }
    calculation = {
        "input": {"incar": {}, "parameters": {"NELM": 60, "EDIFF": 1e-6} | used},
        "output": {"ionic_steps": [step]},
        "has_vasp_completed": True,
    }
    return {"calcs_reversed": [calculation]}


SCF = [-10.0 - 1e-1**n for n in range(12)] + [-10.0]


def test_electronic_steps_of_a_linear_response_are_not_counted(aluminium: Structure) -> None:
    energies = SCF + [-40.0 - 0.1 * n for n in range(70)]
    (step,) = read_task(_document(aluminium, energies, -10.0, LEPSILON=True))
    assert step.fault is None
    (step,) = read_task(_document(aluminium, energies, -10.0))
    assert "83 of 60" in str(step.fault)


def test_p_v_is_no_part_of_the_label(aluminium: Structure) -> None:
    p_v = 5.0 * 0.1 * GPa * aluminium.volume
    (step,) = read_task(_document(aluminium, SCF, -10.0 + p_v, PSTRESS=5.0))
    assert (step.energy, step.fault) == (pytest.approx(-10.0, abs=1e-9), None)
    (step,) = read_task(_document(aluminium, SCF, -10.0, PSTRESS=5.0))
    assert (step.energy, step.fault) == (-10.0, None)
    (step,) = read_task(_document(aluminium, SCF, -10.3, PSTRESS=5.0))
    assert step.fault == PERHAPS_P_V


def test_steps_of_a_machine_learned_force_field_are_no_labels(aluminium: Structure) -> None:
    (step,) = read_task(_document(aluminium, [], -10.0, ML_LMLFF=True))
    assert step.fault == ML_STEPS


@pytest.mark.parametrize(("isif", "full"), [(0, False), (1, False), (2, True), (3, True)])
def test_only_a_full_stress_is_a_label(aluminium: Structure, isif: int, full: bool) -> None:
    (step,) = read_task(_document(aluminium, SCF, -10.0, ISIF=isif))
    assert (step.stress is not None) is full
