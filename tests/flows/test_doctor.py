"""What a worker reports, judged from outside."""

import pytest

from phonotune.flows.doctor import PROBE, _send, examine_workers, judge
from phonotune.flows.routing import Profile
from phonotune.jobs.doctor import examine_worker
from phonotune.schemas.base import package_versions
from phonotune.schemas.blob import Blob


@pytest.fixture
def report():
    return {
        "host": "node1",
        "time": 105.0,
        "versions": package_versions(),
        "findings": [["python", "ok", "3.11"], ["device", "ok", "cpu, 4 CPU cores seen"]],
        "probe": Blob.pack(numbers=list(PROBE)),
    }


def found(report, roles=("dft",), start=100.0, end=110.0):
    return {finding.what: finding for finding in judge(report, roles, start, end)}


def test_a_sound_worker_has_nothing_to_complain_of(report):
    findings = found(report)
    assert {finding.state for finding in findings.values()} == {"ok"}
    assert findings["host"].text == "node1"


@pytest.mark.parametrize("time", [90.0, 125.0])
def test_a_clock_that_is_off_is_a_warning(report, time):
    finding = found(report | {"time": time})["clock"]
    assert finding.state == "warn"
    assert "off by at least 1" in finding.text


def test_a_gpu_worker_without_a_gpu_is_a_warning(report):
    assert found(report, ("gpu_eval", "gpu_train"))["device"].state == "warn"


def test_other_versions_than_here_are_named(report):
    report["versions"] = report["versions"] | {"phonopy": "1.0"}
    finding = found(report)["versions"]
    assert finding.state == "warn"
    assert finding.text.startswith("others than here: phonopy 1.0 (here ")


def test_an_array_that_came_back_changed_fails(report):
    finding = found(report | {"probe": Blob.pack(numbers=[1.0, 2.0, 4.0])})["store"]
    assert finding.state == "fail"


@pytest.fixture
def busy(open_any, monkeypatch):
    """A queue whose worker has done every job, and its result is nowhere to be seen."""
    monkeypatch.setattr("phonotune.flows.doctor.open_queue", open_any)
    with open_any() as queue:
        adds = type(queue).add

        def add(self, flow, default):
            ids = adds(self, flow, default)
            jobs = self.controller.jobs if hasattr(self, "controller") else self.launchpad.fireworks
            jobs.update_many({}, {"$set": {"state": "COMPLETED"}})
            return ids

        monkeypatch.setattr(type(queue), "add", add)
        yield queue


def test_a_worker_that_writes_to_another_store_is_told_what_to_compare(busy):
    (finding,) = examine_workers(busy.manager, Profile(), ["light"], 5.0)
    assert (finding.what, finding.state) == ("light: store", "fail")
    assert "writes to another store" in finding.text
    names = {"fireworks": "my_qadapter.yaml", "jobflow-remote": "project's yaml"}
    assert names[busy.manager] in finding.text
    assert busy.find() == []


def test_an_answer_whose_array_went_to_another_store_is_told(busy, results, monkeypatch):
    found = {"uuid": "u", "store": "data", "blob_uuid": "b"}
    monkeypatch.setattr(
        "phonotune.flows.doctor._send",
        lambda queue, profile, roles: (
            (
                (uuid := _send(queue, profile, roles))
                and results.docs_store.update(
                    [{"uuid": uuid, "index": 1, "output": {"probe": found}}], key="uuid"
                )
            )
            or uuid
        ),
    )
    (finding,) = examine_workers(busy.manager, Profile(), ["light"], 5.0)
    assert "the array of its answer is not with" in finding.text
    assert results.count() == 0


def test_the_job_reports_every_check_and_an_array():
    output = examine_worker.original(PROBE)
    assert {"python", "packages", "device", "VASP", "POTCARs", "foundations", "checkpoints"} <= {
        what for what, _, _ in output["findings"]
    }
    assert found(output, start=output["time"], end=output["time"])["store"].state == "ok"
