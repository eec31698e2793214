"""A store that phonotune 0.1.0 made (aluminium, EMT, ``mini``, two epochs) is found again by this version."""

import gzip
import json
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from jobflow import JobStore
from maggma.stores import MemoryStore
from moto import mock_aws
from pymatgen.core import Lattice, Structure

from phonotune.data.structures import read_structure
from phonotune.flows.identity import stable_flow
from phonotune.flows.local import run_flow
from phonotune.flows.migrate import has_earlier_results, migrate
from phonotune.flows.names_before import Origin, old_names
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings
from phonotune.sampling.settings import RattleSettings
from phonotune.store import ResultStore, open_store
from tests.store.test_buckets import BUCKET, PROFILE, store_file

MADE = Path(__file__).with_name("store_0_1_0.json.gz")
"""Documents and arrays of `phonotune run` of the last commit before jobs were named by what they compute."""
FIRST_NAMES = Path(__file__).with_name("names_0_1_0.json")
"""Names of jobs of the same run by an earlier commit, before modules of VASP and relaxations moved."""
MAKER = PhonotuneMaker(
    foundation="mini",
    labeller="emt",
    strategies=["lora"],
    options={"lora": {"max_epochs": 2}},
    rattle=RattleSettings(n_cells=2, volumes=(0.0, 2.5), min_length=5.0),
    relaxation=RelaxSettings(max_steps=20),
    phonon=PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2))),
)
GENERATORS = 4
"""Labels and three properties by the labeller, which plan again in every run."""


def flow():
    """Return the flow of that run, which read its crystal from a CIF."""
    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])
    crystal.to(filename="al.cif")
    return MAKER.make(read_structure(Path("al.cif")))


@pytest.fixture(scope="module")
def content():
    return json.loads(gzip.decompress(MADE.read_bytes()))


def filled(opened, content):
    opened.connect()
    opened.docs_store.update(content["documents"], key=["uuid", "index"])
    opened.additional_stores["data"].update(content["arrays"], key="blob_uuid")
    return opened


@pytest.fixture
def store(content):
    return filled(JobStore(MemoryStore(), additional_stores={"data": MemoryStore()}), content)


def ids(store):
    return {(row["uuid"], row["index"]) for row in store.docs_store.query({}, ["uuid", "index"])}


@pytest.mark.slow
def test_a_run_after_it_computes_nothing(content, tmp_path):
    store = filled(open_store(tmp_path / "store"), content)
    before = len(ids(store))
    assert has_earlier_results(store)
    made = migrate(flow(), store)
    assert made.missing == ()
    assert made.renamed == before == made.there + GENERATORS
    assert not has_earlier_results(store)
    assert len(ids(store)) == before
    summary = run_flow(flow(), store, root_dir=tmp_path)
    assert (summary.finished, summary.reused, summary.failed) == (GENERATORS, made.there, [])
    (comparison,) = ResultStore(store).query(kind="comparison")
    assert comparison.reference.evaluator == "emt"


def as_by_fireworks(content):
    """Return the same content as FireWorks leaves it: what generators return bears no name of its own."""
    rows, arrays = (
        [dict(row) for row in content["documents"]],
        [dict(row) for row in content["arrays"]],
    )
    planned = {row["uuid"]: row for row in rows if row["index"] == 1 and row["output"] is None}
    renamed = {}
    for row in rows:
        notes = row["metadata"]["phonotune"]
        if row["uuid"] in planned:
            notes = planned[row["uuid"]]["metadata"]["phonotune"]
        elif row["name"].startswith(("emt static", "collect_labels")):
            renamed[row["uuid"]] = row["uuid"] = str(uuid4())
            notes = {key: value for key, value in notes.items() if key != "content"}
        row["metadata"] = {"phonotune": notes}
    for row in arrays:
        row["job_uuid"] = renamed.get(row["job_uuid"], row["job_uuid"])
    assert len(planned) == GENERATORS
    assert renamed
    return {"documents": rows, "arrays": arrays}


@pytest.fixture
def gridfs_store(mongo_yaml):
    opened = open_store(mongo_yaml)
    yield opened
    opened.close()


@pytest.fixture
def bucket_store(tmp_path):
    with mock_aws():
        boto3.client("s3", **PROFILE).create_bucket(Bucket=BUCKET)
        yield open_store(store_file(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [pytest.param("gridfs_store", marks=pytest.mark.mongo), "bucket_store"]
)
def test_what_fireworks_left_on_a_server_or_in_a_bucket_is_found_again(
    content, request, tmp_path, kind
):
    store = filled(request.getfixturevalue(kind), as_by_fireworks(content))
    made = migrate(flow(), store)
    assert made.missing == ()
    assert not has_earlier_results(store)
    summary = run_flow(flow(), store, root_dir=tmp_path)
    assert (summary.finished, summary.failed) == (0, [])
    (training,) = ResultStore(store).query(kind="training")
    assert training.model.adapters[0][0].to_bytes()


def test_the_arrays_go_with_their_documents(store):
    migrate(flow(), store)
    owners = {
        (row["job_uuid"], row["job_index"]) for row in store.additional_stores["data"].query({})
    }
    assert owners <= ids(store)
    (training,) = ResultStore(store).query(kind="training")
    assert training.model.adapters[0][0].to_bytes()


def test_a_dry_run_changes_nothing_and_says_the_same(store):
    before, arrays = ids(store), list(store.additional_stores["data"].query({}, ["job_uuid"]))
    tried = migrate(flow(), store, dry_run=True)
    assert ids(store) == before
    assert list(store.additional_stores["data"].query({}, ["job_uuid"])) == arrays
    assert tried == migrate(flow(), store)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["update", "remove_docs"])
@pytest.mark.parametrize("number", [1, 30])
def test_what_was_killed_half_way_is_ended_by_the_next_call(store, monkeypatch, step, number):
    before, calls = len(ids(store)), []
    true = getattr(store.docs_store, step)

    def stop_at_last(*args, **kwargs):
        calls.append(args)
        if len(calls) == number:
            raise KeyboardInterrupt
        return true(*args, **kwargs)

    monkeypatch.setattr(store.docs_store, step, stop_at_last)
    with pytest.raises(KeyboardInterrupt):
        migrate(flow(), store)
    monkeypatch.undo()
    assert len(ids(store)) >= before
    made = migrate(flow(), store)
    assert made.missing == ()
    assert len(ids(store)) == before
    assert not has_earlier_results(store)


def test_what_is_not_there_is_named_and_not_computed(store):
    found = store.docs_store.query({"name": "finetune lora"}, ["uuid"])
    store.docs_store.remove_docs({"uuid": {"$in": [row["uuid"] for row in found]}})
    made = migrate(flow(), store)
    assert made.missing == ("finetune lora",)
    assert has_earlier_results(store)  # what was computed from the model that is gone


def test_another_flow_finds_nothing_of_it(store):
    other = PhonotuneMaker(foundation="mini", labeller="emt", seed=7, relax_first=False)
    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.5), ["Al"], [[0, 0, 0]])
    before = ids(store)
    made = migrate(other.make(crystal), store)
    assert (made.renamed, made.there) == (0, 0)
    assert ids(store) == before


def test_names_from_before_the_modules_moved_are_known(store):
    rows = store.docs_store.query({"output.kind": "comparison"}, ["output.versions"])
    versions = tuple(sorted(next(iter(rows))["output"]["versions"].items()))
    named = stable_flow(flow())
    found = old_names(named, Origin(versions, moved=False), {})
    known = set(json.loads(FIRST_NAMES.read_text(encoding="utf-8")))
    assert {name.uuid for name in found.values()} <= known
    assert not {n.uuid for n in old_names(named, Origin(versions, True), {}).values()} <= known
