"""An ASE calculator as the foundation of the DAG: everything but strategies."""

from dataclasses import replace

import pytest

from phonotune.errors import ConfigError
from phonotune.flows.local import run_flow
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings
from phonotune.sampling.rattle import RattleSettings
from phonotune.sampling.select import SelectSettings
from phonotune.store import ResultStore, open_store

EMT = "ase:ase.calculators.emt:EMT"
MAKER = PhonotuneMaker(
    foundation=EMT,
    labeller="emt",
    strategies=[],
    rattle=RattleSettings(n_cells=2, volumes=(0.0, 2.5), min_length=5.0),
    relaxation=RelaxSettings(max_steps=10),
    phonon=PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2))),
)


def test_strategies_are_refused_when_the_flow_is_made(aluminium):
    with pytest.raises(ConfigError, match=r"Strategy 'lora' needs a MACE model, and ase:"):
        replace(MAKER, strategies=["lora"]).make(aluminium)


def test_a_selection_by_features_is_refused_when_the_flow_is_made(aluminium):
    maker = replace(MAKER, select=SelectSettings(method="fps"))
    with pytest.raises(ConfigError, match=r"Selection method 'fps' needs a MACE model"):
        maker.make(aluminium)


@pytest.mark.slow
def test_the_dag_runs_with_a_calculator_corrected_by_labels(aluminium, tmp_path):
    pytest.importorskip("phono3py")
    store = open_store(tmp_path / "store")
    cells = {"supercell_matrix": MAKER.phonon.supercell_matrix, "pair_cutoff": 3.0}
    maker = replace(
        MAKER,
        properties=[*MAKER.properties, "conductivity"],
        settings={"conductivity": {**cells, "mesh_density": 4.0, "max_doublings": 1}},
    )
    summary = run_flow(maker.make(aluminium), store, root_dir=tmp_path)
    assert summary.failed == []
    (comparison,) = ResultStore(store).query(kind="comparison")
    rows = {row.source.role: row for row in comparison.rows}
    assert list(rows) == ["untuned", "untuned + ΔΦ", "symfc"]
    assert rows["untuned"].source.evaluator == EMT
    # the labeller is the same potential
    assert rows["untuned"].deviations.frequency_mae < 1e-3
    conductivity = "conductivity.mean_conductivity_300"
    assert comparison.reference_properties.others[conductivity] > 0
    assert abs(rows["untuned"].deviations.others[conductivity]) < 0.01  # %
    assert comparison.missing == []
    assert rows["untuned + ΔΦ"].deviations.frequency_mae < 1e-3
