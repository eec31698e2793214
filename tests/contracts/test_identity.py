"""An upgrade renames no job; what changes a result renames what it changes; the golden file keeps both."""

import importlib.metadata
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import monty.json
import pytest
from jobflow import Flow
from pydantic import create_model

import phonotune.physics.relax
from phonotune.flows.identity import stable_flow
from phonotune.jobs.label import LabelMaker, collect_labels
from phonotune.jobs.phonon import PhononMaker
from phonotune.jobs.vasp.protocol import LabelProtocol, VaspMonitoring
from phonotune.physics.relax import RelaxSettings
from phonotune.schemas import content
from phonotune.schemas.content import FOREIGN_VERSIONS, content_hash

_spec = importlib.util.spec_from_file_location(
    "golden_ids", Path(__file__).with_name("golden_ids.py")
)
golden = importlib.util.module_from_spec(_spec)
sys.modules["golden_ids"] = golden
_spec.loader.exec_module(golden)

OLD = json.loads(golden.FILE.read_text(encoding="utf-8"))
PIPELINE = "pipeline teacher | "


def in_own_process(change: Callable[[], None]) -> dict[str, list[str]]:
    """Return the ids that a process of its own gives after a change; nothing was named there before."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(reading)
            content._defaults.cache_clear()
            content._versions.cache_clear()
            for known in vars(monty.json).values():  # classes and versions that monty remembers
                if hasattr(known, "cache_clear"):
                    known.cache_clear()
            change()
            with os.fdopen(writing, "w") as pipe:
                json.dump(golden.ids(), pipe)
        except Exception:  # noqa: BLE001 - the test fails, and shows it
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(process, 0)
    assert text, "the process of its own failed; its traceback is above"
    found: dict[str, list[str]] = json.loads(text)
    return found


def upgraded(package: str, version: str) -> Callable[[], None]:
    """A change that makes a package say another version, to monty as to everybody."""

    def change() -> None:
        from monty import json as monty

        from phonotune.schemas import base

        monty._module_version.cache_clear()
        base._package_versions.cache_clear()
        importlib.import_module(package).__version__ = version
        true_version = importlib.metadata.version
        fake = lambda name: version if name == package else true_version(name)  # noqa: E731
        importlib.metadata.version = base.version = fake

    return change


@pytest.fixture(scope="module")
def ids() -> dict[str, list[str]]:
    return in_own_process(lambda: None)


def test_no_id_is_another_than_in_the_golden_file(ids):
    changed = golden.renamed(OLD, {"ids": ids})
    assert not changed, (
        f"These jobs get another id, so finished work would be computed again: {changed}. Either leave "
        "the content as it was, or raise content_version of what changed; then run "
        f"`{golden.COMMAND}`."
    )
    assert ids.keys() == OLD["ids"].keys(), f"Jobs were added. Run `{golden.COMMAND}`."


def test_no_default_changes_without_a_content_version():
    new = {"classes": golden.defaults(), "functions": golden.functions()}
    changed = golden.unraised(OLD, new)
    assert not changed, (
        f"Defaults changed: {changed}. Results of the old ones would be served as those of the new: "
        f"raise content_version of the class, then run `{golden.COMMAND}`."
    )
    assert new["classes"] == OLD["classes"], f"Fields or classes changed. Run `{golden.COMMAND}`."
    assert new["functions"] == OLD["functions"], f"Functions changed. Run `{golden.COMMAND}`."


@pytest.mark.parametrize(
    ("package", "version"), [("jobflow", "0.4.1"), ("atomate2", "0.1.6"), ("phonotune", "0.1.1")]
)
def test_an_upgrade_keeps_every_id(ids, package, version):
    assert in_own_process(upgraded(package, version)) == ids


def test_versions_that_are_faked_are_what_stored_jobs_would_record(monkeypatch):
    """The test above changes what it says: the flow as it is stored does hold the version."""
    from monty import json as monty

    monkeypatch.setattr("jobflow.__version__", "0.4.1")
    monty._module_version.cache_clear()
    try:
        text = json.dumps(PhononMaker().make(golden.crystal(), "mini"), cls=monty.MontyEncoder)
    finally:
        monty._module_version.cache_clear()
    assert '"@version": "0.4.1"' in text


def replace_everywhere(old: type, new: type) -> None:
    """Put a class in the place of another one, as if its module said so."""
    new.__module__, new.__qualname__ = old.__module__, old.__qualname__
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()):
            if value is old:
                setattr(module, name, new)


def test_a_new_field_that_keeps_its_default_keeps_every_id(ids):
    def change() -> None:
        grown = create_model("RelaxSettings", __base__=RelaxSettings, extra=(int, 3))
        replace_everywhere(RelaxSettings, grown)
        maker = make_dataclass("PhononMaker", [("extra", int, 3)], bases=(PhononMaker,))
        replace_everywhere(PhononMaker, maker)
        assert phonotune.physics.relax.RelaxSettings().extra == 3
        assert golden.PhononMaker().extra == 3

    assert in_own_process(change) == ids


def test_a_raised_version_renames_what_carries_the_class_even_as_a_default(ids):
    def change() -> None:
        RelaxSettings.content_version = 2

    found = in_own_process(change)
    mine = {name for name in ids if name.startswith(PIPELINE)}
    kept = {name.removeprefix(PIPELINE) for name in mine if found[name] == ids[name]}
    reference = {f"{name} reference" for name in ("phonon", "elastic", "double well")}
    untuned = {f"{name} untuned" for name in ("elastic", "double well")}
    assert kept == {"teacher relax", "relaxed_structure", "rattle"} | reference | untuned


def test_a_raised_version_of_a_function_renames_its_jobs_and_what_follows(ids):
    def change() -> None:
        collect_labels.original.content_version = 2

    found = in_own_process(change)
    assert {name for name in ids if found[name] != ids[name]} == {
        f"labels of {name} | collect_labels" for name in golden.LABELLERS
    }


def test_a_raised_version_of_a_foreign_class_renames_its_jobs(ids):
    def change() -> None:
        FOREIGN_VERSIONS["atomate2.forcefields.jobs.ForceFieldRelaxMaker"] = 2

    found = in_own_process(change)
    assert found[f"{PIPELINE}teacher relax"] != ids[f"{PIPELINE}teacher relax"]
    assert found["pipeline vasp | vasp relax"] == ids["pipeline vasp | vasp relax"]


def test_the_table_of_potcars_counts_though_the_default_protocol_has_it(ids):
    def change() -> None:
        from phonotune.jobs.vasp import protocol

        potcars, moments = protocol._tables()
        protocol._tables.cache_clear()
        protocol._tables = lambda: (potcars | {"Na": "Na_sv"}, moments)

    found = in_own_process(change)
    renamed = set(golden.renamed({"ids": ids}, {"ids": found}))
    assert {f"pipeline vasp | {name}" for name in ("vasp relax", "label")} <= renamed
    assert not any(name.startswith(PIPELINE) for name in renamed)


def test_naming_a_flow_twice_changes_nothing():
    once = stable_flow(golden.flows()["pipeline teacher"])
    assert stable_flow(once).job_uuids == once.job_uuids


def test_how_vasp_is_watched_does_not_count():
    def ids(monitoring: VaspMonitoring) -> tuple[str, ...]:
        made = LabelMaker(monitoring=monitoring)
        relax = made.resolve().relax.make(golden.crystal())
        return stable_flow(Flow([relax, *made.static_jobs([golden.crystal()])])).job_uuids

    rare = VaspMonitoring(polling_seconds=60.0, monitor_every=5, frozen_seconds=60.0)
    assert ids(rare) == ids(VaspMonitoring())


def test_how_an_argument_is_passed_does_not_count():
    cell = golden.crystal()
    jobs = [PhononMaker().make(cell, "mini"), PhononMaker().make(structure=cell, model="mini")]
    jobs += [PhononMaker().make(cell, model="mini", labels=None)]
    assert len({uuid for job in jobs for uuid in stable_flow(Flow([job])).job_uuids}) == 1


def test_a_protocol_of_a_surrogate_does_not_name_versions():
    """Frames labelled before and after an upgrade belong together."""

    def protocols() -> list[str]:
        return [LabelMaker(labeller=name).protocol() for name in ("teacher", "vasp")]

    reading, writing = os.pipe()
    if (process := os.fork()) == 0:
        upgraded("atomate2", "0.1.6")()
        os.write(writing, json.dumps(protocols()).encode())
        os._exit(0)
    os.waitpid(process, 0)
    assert json.loads(os.read(reading, 1000)) == protocols()


def test_another_value_is_another_content():
    def of(**fields: Any) -> str:
        return content_hash(LabelMaker(labeller="vasp", **fields))

    assert of() == of(max_force=30.0)
    assert of() != of(max_force=20.0)
    assert of() != of(vasp=LabelProtocol(encut=600))
