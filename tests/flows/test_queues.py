"""FireWorks and jobflow-remote, on a database in memory: what counts is the store, and nothing runs twice."""

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from jobflow import Flow, job
from pymongo.errors import AutoReconnect

from phonotune.errors import ConfigError
from phonotune.flows.identity import stable_flow
from phonotune.flows.local import run_flow
from phonotune.flows.status import cancel, retry_failed
from phonotune.flows.submit import submit
from phonotune.jobs.base import tag
from phonotune.schemas.blob import Blob

STATES = {
    "fireworks": {
        "done": "COMPLETED",
        "running": "RUNNING",
        "failed": "FIZZLED",
        "ready": "READY",
        "waiting": "WAITING",
    },
    "jobflow-remote": {
        "done": "COMPLETED",
        "running": "RUNNING",
        "failed": "FAILED",
        "ready": "READY",
        "waiting": "WAITING",
        "batch": "BATCH_RUNNING",
    },
}


@job(data=[Blob])
def add(a, b):
    return {"sum": a + b, "data": Blob.pack(a=[a])}


def build():
    """Return a chain of three jobs."""
    first = tag(add(1, 1), "light", "plan")
    second = tag(add(first.output["sum"], 1), "dft", "label")
    third = tag(add(second.output["sum"], 1), "gpu_eval", "evaluate")
    return Flow([first, second, third])


UUIDS = [made.uuid for made, _ in stable_flow(build()).iterflow()]


@pytest.fixture
def queue(open_any, monkeypatch):
    monkeypatch.setattr("phonotune.flows.submit.open_queue", open_any)
    monkeypatch.setattr("phonotune.flows.status.open_queue", open_any)
    with open_any() as opened:
        yield opened


@pytest.fixture
def fireworks(open_fireworks, monkeypatch):
    monkeypatch.setattr("phonotune.flows.submit.open_queue", open_fireworks)
    monkeypatch.setattr("phonotune.flows.status.open_queue", open_fireworks)
    with open_fireworks() as opened:
        yield opened


@pytest.fixture
def remote(open_remote, monkeypatch):
    monkeypatch.setattr("phonotune.flows.submit.open_queue", open_remote)
    monkeypatch.setattr("phonotune.flows.status.open_queue", open_remote)
    with open_remote() as opened:
        yield opened


def put(queue, states):
    """Set the states of the flow's jobs as the manager writes them."""
    for uuid, state in zip(UUIDS, states, strict=True):
        change = {"$set": {"state": STATES[queue.manager][state]}}
        if queue.manager == "fireworks":
            queue.launchpad.fireworks.update_one({"spec._tasks.job.uuid": uuid}, change)
        else:
            queue.controller.jobs.update_one({"uuid": uuid}, change)


def states(queue):
    """Return the states of the flow's jobs, in order."""
    found = {found.uuid: found.state for found in queue.find()}
    assert len(found) == len(queue.find()), "a job is there twice"
    return [found.get(uuid) for uuid in UUIDS]


def finished(queue, results, tmp_path):
    """Submit the flow, and let it be done: results in the store, and the manager knows."""
    submit(build(), queue.manager)
    run_flow(build(), results, root_dir=tmp_path)
    put(queue, ["done"] * 3)
    assert submit(build(), queue.manager).added == 0


def test_a_result_deleted_from_the_store_is_computed_again_with_what_came_of_it(
    queue, results, tmp_path
):
    finished(queue, results, tmp_path)
    results.remove_docs({"uuid": UUIDS[1]})
    again = submit(build(), queue.manager)
    assert (again.added, again.finished) == (2, 1)
    assert states(queue) == [None, "ready", "waiting"]
    once_more = submit(build(), queue.manager)
    assert (once_more.added, once_more.ids, once_more.finished) == (0, again.ids, 1)


def test_a_result_whose_array_is_lost_is_computed_again(queue, results, tmp_path):
    finished(queue, results, tmp_path)
    results.additional_stores["data"].remove_docs({"job_uuid": UUIDS[2]})
    assert submit(build(), queue.manager).added == 1
    assert states(queue) == [None, None, "ready"]


def test_a_result_that_is_gone_while_the_flow_is_at_work_is_refused(queue, results, tmp_path):
    finished(queue, results, tmp_path)
    results.remove_docs({})
    put(queue, ["done", "done", "running"])
    with pytest.raises(
        ConfigError, match=r"Results of add .*done.* no longer in the store.*cancel"
    ):
        submit(build(), queue.manager)
    assert states(queue) == ["done", "done", "running"]


def test_a_flow_that_failed_for_want_of_a_lost_result_is_computed_again(queue, results, tmp_path):
    finished(queue, results, tmp_path)
    results.remove_docs({})
    put(queue, ["done", "failed", "waiting"])
    assert submit(build(), queue.manager).added == 3
    assert states(queue) == ["ready", "waiting", "waiting"]


def test_a_failed_flow_is_left_to_retry(queue, results, tmp_path):
    submit(build(), queue.manager)
    put(queue, ["failed", "waiting", "waiting"])
    assert submit(build(), queue.manager).states == {"failed": 1, "waiting": 2}


def test_two_submissions_at_the_same_moment_add_the_flow_once(queue, monkeypatch):
    adds, answers = type(queue).add, []

    def slowly(self, flow, default):
        import time

        time.sleep(0.5)  # long enough for the other one to look
        return adds(self, flow, default)

    monkeypatch.setattr(type(queue), "add", slowly)

    def run():
        try:
            answers.append(submit(build(), queue.manager))
        except Exception as error:  # noqa: BLE001 - the main thread judges
            answers.append(error)

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.added for answer in answers) == [0, 3]
    assert answers[0].ids == answers[1].ids
    assert states(queue) == ["ready", "waiting", "waiting"]
    if queue.manager == "jobflow-remote":
        assert queue.controller.flows.count_documents({}) == 1
    assert list(queue.claims().find()) == []


def test_an_addition_that_breaks_off_leaves_nothing(queue, monkeypatch):
    def breaks(*_, **__):
        raise AutoReconnect("connection closed")

    if queue.manager == "fireworks":
        mongo = pytest.importorskip("mongomock_ng").collection.Collection
        inserts = mongo.insert_one

        def insert(self, *arguments, **options):
            return (breaks if self.name == "workflows" else inserts)(self, *arguments, **options)

        monkeypatch.setattr(mongo, "insert_one", insert)
    else:
        monkeypatch.setattr(queue.controller.jobs, "insert_many", breaks)
    with pytest.raises(AutoReconnect):
        submit(build(), queue.manager)
    assert queue.find() == []
    if queue.manager == "jobflow-remote":
        assert queue.controller.flows.count_documents({}) == 0


def test_what_a_killed_submission_left_is_swept_away(queue):
    submit(build(), queue.manager)
    if queue.manager == "fireworks":
        queue.launchpad.workflows.delete_many({})
    else:
        queue.controller.jobs.delete_many({})
    assert submit(build(), queue.manager).added == 3
    assert states(queue) == ["ready", "waiting", "waiting"]
    if queue.manager == "jobflow-remote":
        assert queue.controller.flows.count_documents({}) == 1


def test_the_same_flow_object_can_be_forced_again(queue):
    flow = build()
    submit(flow, queue.manager)
    assert submit(flow, queue.manager, force=True).added == 3


def test_a_running_firework_is_not_cancelled_and_not_run_twice(fireworks, results, tmp_path):
    from fireworks import FWAction, FWorker

    first = submit(build(), "fireworks")
    fireworks.launchpad.checkout_fw(FWorker(), str(tmp_path))
    change = cancel("fireworks")
    assert sorted(change.done) == sorted(first.ids[1:])
    assert change.refused == {first.ids[0]: "it runs and comes to its end; nothing follows it"}
    assert states(fireworks) == ["running", "cancelled", "cancelled"]
    with pytest.raises(
        ConfigError, match=r"cancelled, but add \(\d+, running\).*may still be at work"
    ):
        submit(build(), "fireworks")
    assert states(fireworks) == ["running", "cancelled", "cancelled"]
    run_flow(Flow([add(1, 1)]), results, root_dir=tmp_path)
    fireworks.launchpad.complete_launch(1, FWAction())
    assert submit(build(), "fireworks").added == 2
    assert states(fireworks) == [None, "ready", "waiting"]


def test_a_firework_that_waits_in_a_queue_is_cancelled(fireworks, tmp_path):
    from fireworks import FWorker

    submit(build(), "fireworks")
    fireworks.launchpad.reserve_fw(FWorker(), str(tmp_path))
    assert states(fireworks)[0] == "queued"
    assert cancel("fireworks").refused == {}
    assert states(fireworks) == ["cancelled"] * 3
    assert fireworks.launchpad.checkout_fw(FWorker(), str(tmp_path), fw_id=3) == (None, None)


def test_a_firework_that_a_worker_is_just_starting_is_left_alone(fireworks):
    first = submit(build(), "fireworks")
    fireworks.launchpad._get_a_fw_to_run()
    assert "just starting it" in cancel("fireworks").refused[first.ids[0]]


def test_a_firework_whose_workflow_is_locked_does_not_end_a_retry(fireworks, monkeypatch):
    first = submit(build(), "fireworks")
    put(fireworks, ["failed", "failed", "waiting"])
    reruns = fireworks.launchpad.rerun_fw

    def rerun(self, fw_id, *arguments, **options):
        if fw_id == int(first.ids[0]):
            raise ValueError(f"Could not get workflow - LOCKED: {fw_id}")
        return reruns(fw_id, *arguments, **options)

    monkeypatch.setattr(type(fireworks.launchpad), "rerun_fw", rerun)
    change = retry_failed("fireworks")
    assert change.done == [first.ids[1]]
    assert "LOCKED" in change.refused[first.ids[0]]


def test_a_launchpad_that_was_never_set_up_is_one_sentence(fireworks):
    fireworks.launchpad.fw_id_assigner.delete_many({})
    with pytest.raises(ConfigError, match="lpad reset"):
        submit(build(), "fireworks")


def lock(remote, *uuids):
    locked = {"$set": {"lock_id": "runner", "lock_time": None}}
    remote.controller.jobs.update_many({"uuid": {"$in": uuids}}, locked)


def test_a_locked_job_does_not_end_a_retry(remote):
    first = submit(build(), "jobflow-remote")
    put(remote, ["failed", "failed", "failed"])
    lock(remote, UUIDS[0])
    change = retry_failed("jobflow-remote")
    assert change.done == list(first.ids[1:])
    assert "is locked" in change.refused[first.ids[0]]
    assert states(remote) == ["failed", "ready", "waiting"]


def test_a_locked_job_does_not_end_a_cancel(remote):
    first = submit(build(), "jobflow-remote")
    lock(remote, UUIDS[1])
    change = cancel("jobflow-remote")
    assert sorted(change.done) == [first.ids[0], first.ids[2]]
    assert "is locked" in change.refused[first.ids[1]]
    assert states(remote) == ["cancelled", "waiting", "cancelled"]


def test_a_job_in_a_batch_is_not_called_cancelled(remote):
    first = submit(build(), "jobflow-remote")
    put(remote, ["batch", "waiting", "waiting"])
    assert "in a batch" in cancel("jobflow-remote").refused[first.ids[0]]
    with pytest.raises(ConfigError, match="may still be at work"):
        submit(build(), "jobflow-remote")


def test_a_cancelled_flow_that_is_locked_is_not_submitted_half(remote):
    submit(build(), "jobflow-remote")
    cancel("jobflow-remote")
    remote.controller.flows.update_many({}, {"$set": {"lock_id": "runner", "lock_time": None}})
    with pytest.raises(ConfigError, match=r"cannot be taken out of the queue.*is locked"):
        submit(build(), "jobflow-remote")
    assert states(remote) == ["cancelled"] * 3


def test_a_worker_that_the_project_lacks_is_refused_before_anything_is_removed(remote):
    submit(build(), "jobflow-remote")
    cancel("jobflow-remote")
    del remote.project.workers["gpu"]
    with pytest.raises(ConfigError, match="worker 'gpu', which project 'test' does not have"):
        submit(build(), "jobflow-remote")
    assert states(remote) == ["cancelled"] * 3


def test_a_firework_that_a_worker_took_and_never_started_is_lost(fireworks, monkeypatch):
    monkeypatch.setattr("fireworks.fw_config.PING_TIME_SECS", 1)
    submit(build(), "fireworks")
    launchpad = fireworks.launchpad
    assert launchpad._get_a_fw_to_run({}) is not None  # and the worker dies
    assert retry_failed("fireworks", lost_after=2.0).done == []  # it may still live
    long_ago = datetime.now(UTC) - timedelta(seconds=3)
    taken = {"state": "RESERVED", "launches": []}
    launchpad.fireworks.update_one(taken, {"$set": {"updated_on": long_ago}})
    assert launchpad.detect_lostruns(expiration_secs=2)[1] == []  # FireWorks does not see it
    (again,) = retry_failed("fireworks", lost_after=2.0).done
    assert {job.id: job.state for job in fireworks.find()}[again] == "ready"
