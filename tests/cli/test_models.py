"""`phonotune models`: potentials are tested, get a name, and are models and labellers by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any

import pytest
from ase.io import read

from phonotune.cli.config import build_maker
from phonotune.jobs.doctor import check_potential, known_potentials
from phonotune.models import potentials
from phonotune.models.process_engine import stop_processes
from phonotune.settings import get_settings

PAIR = "stub_potentials:Pair"


@pytest.fixture(autouse=True)
def _no_process_stays() -> Iterator[None]:
    yield
    stop_processes()


@pytest.fixture
def add(cli: Any, other_python: Path) -> Any:
    """Add a stub under the name ``stub``."""

    def run(calculator: str = PAIR, *options: object, code: int = 0, name: str = "stub") -> Any:
        arguments = ["models", "add", name, "--calculator", calculator, "--python", other_python]
        run = cli if code == 0 else cli.error
        return run(*arguments, "--elements", "Al,Cu", *options, code=code)

    return run


def test_a_good_potential_gets_its_name_and_a_record(
    add: Any, cli: Any, other_python: Path
) -> None:
    added = add(PAIR, "--set", "factor=2.0", "--level-of-theory", "PBE")
    record = added["potential"]
    assert (added["name"], added["engine"], added["notes"]) == ("stub", "process", [])
    assert record["arguments"] == {"factor": 2.0}
    assert record["versions"] == {"stub_potentials": "1.0"}
    assert record["python"] == str(other_python)
    assert added["description"] == "stub_potentials 1.0, Pair(factor=2.0), level of theory PBE"
    tests = record["tests"]
    assert tests["crystal"] == "Al4"
    assert (tests["smooth"], tests["precision"], tests["repeatable"]) == (True, "float64", True)
    assert (tests["conservative"], tests["stress"]) == (True, True)
    assert tests["stiffnesses"][1] == pytest.approx(tests["stiffnesses"][0], rel=1e-3)
    listed = {row["name"]: row for row in cli("models", "list")["models"]}
    assert listed["stub"]["engine"] == "process"
    assert listed["stub"]["note"] == added["description"]
    assert listed["mini"]["engine"] == "mace"
    verified = cli("models", "verify", "stub")
    assert verified["foundation"]["sha256"] == added["sha256"]
    # the same again is replaced, another is refused
    assert add(PAIR, "--set", "factor=2.0")["sha256"] == added["sha256"]
    assert "is the name of another potential" in add(PAIR, "--set", "factor=3", code=2)
    assert cli("models", "remove", "stub") == {"removed": "stub"}
    assert "Unknown potential 'stub'" in cli.error("models", "remove", "stub")


def test_what_is_wrong_with_a_potential_stands_in_its_record(add: Any) -> None:
    single = add("stub_potentials:Single", name="single")["potential"]["tests"]
    assert (single["precision"], single["smooth"]) == ("float32", True)
    rough = " ".join(add("stub_potentials:Rough", name="rough")["notes"])
    for sentence in ("not smooth", "not the gradient", "no stress"):
        assert sentence in rough
    restless = add("stub_potentials:Restless", name="restless")
    assert restless["potential"]["tests"]["precision"] == "coarse"
    assert restless["notes"][-1].startswith("The same structure twice gives forces that differ by")
    assert not restless["potential"]["tests"]["repeatable"]
    assert "scatter by" in " ".join(restless["notes"])


def test_elements_are_asked_for_else_tried(cli: Any, other_python: Path) -> None:
    options = ("--python", other_python, "--calculator")
    known = cli("models", "add", "known", *options, "stub_potentials:Known")
    assert known["potential"]["elements"] == ["Al", "Cu"]
    tried = cli("models", "add", "pair", *options, PAIR)
    assert tried["potential"]["elements"] == ["Al", "Cu"]


def test_weights_inside_the_environment_are_found_wherever_it_lies(
    add: Any, other_python: Path, tmp_path: Path
) -> None:
    inside = other_python.parents[1] / "weights.txt"
    inside.write_text("1.0")
    options = ("--set", "weights={weights}", "--weights")
    first = add(PAIR, *options, inside)
    assert first["potential"]["weights"]["path"] == "{prefix}/weights.txt"
    outside = tmp_path / "weights.txt"
    outside.write_text("1.0")
    assert add(PAIR, *options, outside)["sha256"] == first["sha256"]
    outside.write_text("2.0")
    assert "another potential" in add(PAIR, *options, outside, code=2)


@pytest.mark.parametrize(
    ("calculator", "options", "said"),
    [
        ("stub_potentials", (), "is not MODULE:CALLABLE"),
        ("stub_potentials:Nan", (), "gave NaN or infinity"),
        ("stub_potentials:broken", (), "ValueError: no weights"),
        ("no_such_module:X", (), "No module named 'no_such_module'"),
        (PAIR, ("--set", "factor"), "is not KEY=VALUE"),
        (PAIR, ("--set", "weights={weights}"), "give the file by --weights"),
        (PAIR, ("--weights", "nothing.pth"), "There is no file nothing.pth"),
        (PAIR, ("--elements", "Al,Xx"), "'Xx', which is not a chemical symbol"),
        (PAIR, ("--python", "/no/python"), "cannot be started here"),
    ],
)
def test_what_cannot_be_added_is_told(
    add: Any, cli: Any, calculator: str, options: tuple[str, ...], said: str
) -> None:
    code = 1 if calculator == "stub_potentials:Nan" else 2
    message = add(calculator, *options, code=code)
    assert said in message
    assert "\n" not in message
    assert "stub" not in [row["name"] for row in cli("models", "list")["models"]]


@pytest.mark.parametrize("name", ["mini", "vasp", "none", "a/b", "a:b", "mace-mp-0b3"])
def test_a_name_that_means_something_else_is_refused(add: Any, name: str) -> None:
    assert "name" in add(code=2, name=name)


def test_a_damaged_list_is_told(cli: Any) -> None:
    potentials.ledger_path().parent.mkdir(parents=True, exist_ok=True)
    potentials.ledger_path().write_text("{")
    assert "cannot be read as the list of potentials" in cli.error("models", "list")


def test_a_package_brings_a_potential(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("pairs", "ase.calculators.morse:MorsePotential", potentials.GROUP)
    monkeypatch.setattr(potentials, "entry_points", lambda group: [point])
    listed = {row["name"]: row for row in cli("models", "list")["models"]}
    assert listed["pairs"]["where"] == "package"
    verified = cli("models", "verify", "pairs")
    assert verified["foundation"]["potential"]["versions"] == {"ase": version("ase")}


def test_it_is_a_model_and_a_labeller(add: Any, cli: Any, cif: Path, tmp_path: Path) -> None:
    add(PAIR)
    common = ("--supercell", "2", "2", "2", "-o", tmp_path / "phonons")
    cli("phonons", cif, "--model", "stub", *common)
    document = json.loads((tmp_path / "phonons" / "phonons.json").read_text())
    assert document["source"]["evaluator"] == "stub"
    assert document["source"]["potential"] == "stub_potentials 1.0, Pair()"
    frames = tmp_path / "frames.extxyz"
    read(cif).write(frames)
    label = ("label", frames, "--labeller", "stub", "-o", tmp_path / "labelled.extxyz")
    assert "--level-of-theory" in cli.error(*label)
    add(PAIR, "--level-of-theory", "a textbook")
    assert cli(*label)["labelled"] == 1
    (labelled,) = read(tmp_path / "labelled.extxyz", ":")
    assert labelled.info["REF_energy"] == pytest.approx(-2.348063870993, abs=1e-9)


def test_a_setting_that_is_not_json_is_told(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONOTUNE_POTENTIALS", "/opt/python")
    get_settings.cache_clear()
    assert "is not the JSON that it must be" in cli.error("models", "list")


def test_no_strategy_can_be_asked_for() -> None:
    assert build_maker(None, {"strategies": ["none"]}).strategies == []


def test_a_model_directory_names_no_program(cli: Any, tmp_path: Path, cif: Path) -> None:
    potential = {"calculator": "os:system", "python": "/tmp/evil", "versions": {}}
    content = {
        "foundation": {"name": "x", "sha256": "0", "engine": "process", "potential": potential},
        "strategy": "lora",
        "dataset_hash": None,
        "config": {},
    }
    (tmp_path / "model.json").write_text(json.dumps(content))
    (tmp_path / "adapter.safetensors").write_bytes(b"")
    phonons = ("phonons", cif, "--model", tmp_path, "-o", tmp_path / "phonons")
    assert "needs a MACE model" in cli.error(*phonons)


def test_the_doctor_looks_at_it(add: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add(PAIR)
    (record,) = known_potentials()
    found = check_potential(record)
    assert (found.what, found.state) == ("potential stub", "ok")
    assert found.text.startswith("stub_potentials 1.0, Pair(), by /")
    assert record.potential is not None
    away = record.potential.model_copy(update={"python": "/no/python"})
    potentials.write_potentials({"stub": away})
    stop_processes()
    found = check_potential(*known_potentials())
    assert found.state == "warn"
    assert "/no/python, cannot be started here" in found.text
    monkeypatch.setattr(potentials, "entry_points", lambda group: [])
    job = _send_doctor()
    assert [sent.name for sent in job.function_args[1]] == ["stub"]


def _send_doctor() -> Any:
    """Return the job that the doctor sends to a worker."""
    from phonotune.flows.doctor import _send
    from phonotune.flows.routing import Profile

    class Queue:
        def add(self, flow: Any, _worker: str) -> None:
            self.flow = flow

    queue: Any = Queue()
    _send(queue, Profile(), ["light"])
    return queue.flow.jobs[0]
