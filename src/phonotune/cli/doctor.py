"""``phonotune doctor``: what a run needs, looked for here or on a manager's workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.manager_options import MaybeManager, ProfileFile
from phonotune.cli.options import AsJson, Debug, Store
from phonotune.cli.tables import new_table
from phonotune.errors import ConfigError

if TYPE_CHECKING:
    from phonotune.cli.console import Session
    from phonotune.jobs.doctor import Finding, State


def doctor(
    manager: MaybeManager = None,
    profile: ProfileFile = None,
    worker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Worker of the profile; repeatable. Default: all.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(metavar="S", min=1.0, help="Seconds to wait for a worker's job."),
    ] = 600.0,
    store: Store = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check Python, packages, device, foundation models, potentials, store, VASP and jobflow's configuration.

    With --manager a job does so on each worker, and its answer shows whether store and clocks work; the
    runner, or qlaunch, must be running. Exit code 1 if something fails that every run needs.
    """
    with session(as_json=json, debug=debug) as out:
        if manager is not None:
            from phonotune.flows.doctor import examine_workers

            with out.progress("Waiting for the workers") as progress:
                found = examine_workers(
                    manager, profile, worker, timeout, lambda text: progress.advance(0, text)
                )
            _finish(found, out)
            return
        if worker:
            raise ConfigError(
                "--worker belongs to a manager. Add --manager fireworks or "
                "--manager jobflow-remote."
            )
        with out.progress("Checking this machine"):
            from phonotune.jobs.doctor import examine, known_potentials

            findings = examine(
                [("store", lambda: check_store(store)), ("jobflow", check_jobflow)],
                known_potentials(),
            )
        _finish(findings, out)


def _finish(findings: Sequence[Finding], out: Session) -> None:
    broken = any(finding.state == "fail" for finding in findings)
    rows = [(f.what, f.state, f.text) for f in findings]
    out.finish(
        {
            "ok": not broken,
            "checks": [{"what": f.what, "state": f.state, "text": f.text} for f in findings],
        },
        new_table(None, ("", "", ""), rows, numbers=False),
        exit_code=1 if broken else 0,
    )


def check_store(store: Path | None) -> Finding:
    """Write a document with an array into the store, read it back, and remove it again."""
    from uuid import uuid4

    from phonotune.jobs.doctor import Finding
    from phonotune.schemas.blob import Blob
    from phonotune.store import BLOB_STORE, describe, open_store, remove_outputs

    opened = open_store(store)
    key = f"doctor-{uuid4()}"
    blob = Blob.pack(numbers=[1.0, 2.0])
    output = {"text": "phonotune doctor", "data": blob.as_dict()}
    try:
        opened.update({"uuid": key, "index": 1, "output": output}, save={BLOB_STORE: ["data"]})
        found = opened.get_output(key, load=True)
    finally:
        remove_outputs(opened, [key])
    state: State = "ok" if found["data"]["sha256"] == blob.sha256 else "fail"
    return Finding("store", state, f"{describe(opened.docs_store)}: written, read back, removed")


def check_jobflow() -> Finding:
    """Tell which configuration jobflow reads."""
    from phonotune.jobs.doctor import Finding

    file = os.environ.get("JOBFLOW_CONFIG_FILE")
    if file is None:
        return Finding(
            "jobflow", "ok", "JOBFLOW_CONFIG_FILE is not set; the embedded store is used"
        )
    state: State = "ok" if Path(file).expanduser().is_file() else "fail"
    text = f"JOBFLOW_CONFIG_FILE: {file}" + ("" if state == "ok" else " does not exist")
    return Finding("jobflow", state, text)
