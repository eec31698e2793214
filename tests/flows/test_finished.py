"""A job is finished if the store has its output and the arrays of it, whatever a manager says."""

import pytest
from jobflow import Flow, job

from phonotune.flows.finished import finished_jobs
from phonotune.flows.identity import stable_flow
from phonotune.flows.local import run_flow
from phonotune.schemas.blob import Blob


@job(data=[Blob])
def pack(value):
    return {"value": value, "data": Blob.pack(a=[value])}


@job
def nothing():
    return None


@pytest.fixture
def ran(results, tmp_path):
    """Run jobs and return them under their stable names."""

    def run(*jobs):
        flow = Flow(list(jobs))
        run_flow(flow, results, root_dir=tmp_path)
        return [made for made, _ in stable_flow(flow).iterflow()]

    return run


def test_an_output_without_its_blob_does_not_count(results, ran):
    whole, torn = ran(pack(1.0), pack(2.0))
    assert finished_jobs([whole, torn], results) == {whole.uuid, torn.uuid}
    results.additional_stores["data"].remove_docs({"job_uuid": torn.uuid})
    assert finished_jobs([whole, torn], results) == {whole.uuid}


def test_an_output_that_a_killed_deletion_left_does_not_count(results, ran):
    (made,) = ran(pack(1.0))
    (row,) = results.docs_store.query({})
    row["metadata"]["phonotune"]["deleting"] = True
    results.docs_store.update([row | {"output": None}], key="uuid")
    assert finished_jobs([made], results, {made.uuid: 1}) == set()


def test_a_job_without_an_output_is_finished_where_a_manager_ended_it(results, ran):
    (made,) = ran(nothing())
    assert finished_jobs([made], results) == set()
    assert finished_jobs([made], results, {}) == set()
    assert finished_jobs([made], results, {made.uuid: 1}) == {made.uuid}
    results.docs_store.remove_docs({})
    assert finished_jobs([made], results, {made.uuid: 1}) == set()


def test_all_jobs_are_looked_up_at_once(results, ran, monkeypatch):
    jobs = ran(*(pack(float(n)) for n in range(5)))
    asked = []
    for store in (results.docs_store, results.additional_stores["data"]):
        for name in ("query", "distinct"):
            found = getattr(store, name)
            monkeypatch.setattr(
                store, name, lambda *a, _f=found, _n=name, **k: asked.append(_n) or _f(*a, **k)
            )
    assert len(finished_jobs(jobs, results)) == 5
    assert asked.count("distinct") == 1
    assert len(asked) <= 3
