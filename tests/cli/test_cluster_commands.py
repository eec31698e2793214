"""The commands for clusters: what they print, and what they refuse."""

import json

import pytest
import typer
from typer.testing import CliRunner

from phonotune.cli import doctor, profile, status, submit
from phonotune.cli.jf_plugin import COMMANDS, for_this_manager, setup_jf_plugin
from phonotune.flows.queues import QueuedJob
from phonotune.flows.status import Change, summarise
from phonotune.flows.submit import Submission


@pytest.fixture
def run():
    """Run a command with --json; its object, after checking the exit code."""
    app = typer.Typer()
    for function in (submit.submit, status.status, status.retry, status.cancel, doctor.doctor):
        app.command(function.__name__)(function)
    app.add_typer(profile.app, name="profile")

    def invoke(*arguments, code=0):
        words = [str(argument) for argument in arguments]
        result = CliRunner().invoke(app, [*words, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    return invoke


def test_init_names_its_files_and_the_next_steps(run, tmp_path):
    shown = run("profile", "init", "--manager", "fireworks", "-o", tmp_path, "--gpu", "a100")
    assert f"{tmp_path}/gpu/my_qadapter.yaml" in shown["files"]
    assert "queue: a100" in (tmp_path / "gpu" / "my_qadapter.yaml").read_text()
    assert any(step.startswith(f"qlaunch -c {tmp_path}/gpu") for step in shown["next"])


def test_init_again_changes_nothing(run, tmp_path):
    run("profile", "init", "--manager", "jobflow-remote", "-o", tmp_path)
    shown = run("profile", "init", "--manager", "jobflow-remote", "-o", tmp_path, code=2)
    assert "would be overwritten" in shown["error"]["message"]


def test_submit_says_what_each_crystal_is_about(run, cif, monkeypatch):
    asked = []

    def remember(orders, manager, chosen, *, force, tell, note):
        asked.append((orders, manager, force))
        return [Submission(manager, ("1", "2"), ("u", "v"), 2) for _ in orders]

    monkeypatch.setattr("phonotune.flows.submit.submit_all", remember)
    options = ["--foundation", "mini", "--labeller", "emt", "--campaign", "metals", "--force"]
    shown = run("submit", cif, "--manager", "fireworks", *options)
    assert shown["submitted"] == [
        {
            "structure": str(cif),
            "added": 2,
            "finished": 0,
            "states": {},
            "ids": ["1", "2"],
            "uuids": ["u", "v"],
        }
    ]
    (((order,), manager, force),) = asked
    assert (manager, force) == ("fireworks", True)
    assert order.about["formula"] == "Al"
    assert order.about["campaign"] == "metals"
    assert len(order.about["material_id"]) == 16
    assert "Al" in order.flow.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labeller", "emtt", "--manager", "fireworks"], "Did you mean 'emt'"),
        (["--labeller", "emt", "--manager", "slurm"], "Unknown manager 'slurm'"),
        (["--labeller", "emt", "--manager", "fireworks", "--profile", "no.yaml"], "profile init"),
    ],
)
def test_submit_refuses_what_is_wrong_before_anything_starts(run, cif, options, message):
    shown = run("submit", cif, "--foundation", "mini", *options, code=2)
    assert message in shown["error"]["message"]


def test_status_counts_by_material_and_stage(run, monkeypatch):
    about = {"formula": "Al", "material_id": "m", "stage": "label"}
    jobs = [
        QueuedJob("1", "a", 1, "static", "done", about, "cpu"),
        QueuedJob("2", "b", 1, "static", "failed", about, "cpu", "no licence"),
    ]
    monkeypatch.setattr("phonotune.flows.status.status", lambda *_: summarise(jobs))
    shown = run("status", "--manager", "fireworks")
    assert shown["stages"] == [
        {
            "material": "Al",
            "material_id": "m",
            "stage": "label",
            "worker": "cpu",
            "counts": {"done": 1, "failed": 1},
            "errors": ["static (2): no licence"],
        }
    ]


def test_retry_without_a_choice_is_refused(run):
    shown = run("retry", "--manager", "fireworks", code=2)
    assert "--failed" in shown["error"]["message"]


def test_retry_that_a_manager_refused_is_a_failure(run, monkeypatch):
    change = Change("jobflow-remote", ["1"], {"2": "it has children"})
    monkeypatch.setattr("phonotune.flows.status.retry_failed", lambda *_: change)
    shown = run("retry", "--failed", "--manager", "jobflow-remote", code=1)
    assert shown["refused"] == {"2": "it has children"}


@pytest.mark.parametrize("options", [[], ["--all", "--formula", "Al"]])
def test_cancel_wants_to_know_what(run, options):
    shown = run("cancel", "--manager", "fireworks", *options, code=2)
    assert "Say what to cancel" in shown["error"]["message"]


def test_a_worker_without_a_manager_is_refused(run):
    shown = run("doctor", "--worker", "gpu", code=2)
    assert "--manager" in shown["error"]["message"]


def test_the_commands_within_jf_have_no_manager_and_take_jobflow_remote(monkeypatch):
    monkeypatch.setattr(
        "phonotune.flows.status.status",
        lambda manager, *_: summarise([QueuedJob("1", "a", 1, manager, "done", {})]),
    )
    app = typer.Typer()
    app.callback()(lambda: None)
    for name, function in COMMANDS.items():
        app.command(name)(for_this_manager(function))
    result = CliRunner().invoke(app, ["status", "--json"])
    assert json.loads(result.stdout)["stages"][0]["stage"] == "jobflow-remote"
    assert CliRunner().invoke(app, ["status", "--manager", "fireworks"]).exit_code == 2


def test_the_help_of_jf_names_the_strategies():
    from jobflow_remote.cli.jf import app

    setup_jf_plugin()
    shown = CliRunner().invoke(app, ["phonotune", "submit", "--help"]).output
    assert "equitrain" in shown
    assert "{strategies}" not in shown
