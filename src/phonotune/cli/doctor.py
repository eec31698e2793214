"""``phonotune doctor``: does everything that a run needs work here."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Store
from phonotune.cli.tables import new_table

State = Literal["ok", "warn", "fail"]
_OLDEST: Final = (3, 11)
DEFAULT_FOUNDATION: Final = "mace-mp-0b3"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    text: str


def doctor(store: Store = None, json: AsJson = False, debug: Debug = False) -> None:
    """Check Python, packages, device, foundation models, store, VASP and jobflow's configuration.

    Exit code 1 if something fails that every run needs.
    """
    with session(as_json=json, debug=debug) as out:
        with out.progress("Looking around"):
            findings = examine(store)
        broken = any(finding.state == "fail" for finding in findings)
        out.finish(
            {
                "ok": not broken,
                "checks": [{"what": f.what, "state": f.state, "text": f.text} for f in findings],
            },
            new_table(
                None,
                ("", "", ""),
                [(f.what, f.state, f.text) for f in findings],
                numbers=False,
            ),
            exit_code=1 if broken else 0,
        )


def examine(store: Path | None) -> list[Finding]:
    """Run every check; one that breaks is a finding, too."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("python", check_python),
        ("packages", check_packages),
        ("device", check_device),
        ("toy models", check_toy_models),
        ("foundations", check_foundations),
        ("store", lambda: check_store(store)),
        ("VASP", check_vasp),
        ("POTCARs", check_potcars),
        ("jobflow", check_jobflow),
    ]
    return [_safely(what, check) for what, check in checks]


def _safely(what: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - whatever breaks a check is its finding
        return Finding(what, "fail", f"{type(error).__name__}: {error}")


def check_python() -> Finding:
    """Python's version."""
    found = ".".join(map(str, sys.version_info[:3]))
    state: State = "ok" if sys.version_info >= _OLDEST else "fail"
    return Finding("python", state, f"{found} at {sys.executable}")


def check_packages() -> Finding:
    """Versions of the packages that numbers depend on."""
    from phonotune.schemas.base import package_versions

    versions = package_versions()
    return Finding("packages", "ok", ", ".join(f"{name} {v}" for name, v in versions.items()))


def check_device() -> Finding:
    """The device that `auto` takes."""
    from phonotune.models.evaluate import choose_device

    device = choose_device()
    return Finding("device", "ok", f"{device}, {os.cpu_count()} CPU cores seen")


def check_toy_models() -> Finding:
    """The models that ship with phonotune are whole."""
    from phonotune.models.foundation import load_foundation

    for name in ("mini", "teacher"):
        load_foundation(name, "float64")
    return Finding("toy models", "ok", "mini and teacher load, their sha256 are right")


def check_foundations() -> Finding:
    """Which foundation models are here, and which need a download."""
    from phonotune.models.catalogue import catalogue

    entries = catalogue()
    here = [e.name for e in entries if e.where != "to download"]
    default = next(e for e in entries if e.name == DEFAULT_FOUNDATION)
    if default.name in here:
        return Finding("foundations", "ok", f"here: {', '.join(here)}")
    text = f"here: {', '.join(here)}; {default.name}, the default of run, is still to be downloaded"
    return Finding("foundations", "warn", text)


def check_store(store: Path | None) -> Finding:
    """A document with an array goes into the store and comes back the same; it is removed again."""
    from uuid import uuid4

    from phonotune.schemas.blob import Blob
    from phonotune.store import BLOB_STORE, open_store

    opened = open_store(store)
    key = f"doctor-{uuid4()}"
    blob = Blob.pack(numbers=[1.0, 2.0])
    output = {"text": "phonotune doctor", "data": blob.as_dict()}
    try:
        opened.update({"uuid": key, "index": 1, "output": output}, save={BLOB_STORE: ["data"]})
        found = opened.get_output(key, load=True)
    finally:
        opened.remove_docs({"uuid": key})
    state: State = "ok" if found["data"]["sha256"] == blob.sha256 else "fail"
    return Finding("store", state, f"{opened.docs_store.name}: written, read back, removed")


def check_vasp() -> Finding:
    """The command that atomate2 starts VASP with."""
    from atomate2 import SETTINGS

    words = SETTINGS.VASP_CMD.split()
    programs = [word for word in words if "vasp" in Path(word).name.lower()] or words[-1:]
    if any(shutil.which(program) for program in programs):
        return Finding("VASP", "ok", f"ATOMATE2_VASP_CMD: {SETTINGS.VASP_CMD}")
    return Finding(
        "VASP",
        "warn",
        f"{' '.join(programs)} is not on PATH; only the labeller vasp needs it (ATOMATE2_VASP_CMD)",
    )


def check_potcars() -> Finding:
    """The folder of POTCARs that pymatgen reads."""
    from pymatgen.core import SETTINGS

    folder = SETTINGS.get("PMG_VASP_PSP_DIR")
    if folder and Path(folder).expanduser().is_dir():
        return Finding("POTCARs", "ok", f"PMG_VASP_PSP_DIR: {folder}")
    found = f"PMG_VASP_PSP_DIR {folder} does not exist" if folder else "PMG_VASP_PSP_DIR is not set"
    return Finding("POTCARs", "warn", f"{found}; only the labeller vasp needs it")


def check_jobflow() -> Finding:
    """Which configuration jobflow reads."""
    file = os.environ.get("JOBFLOW_CONFIG_FILE")
    if file is None:
        return Finding(
            "jobflow", "ok", "JOBFLOW_CONFIG_FILE is not set; the embedded store is used"
        )
    state: State = "ok" if Path(file).expanduser().is_file() else "fail"
    text = f"JOBFLOW_CONFIG_FILE: {file}" + ("" if state == "ok" else " does not exist")
    return Finding("jobflow", state, text)
