"""Both managers with a database in memory: their own code, without workers or servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mongomock_ng
import pytest
from jobflow import JobStore
from maggma.stores import MemoryStore

from phonotune.flows.queues import Queue
from phonotune.flows.routing import Profile

Open = Callable[[], Queue]


@pytest.fixture
def results() -> JobStore:
    """Store of results in memory; it stays open."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    store.close = lambda: None  # type: ignore[method-assign]
    return store


@pytest.fixture
def open_fireworks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, results: JobStore
) -> Callable[..., Queue]:
    """Open FireWorks' queue, each time on the same database."""
    launchpad = pytest.importorskip("fireworks.core.launchpad")
    from phonotune.flows.queue_fireworks import FireworksQueue

    client = mongomock_ng.MongoClient()
    client.close = lambda: None  # which would clear the database
    monkeypatch.setattr(launchpad, "GRIDFS_FALLBACK_COLLECTION", None)
    monkeypatch.setattr(launchpad, "MongoClient", lambda *_, **__: client)
    monkeypatch.setattr(FireworksQueue, "store", lambda _: results)
    file = tmp_path / "my_launchpad.yaml"
    file.write_text("host: nowhere\nport: 1\nname: fireworks\nstrm_lvl: ERROR\n")
    with FireworksQueue(Profile(launchpad=file)) as queue:
        queue.launchpad.reset("", require_password=False)
    return lambda *_: FireworksQueue(Profile(launchpad=file))


@pytest.fixture
def open_remote(monkeypatch: pytest.MonkeyPatch, results: JobStore) -> Callable[..., Queue]:
    """Open jobflow-remote's queue, each time on the same database."""
    pytest.importorskip("jobflow_remote")
    from jobflow_remote.jobs.jobcontroller import JobController

    from phonotune.flows import queue_remote

    workers = dict.fromkeys(["light", "cpu", "gpu"], SimpleNamespace(is_local=True))
    project: Any = SimpleNamespace(
        name="test", workers=workers, queue=SimpleNamespace(db_id_prefix=None), exec_config={}
    )
    controller = JobController(MemoryStore("jobs"), results)
    controller.reset(max_limit=0)
    controller.project = project
    monkeypatch.setattr(controller, "close", lambda: None)
    monkeypatch.setattr(queue_remote, "_project", lambda _: project)
    monkeypatch.setattr(queue_remote, "_PATIENCE", None)
    monkeypatch.setattr(JobController, "from_project", lambda _: controller)
    monkeypatch.setattr(queue_remote.RemoteQueue, "store", lambda _: results)
    return lambda *_: queue_remote.RemoteQueue(Profile())


@pytest.fixture(params=["fireworks", "jobflow-remote"])
def open_any(request: pytest.FixtureRequest) -> Callable[..., Queue]:
    """Open the queue of either manager."""
    name = {"fireworks": "open_fireworks", "jobflow-remote": "open_remote"}[request.param]
    made: Callable[..., Queue] = request.getfixturevalue(name)
    return made
