"""A whole DAG in seconds: fcc aluminium, EMT as the labeller, ``mini`` tuned for two epochs."""

import json
from dataclasses import replace

import pytest
from jobflow import Flow, Job, OnMissing
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure

from phonotune.dotted import load
from phonotune.errors import ConfigError, InputError
from phonotune.flows.local import run_flow
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings
from phonotune.sampling.settings import RattleSettings, SelectSettings
from phonotune.schemas.kinds import property_kinds
from phonotune.store import ResultStore, open_store

MAKER = PhonotuneMaker(
    foundation="mini",
    labeller="emt",
    strategies=["lora", "equitrain"],
    options={s: {"max_epochs": 2} for s in ("lora", "equitrain")},
    rattle=RattleSettings(n_cells=2, volumes=(0.0, 2.5), min_length=5.0),
    relaxation=RelaxSettings(max_steps=20),
    phonon=PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2))),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run the DAG once; returns store, summary of the run and summary of a second run."""
    from pymatgen.core import Lattice, Structure

    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])
    folder = tmp_path_factory.mktemp("run")
    store = open_store(folder / "store")
    first = run_flow(MAKER.make(crystal), store, root_dir=folder)
    second = run_flow(MAKER.make(crystal), store, root_dir=folder)
    return store, first, second


@pytest.mark.slow
def test_every_job_of_the_dag_finishes(finished):
    _, first, _ = finished
    assert first.failed == []
    assert first.reused == 0


@pytest.mark.slow
def test_a_second_run_computes_nothing_again(finished):
    _, first, second = finished
    assert second.failed == []
    assert second.finished == 4  # the four generators plan again: labels and three properties
    assert second.reused == first.finished - second.finished


@pytest.mark.slow
def test_the_comparison_holds_reference_untuned_and_every_strategy(finished):
    store, *_ = finished
    (comparison,) = ResultStore(store).query(kind="comparison")
    assert comparison.reference.evaluator == "emt"
    rows = {row.source.role: row for row in comparison.rows}
    models = ["untuned", "lora", "equitrain"]
    corrected = [f"{model} + ΔΦ" for model in models]
    pairs = [role for pair in zip(models, corrected, strict=True) for role in pair]
    assert list(rows) == [*pairs, "symfc"]
    assert all(row.deviations.frequency_mae > 0 for row in comparison.rows)
    assert all(rows[model].properties.bulk_modulus is not None for model in models)
    assert len({rows[model].source.model_id for model in models}) == 3


@pytest.mark.slow
def test_residual_force_constants_bring_every_model_nearer_to_the_reference(finished):
    store, *_ = finished
    (comparison,) = ResultStore(store).query(kind="comparison")
    errors = {row.source.role: row.deviations.frequency_mae for row in comparison.rows}
    for model in ("untuned", "lora", "equitrain"):
        assert errors[f"{model} + ΔΦ"] < errors[model]


@pytest.mark.slow
def test_no_model_is_worse_on_validation_than_the_foundation(finished):
    store, *_ = finished
    trainings = ResultStore(store).query(kind="training")
    assert [training.model.strategy for training in trainings] == ["lora", "equitrain"]
    for training in trainings:
        losses = training.history.arrays()["valid_loss"]
        assert losses[training.best_epoch] == losses.min() <= losses[0]


@pytest.mark.slow
def test_at_most_twelve_documents_a_model_beside_the_labels(finished):
    store, *_ = finished
    assert len(ResultStore(store).query()) <= 12 * 3


@pytest.mark.slow
def test_stored_documents_are_small(finished):
    store, *_ = finished
    for row in store.query({}, load=False):
        row.pop("_id", None)
        assert len(json.dumps(row, default=str)) < 50_000, row["name"]


def test_the_maker_survives_serialisation_twice():
    maker = MAKER
    for _ in range(2):
        maker = MontyDecoder().process_decoded(json.loads(json.dumps(maker, cls=MontyEncoder)))
    assert maker == MAKER


def test_every_job_knows_its_role_and_keeps_its_childrens_routing(aluminium):
    flow = MAKER.make(aluminium)
    assert isinstance(flow, Flow)
    for made, _ in flow.iterflow():
        assert made.metadata["phonotune"]["role"] in {"light", "dft", "gpu_eval", "gpu_train"}
        assert made.config.pass_manager_config is False


def test_the_comparison_waits_for_no_property_that_failed_and_knows_what_there_should_be(aluminium):
    flow = replace(MAKER, properties=["phonon", "transitions"]).make(aluminium)
    (compared,) = [made for made, _ in flow.iterflow() if made.name == "compare"]
    assert compared.config.on_missing_references == OnMissing.NONE
    expected = compared.function.__self__.expected
    assert expected.pop("reference") == ["phonon"]
    assert list(expected) == ["untuned", "lora", "equitrain"]
    assert all(names == ["phonon", "transitions"] for names in expected.values())


def test_a_selection_by_the_model_gets_the_foundation_and_a_worker_for_it(aluminium):
    chosen = SelectSettings(method="fps", budget=8)
    flow = PhonotuneMaker(foundation="mini", labeller="emt", select=chosen).make(aluminium)
    (job,) = [made for made, _ in flow.iterflow() if made.name == "select"]
    assert job.metadata["phonotune"]["role"] == "gpu_eval"
    assert job.function_args[1].foundation.name == "mini"


@pytest.mark.slow
def test_small_rattles_train_beside_the_relaxations(finished):
    store, *_ = finished
    (selected,) = [d for d in ResultStore(store).query(kind="structures") if d.scores]
    assert len(selected.groups) <= SelectSettings().budget
    assert [selected.groups[i] for i in selected.fixed] == ["small rattle", "small rattle"]
    (dataset,) = ResultStore(store).query(kind="dataset")
    groups = {frame.group for frame in dataset.train_frames()}
    assert "small rattle" in groups


def jobs_of(flow: Flow) -> dict[str, Job]:
    return {made.name: made for made, _ in flow.iterflow()}


def test_every_property_of_the_rows_can_stand_in_the_dag(aluminium):
    pytest.importorskip("phono3py")
    kinds = {name: kind for name, kind in property_kinds().items() if kind.reference != "only"}
    maker = replace(
        MAKER,
        strategies=["lora"],
        options={},
        properties=["well", *kinds],
        settings={"conductivity": {"mesh_density": 7.0}},
    )
    jobs = jobs_of(maker.make(aluminium))
    for kind in kinds.values():
        name = load(kind.maker).name
        roles = {"reference", "untuned", "lora"} - set(
            () if kind.reference == "property" else ["reference"]
        )
        assert {n.removeprefix(f"{name} ") for n in jobs if n.startswith(f"{name} ")} == roles
    compared = jobs["compare"].input_uuids
    assert {job.uuid for name, job in jobs.items() if name.endswith((" untuned", " reference"))} < {
        *compared
    }
    assert jobs["conductivity lora"].maker.settings.mesh_density == 7.0
    assert jobs["quasi-harmonic untuned"].maker.settings.phonons == maker.phonon


def test_born_charges_are_computed_once_where_the_labeller_can_and_reach_every_phonon(aluminium):
    def charged(**changes):
        maker = replace(MAKER, relax_first=False, labeller="vasp", **changes)
        return jobs_of(maker.make(aluminium))

    jobs = charged()
    born = jobs["born reference"]
    assert born.maker.settings.symprec == MAKER.phonon.symprec
    for role in ("reference", "untuned", "lora"):
        assert born.uuid in jobs[f"phonon {role}"].input_uuids
    assert not [name for name in jobs if name.startswith("born") and name != "born reference"]
    assert not [name for name in charged(born="off") if name.startswith("born")]
    assert not [name for name in charged(properties=["elastic"]) if name.startswith("born")]
    assert "born reference" in charged(properties=["elastic", "born"])
    assert not [n for n in jobs_of(MAKER.make(aluminium)) if n.startswith("born")]  # EMT has none
    with pytest.raises(ConfigError, match="Labeller 'emt' gives no Born charges"):
        replace(MAKER, properties=["phonon", "born"]).make(aluminium)


def test_born_charges_of_a_file_are_those_of_every_phonon(tmp_path):
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3]
    )
    rows = ["2.4 0 0 0 2.4 0 0 0 2.4", *(f"{z} 0 0 0 {z} 0 0 0 {z}" for z in (1.1, -1.1))]
    (tmp_path / "BORN").write_text("\n".join(["# made up", *rows]))
    maker = replace(MAKER, relax_first=False, labeller="vasp", born=str(tmp_path / "BORN"))
    jobs = jobs_of(maker.make(salt))
    assert not [name for name in jobs if name.startswith("born")]
    for role in ("reference", "untuned", "lora"):
        assert jobs[f"phonon {role}"].maker.born.charges[0][0][0] == pytest.approx(1.1)
    with pytest.raises(InputError, match="does not exist"):
        replace(maker, born=str(tmp_path / "other")).make(salt)


def test_a_well_follows_the_mode_of_the_reference_and_a_tree_is_labelled(aluminium):
    jobs = jobs_of(replace(MAKER, properties=["phonon", "well", "transitions"]).make(aluminium))
    reference = jobs["phonon reference"].uuid
    assert all(reference in jobs[f"double well {role}"].input_uuids for role in ("untuned", "lora"))
    assert "transitions reference" not in jobs
    assert jobs["transitions lora"].maker.labeller.labeller == "emt"
    assert jobs["phonon lora"].maker.labeller is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labeller": "emtt"}, "Did you mean 'emt'"),
        ({"strategies": ["lorra"]}, "Did you mean 'lora'"),
        ({"options": {"lora": {"los.forces": 1}}}, r"Did you mean 'loss\.forces'"),
        ({"options": {"delta": {}}}, "Unknown strategy in options 'delta'"),
        ({"options": {"lora": {"rank": -1}}}, r"rank = -1 is not allowed"),
        ({"properties": ["phonons"]}, "Unknown property 'phonons'. Did you mean 'phonon'"),
        ({"properties": ["well", "elastic"]}, "Property 'well' needs 'phonon'"),
        ({"properties": ["transitions"]}, "nothing could be compared"),
        (
            {"properties": ["quasi_harmonic"], "settings": {"quasi_harmonic": {"volume": []}}},
            "Unknown key of settings.quasi_harmonic 'volume'. Did you mean 'volumes'",
        ),
        ({"settings": {"transitions": {}}}, "Unknown property in settings 'transitions'"),
        (
            {"properties": ["quasi_harmonic"], "settings": {"quasi_harmonic": {"volumes": 3}}},
            r"settings\.quasi_harmonic\.volumes = 3 is not allowed",
        ),
        ({"labeller": "atomate2.ase.jobs:LennardJonesStaticMaker"}, "offers no relaxation"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_starts(aluminium, change, message):
    with pytest.raises(ConfigError, match=message):
        PhonotuneMaker(**({"foundation": "mini", "labeller": "emt"} | change)).make(aluminium)
