"""A potential of another environment in the DAG: foundation, corrected by labels, and labeller."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from monty.json import MontyDecoder, MontyEncoder

from phonotune.errors import ConfigError, StructureError
from phonotune.flows.identity import stable_flow
from phonotune.flows.local import run_flow
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.flows.run import checked_flows
from phonotune.jobs.label import LabelMaker
from phonotune.models.potentials import add_potential, remove_potential
from phonotune.models.process_engine import stop_processes
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings
from phonotune.report.bundle import bundle_documents
from phonotune.report.html import render_report
from phonotune.sampling.rattle import RattleSettings
from phonotune.schemas.potential import Potential
from phonotune.store import ResultStore, open_store

MAKER = PhonotuneMaker(
    foundation="soft",
    labeller="hard",
    strategies=[],
    properties=["phonon"],
    rattle=RattleSettings(n_cells=2, volumes=(0.0, 2.5), min_length=5.0),
    relaxation=RelaxSettings(max_steps=10),
    phonon=PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)), mesh_density=100.0),
)


@pytest.fixture
def pair(other_python):
    """Two potentials, of which the second is stiffer."""
    for name, factor in (("soft", 1.0), ("hard", 1.2)):
        potential = Potential(
            calculator="stub_potentials:Pair",
            arguments={"factor": factor},
            python=str(other_python),
            versions={"stub_potentials": "1.0"},
            elements=("Al", "Cu"),
            level_of_theory="a textbook",
        )
        add_potential(name, potential)
    yield
    stop_processes()


def ids(flow):
    return [job.uuid for job, _ in stable_flow(flow).iterflow()]


def test_what_it_cannot_do_is_told_when_the_flow_is_made(pair, aluminium):
    with pytest.raises(
        ConfigError, match=r"Strategy 'lora' needs a MACE model, and soft is an ASE"
    ):
        replace(MAKER, strategies=["lora"]).make(aluminium)
    salt = aluminium.copy()
    salt.replace_species({"Al": "Na"})
    for maker in (MAKER, replace(MAKER, foundation="mini")):
        with pytest.raises(StructureError, match="Na"):
            checked_flows(maker, {"salt": salt})


def test_where_it_runs_says_nothing_about_a_job(pair, aluminium):
    before = ids(MAKER.make(aluminium))
    for name, factor in (("soft", 1.0), ("hard", 1.2)):
        elsewhere = Potential(
            calculator="stub_potentials:Pair",
            arguments={"factor": factor},
            python="/elsewhere/python",
            versions={"stub_potentials": "1.0"},
            elements=("Al", "Cu"),
            level_of_theory="a textbook, they say",
        )
        add_potential(name, elsewhere)
    assert ids(MAKER.make(aluminium)) == before
    remove_potential("hard")
    other = elsewhere.model_copy(update={"versions": {"stub_potentials": "1.1"}})
    add_potential("hard", other)
    assert not set(ids(MAKER.make(aluminium))) & set(before)


def test_a_labeller_carries_its_potential_and_another_name_drops_it(pair):
    text = json.dumps(LabelMaker(labeller="hard"), cls=MontyEncoder)
    remove_potential("hard")  # as on a worker that has never heard of it
    decoded = MontyDecoder().decode(text)
    assert decoded.source().potential == (
        "stub_potentials 1.0, Pair(factor=1.2), level of theory a textbook"
    )
    assert decoded.resolve().name == "hard"
    assert replace(decoded, labeller="emt").potential is None


@pytest.mark.slow
def test_the_dag_runs_with_it_on_workers_that_do_not_know_its_name(pair, aluminium, tmp_path):
    flow = MAKER.make(aluminium)
    remove_potential("soft")
    remove_potential("hard")
    store = open_store(tmp_path / "store")
    summary = run_flow(flow, store, root_dir=tmp_path)
    assert summary.failed == []
    results = ResultStore(store)
    (comparison,) = results.query(kind="comparison")
    rows = {row.source.role: row for row in comparison.rows}
    assert list(rows) == ["untuned", "untuned + ΔΦ", "symfc"]
    assert rows["untuned"].source.evaluator == "soft"
    assert comparison.reference.potential.startswith("stub_potentials 1.0, Pair(factor=1.2)")
    # sqrt(1.2) stiffer: a frequency is 9.5 % higher
    assert rows["untuned"].deviations.frequency_mae > 0.1
    assert (
        rows["untuned + ΔΦ"].deviations.frequency_mae
        < 0.1 * rows["untuned"].deviations.frequency_mae
    )
    page = render_report(bundle_documents(results.query()))
    assert "a potential that stands in for DFT (stub_potentials 1.0, Pair(factor=1.2)" in page
    assert "stub_potentials 1.0, Pair(factor=1.0), level of theory a textbook" in page
