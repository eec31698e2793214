"""A flow goes to a manager once, whole or not at all."""

import sys
from dataclasses import dataclass
from itertools import count

import pytest
from jobflow import Flow, JobStore, Maker, job
from maggma.stores import MemoryStore
from pymongo.errors import AutoReconnect

from phonotune.errors import ConfigError, PhonotuneError, StoreError
from phonotune.flows import submit as module
from phonotune.flows.local import run_flow
from phonotune.flows.queues import Queue, QueuedJob, open_queue
from phonotune.flows.routing import Profile
from phonotune.flows.status import cancel, retry_failed, status, summarise
from phonotune.flows.submit import Order, submit, submit_all
from phonotune.jobs.base import replace_by, tag


@job
def add(a, b):
    return a + b


def build(start=1, more=()):
    """Return a chain of two jobs, and one job more for each number."""
    first = tag(add(start, 1), "light", "plan")
    second = tag(add(first.output, 1), "gpu_eval", "evaluate")
    return Flow([first, second, *(tag(add(second.output, n), "dft", "label") for n in more)])


class MemoryQueue(Queue):
    """A manager in memory that runs nothing."""

    manager = "fireworks"

    def __init__(self) -> None:
        self.rows: dict[str, QueuedJob] = {}
        self.flows: list[set[str]] = []
        self.ids = count(1)
        stores = {"data": MemoryStore()}
        self.results = JobStore(MemoryStore(), additional_stores=stores)
        self.results.connect()

    def close(self):
        pass

    def store(self):
        return self.results

    def find(self, uuids=None):
        return [row for row in self.rows.values() if uuids is None or row.uuid in uuids]

    def add(self, flow, default):
        new = []
        for made, _ in flow.iterflow():
            assert made.uuid not in self.rows
            worker = made.config.manager_config.get("worker", default)
            about = made.metadata["phonotune"]
            new.append(str(next(self.ids)))
            self.rows[made.uuid] = QueuedJob(
                new[-1], made.uuid, 1, made.name, "ready", about, worker
            )
        self.flows.append({made.uuid for made, _ in flow.iterflow()})
        return new

    def set(self, uuid, state):
        row = self.rows[uuid]
        self.rows[uuid] = QueuedJob(
            row.id, uuid, 1, row.name, state, row.about, row.worker, "it broke"
        )

    def flows_of(self, uuids):
        names = set().union(*(flow for flow in self.flows if flow & set(uuids)))
        return [row for row in self.rows.values() if row.uuid in names]

    def claims(self):
        return self.results.docs_store._collection.database["claims"]

    def check(self):
        pass

    def sweep(self, uuids):
        pass

    def retry(self, jobs):
        for row in jobs:
            self.set(row.uuid, "ready")
        return {row.id: None for row in jobs}

    def cancel(self, jobs):
        for row in jobs:
            self.set(row.uuid, "cancelled")
        return {row.id: None for row in jobs}

    def remove(self, uuids):
        for row in self.flows_of(uuids):
            del self.rows[row.uuid]
        return []


@pytest.fixture
def queue(monkeypatch) -> MemoryQueue:
    made = MemoryQueue()
    monkeypatch.setattr(module, "open_queue", lambda *_: made)
    monkeypatch.setattr("phonotune.flows.status.open_queue", lambda *_: made)
    return made


def test_every_job_is_added_to_the_worker_of_its_role(queue):
    submission = submit(build(), "fireworks")
    assert submission.added == 2
    assert submission.ids == ("1", "2")
    assert [queue.rows[uuid].worker for uuid in submission.uuids] == ["light", "gpu"]


def test_the_same_flow_again_adds_nothing_and_gives_the_same_ids(queue):
    first = submit(build(), "fireworks")
    again = submit(build(), "fireworks")
    assert again.added == 0
    assert (again.ids, again.uuids) == (first.ids, first.uuids)
    assert again.states == {"ready": 2}


def test_force_adds_everything_under_new_names(queue):
    first = submit(build(), "fireworks")
    again = submit(build(), "fireworks", force=True)
    assert again.added == 2
    assert not set(again.uuids) & set(first.uuids)


def test_the_users_flow_is_not_changed(queue):
    flow = build()
    before = [(made.uuid, made.config.manager_config) for made, _ in flow.iterflow()]
    submit(flow, "fireworks")
    assert [(made.uuid, made.config.manager_config) for made, _ in flow.iterflow()] == before


def test_results_of_a_run_on_this_machine_are_not_computed_again(queue, tmp_path):
    run_flow(build(), queue.results, root_dir=tmp_path)
    submission = submit(build(), "fireworks")
    assert (submission.added, submission.finished) == (0, 2)
    larger = submit(build(more=[5]), "fireworks")
    assert (larger.added, larger.finished) == (1, 2)


@dataclass
class Doubler(Maker):
    """Replaces itself by two additions."""

    name: str = "doubler"

    @job
    def make(self, value):
        first = add(value, value)
        return replace_by([first], add(first.output, 0))


def test_a_generator_whose_result_a_run_left_is_not_computed_again(queue, tmp_path):
    def flow():
        return Flow([made := tag(Doubler().make(2), "light", "plan"), add(made.output, 1)])

    run_flow(flow(), queue.results, root_dir=tmp_path)
    submission = submit(flow(), "fireworks")
    assert (submission.added, submission.finished) == (0, 2)


def test_a_result_of_another_content_does_not_count(queue, tmp_path):
    run_flow(build(), queue.results, root_dir=tmp_path)
    queue.results.docs_store.update(
        [row | {"metadata": {}} for row in queue.results.docs_store.query({})], key="uuid"
    )
    assert submit(build(), "fireworks").added == 2


def test_a_flow_that_shares_unfinished_jobs_with_another_is_refused(queue):
    submit(build(), "fireworks")
    with pytest.raises(ConfigError, match=r"2 jobs of this flow.*phonotune status.*--force"):
        submit(build(more=[5]), "fireworks")
    assert len(queue.rows) == 2


def test_flows_are_checked_before_the_first_is_added_or_anything_is_removed(queue):
    first = submit(build(), "fireworks")
    cancel("fireworks")
    too_large = Flow([add("x" * 8_100_000, "y")], name="second")
    with pytest.raises(StoreError, match=r"8\.\d MB"):
        submit_all([Order(build()), Order(too_large)], "fireworks")
    assert {row.id for row in queue.find()} == set(first.ids)
    assert {row.state for row in queue.find()} == {"cancelled"}


def test_flows_submitted_together_that_share_a_part_are_refused_and_the_same_twice_is_one(queue):
    with pytest.raises(
        ConfigError, match=r"2 jobs of 2 \(Flow\) are a part of 1 \(Flow\).*--force"
    ):
        submit_all([Order(build()), Order(build(more=[5]))], "fireworks")
    assert queue.rows == {}
    first, again = submit_all([Order(build()), Order(build())], "fireworks")
    assert (first.added, again.added) == (2, 0)
    assert again.states == {"ready": 2}


def test_what_failed_after_the_first_flow_says_how_far_it_got(queue, monkeypatch):
    adds = queue.add

    def fails_later(flow, default):
        if queue.rows:
            raise AutoReconnect("connection closed")
        return adds(flow, default)

    monkeypatch.setattr(queue, "add", fails_later)
    with pytest.raises(
        PhonotuneError, match=r"Of 2 flows 1 are in the queue.*connection closed"
    ) as e:
        submit_all([Order(build()), Order(build(start=7))], "fireworks")
    assert e.value.exit_code == 1
    assert list(queue.claims().find()) == []


def test_a_cancelled_flow_can_be_submitted_again(queue):
    first = submit(build(), "fireworks")
    assert cancel("fireworks").done == list(first.ids)
    again = submit(build(), "fireworks")
    assert again.added == 2
    assert {row.state for row in queue.find()} == {"ready"}


def test_failed_jobs_are_told_and_made_ready_again(queue):
    first = submit(build(), "fireworks", about={"formula": "Al"})
    queue.set(first.uuids[1], "failed")
    rows = status("fireworks", formula="Al")
    assert [(row.stage, row.counts) for row in rows] == [
        ("plan", {"ready": 1}),
        ("evaluate", {"failed": 1}),
    ]
    assert rows[1].errors == ["add (2): it broke"]
    assert retry_failed("fireworks", formula="Cu").done == []
    assert retry_failed("fireworks").done == ["2"]
    assert {row.state for row in queue.find()} == {"ready"}


def test_a_job_that_replaced_itself_counts_as_what_it_became():
    planned = QueuedJob("1", "u", 1, "label", "done", {"formula": "Al", "stage": "label"})
    gathers = QueuedJob("9", "u", 2, "collect", "waiting", {"formula": "Al", "stage": "label"})
    (row,) = summarise([gathers, planned])
    assert row.counts == {"waiting": 1}


def test_a_job_too_large_for_a_database_is_refused_before_anything_is_added(queue):
    with pytest.raises(StoreError, match=r"Job 'add' has 8\.\d MB"):
        submit(Flow([add("x" * 8_100_000, "y")]), "fireworks")
    assert queue.rows == {}


def test_an_unknown_manager_is_one_sentence():
    with pytest.raises(ConfigError, match="Did you mean 'fireworks'"):
        open_queue("firework", Profile())


@pytest.mark.parametrize(
    ("manager", "package", "extra"),
    [("fireworks", "fireworks", "fireworks"), ("jobflow-remote", "jobflow_remote", "remote")],
)
def test_a_manager_that_is_not_installed_is_one_sentence(monkeypatch, manager, package, extra):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"not installed here.*phonotune\[{extra}\]"):
        open_queue(manager, Profile())


def test_fireworks_without_a_launchpad_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="phonotune profile init --manager fireworks"):
        open_queue("fireworks", Profile(launchpad=tmp_path / "none.yaml"))
