"""The local runner: jobs named by content, finished work found, failures told."""

from dataclasses import dataclass

import pytest
from jobflow import Flow, Maker, OnMissing, job

from phonotune.flows.identity import stable_flow
from phonotune.flows.local import run_flow
from phonotune.jobs.base import replace_by
from phonotune.schemas.blob import Blob
from phonotune.store import open_store

CALLS: list[str] = []


@job
def add(a, b):
    CALLS.append("add")
    return a + b


@job
def fail(a):
    raise ValueError(f"cannot do {a}")


@dataclass
class Doubler(Maker):
    """Replaces itself by two additions."""

    name: str = "doubler"

    @job
    def make(self, value):
        CALLS.append("plan")
        first = add(value, value)
        return replace_by([first], add(first.output, 0))


@pytest.fixture
def store(tmp_path):
    CALLS.clear()
    return open_store(tmp_path / "store")


def build(start=1):
    first = add(start, 1)
    doubled = Doubler().make(first.output)
    return Flow([first, Flow([doubled, add(doubled.output, 1)])])


def final(store, flow):
    """Output of the last job of a flow."""
    last = list(stable_flow(flow).iterflow())[-1][0]
    return store.get_output(last.uuid, which="last")


def test_a_flow_with_a_generator_runs_to_its_end(store):
    summary = run_flow(build(), store)
    assert (summary.finished, summary.reused, summary.failed) == (5, 0, [])
    assert final(store, build()) == 5


def test_the_same_flow_again_repeats_nothing_but_planning(store):
    run_flow(build(), store)
    CALLS.clear()
    summary = run_flow(build(), store)
    assert CALLS == ["plan"]
    assert summary.reused == 4
    assert final(store, build()) == 5


def test_another_input_is_other_work(store):
    run_flow(build(), store)
    CALLS.clear()
    run_flow(build(start=5), store)
    assert CALLS.count("add") == 4
    assert final(store, build(start=5)) == 13


def test_ids_depend_on_content_only():
    def ids(flow):
        return [made.uuid for made, _ in stable_flow(flow).iterflow()]

    assert ids(build()) == ids(build())
    assert not set(ids(build())) & set(ids(build(start=2)))


def test_equal_jobs_of_one_flow_stay_apart():
    flow = stable_flow(Flow([add(1, 1), add(1, 1)]))
    assert len({made.uuid for made, _ in flow.iterflow()}) == 2


def test_a_failure_is_told_and_spares_what_does_not_need_it(store):
    broken = fail(7)
    needs = add(broken.output, 1)
    free = add(1, 1)
    events = []
    summary = run_flow(
        Flow([broken, needs, free]),
        store,
        progress=lambda name, event, *_: events.append((name, event)),
    )
    assert [(f.name, f.error) for f in summary.failed] == [("fail", "ValueError: cannot do 7")]
    assert summary.finished == 1
    assert ("fail", "failed") in events
    assert ("add", "done") in events


def test_what_failed_is_tried_again(store):
    run_flow(Flow([fail(1)]), store)
    assert len(run_flow(Flow([fail(1)]), store).failed) == 1


@dataclass
class Collector(Maker):
    """Replaces itself by jobs of which some may fail, and one that gathers what came back."""

    name: str = "collector"

    @job
    def make(self, deadly):
        parts = [fragile(value, deadly) for value in (1, 2, 3)]
        last = gather([part.output for part in parts])
        last.update_config({"on_missing_references": OnMissing.NONE})
        return replace_by(parts, last)


BROKEN: set[int] = set()


@job
def fragile(value, deadly):
    if value in BROKEN:
        raise RuntimeError("node lost")
    return value


@job
def gather(parts):
    return [part for part in parts if part is not None]


def test_what_was_mended_is_gathered_again(store):
    def run():
        flow = Flow([Collector().make("x")])
        run_flow(flow, store)
        return final(store, flow)

    BROKEN.add(2)
    assert run() == [1, 3]
    BROKEN.clear()
    assert run() == [1, 2, 3]


@job(data=[Blob])
def make_blob(value):
    CALLS.append("blob")
    return {"value": value, "data": Blob.pack(a=[value])}


def test_a_document_without_its_blob_is_made_again(store):
    run_flow(Flow([make_blob(1.0)]), store)
    store.additional_stores["data"].remove_docs({})
    assert run_flow(Flow([make_blob(1.0)]), store).finished == 1
    assert run_flow(Flow([make_blob(1.0)]), store).reused == 1
    assert CALLS == ["blob", "blob"]


def test_a_store_that_fails_is_a_failure_not_silence(store, monkeypatch):
    def fails(*_, **__):
        raise OSError("connection lost")

    monkeypatch.setattr(store, "query", fails)
    summary = run_flow(Flow([add(1, 1)]), store)
    assert [failed.error for failed in summary.failed] == ["OSError: connection lost"]


def test_empty_job_folders_do_not_stay(store, tmp_path):
    (tmp_path / "jobs").mkdir()
    run_flow(build(), store, root_dir=tmp_path / "jobs")
    assert list((tmp_path / "jobs").iterdir()) == []
