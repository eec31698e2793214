"""Does a machine have what phonotune's jobs need? The checks, and the job that runs them on a worker."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from jobflow import job

from phonotune.schemas.blob import Blob
from phonotune.schemas.kinds import property_kinds
from phonotune.schemas.labellers import LABELLERS
from phonotune.schemas.training import FoundationRecord

State = Literal["ok", "warn", "fail"]
_OLDEST: Final = (3, 11)
DEFAULT_FOUNDATION: Final = "mace-mp-0b3"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    text: str


def examine(
    more: Sequence[tuple[str, Callable[[], Finding]]] = (),
    potentials: Sequence[FoundationRecord] = (),
) -> list[Finding]:
    """Run every check of this machine, each potential's, then ``more``; one that breaks is a finding, too."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("python", check_python),
        ("packages", check_packages),
        ("optional packages", check_optional),
        ("device", check_device),
        ("toy models", check_toy_models),
        ("foundations", check_foundations),
        ("VASP", check_vasp),
        ("POTCARs", check_potcars),
        ("checkpoints", check_checkpoints),
        *((f"potential {record.name}", partial(check_potential, record)) for record in potentials),
        *more,
    ]
    findings = []
    for what, check in checks:
        try:
            findings.append(check())
        except Exception as error:  # noqa: BLE001 - whatever breaks a check is its finding
            findings.append(Finding(what, "fail", f"{type(error).__name__}: {error}"))
    return findings


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


def check_optional() -> Finding:
    """Which packages that only some labellers and properties need are here."""
    needed = [(row.name, row.package, row.extra) for row in LABELLERS.values()]
    needed += [(row.name, row.package, row.extra) for row in property_kinds().values()]
    absent = [
        f"{name} needs phonotune[{extra}]"
        for name, package, extra in needed
        if package and find_spec(package) is None
    ]
    if not absent:
        return Finding("optional packages", "ok", "every labeller and property can be used")
    return Finding("optional packages", "warn", "; ".join(absent))


def check_device() -> Finding:
    """The device that `auto` takes."""
    from phonotune.models.evaluate import choose_device

    device = choose_device()
    return Finding("device", "ok", f"{device}, {os.cpu_count()} CPU cores seen")


def check_toy_models() -> Finding:
    """The models that ship with phonotune are whole."""
    from phonotune.models.load import load_foundation

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


def check_checkpoints() -> Finding:
    """The folder of checkpoints, which must outlive the folder of a job, can be written."""
    from tempfile import TemporaryFile

    from phonotune.settings import get_settings

    folder = get_settings().checkpoint_dir.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"{folder} cannot be written ({error.strerror}); set PHONOTUNE_CHECKPOINT_DIR"
        return Finding("checkpoints", "fail", text)
    return Finding("checkpoints", "ok", str(folder))


def known_potentials() -> list[FoundationRecord]:
    """Return the potentials that were added on this machine, or come with its packages."""
    from phonotune.models.potentials import added_potentials, find_potential, packaged_potentials

    return [find_potential(name) for name in sorted({*added_potentials(), *packaged_potentials()})]


def check_potential(record: FoundationRecord) -> Finding:
    """The environment of a potential is here, makes it, and has the version of its record."""
    from phonotune.errors import PhonotuneError
    from phonotune.models.process_engine import running

    what = f"potential {record.name}"
    try:
        process = running(record)
    except PhonotuneError as error:
        return Finding(what, "warn", str(error))
    return Finding(what, "ok", f"{process.found}, by {process.found.python or 'this Python'}")


@job(data=[Blob])
def examine_worker(
    probe: Sequence[float], potentials: Sequence[FoundationRecord] = ()
) -> dict[str, Any]:
    """Run every check on the worker that runs this job.

    Parameters
    ----------
    probe
        Numbers that come back in a Blob, which shows that arrays reach the store.
    potentials
        What must run there, too.

    Returns
    -------
    dict
        ``host``, ``time`` (seconds since 1970 by the worker's clock), ``versions``, ``findings`` and
        ``probe``.
    """
    from phonotune.schemas.base import package_versions

    return {
        "host": socket.gethostname(),
        "time": time.time(),
        "versions": package_versions(),
        "findings": [[f.what, f.state, f.text] for f in examine(potentials=potentials)],
        "probe": Blob.pack(numbers=list(probe)),
    }
