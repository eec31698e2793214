"""What a worker reports, judged from outside."""

import pytest

from phonotune.flows.doctor import PROBE, judge
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


def test_the_job_reports_every_check_and_an_array():
    output = examine_worker.original(PROBE)
    assert {"python", "packages", "device", "VASP", "POTCARs", "foundations", "checkpoints"} <= {
        what for what, _, _ in output["findings"]
    }
    assert found(output, start=output["time"], end=output["time"])["store"].state == "ok"
