"""Output, errors and exit codes that every command shares."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings

import pytest
import typer
from typer.testing import CliRunner

from phonotune.cli.console import Session, session
from phonotune.cli.options import AsJson, Debug
from phonotune.errors import InputError, PhonotuneError

app = typer.Typer()


@app.command()
def work(what: str, json: AsJson = False, debug: Debug = False) -> None:
    with session(as_json=json, debug=debug) as out:
        print("chatter of a third party")
        warnings.warn("a deprecation elsewhere", stacklevel=1)
        logging.getLogger("elsewhere").warning("a log message elsewhere")
        logging.getLogger("phonotune.here").warning("our own warning")
        failures = {
            "input": InputError("The file is empty."),
            "failed": PhonotuneError("It diverged."),
            "unexpected": ZeroDivisionError("division by zero\nsecond line"),
            "interrupt": KeyboardInterrupt(),
        }
        if what in failures:
            raise failures[what]
        with out.progress("working", total=2) as progress:
            progress.advance(1, "half")
            progress.advance(2, "whole")
        out.note("a note")
        out.finish({"answer": 42}, "the answer is 42", exit_code=1 if what == "partly" else 0)


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_json_puts_exactly_one_object_on_stdout() -> None:
    result = run("well", "--json")
    assert json.loads(result.stdout) == {"answer": 42}
    assert result.exit_code == 0


def test_only_the_result_is_on_stdout() -> None:
    for result in (run("well"), run("well", "--debug")):
        assert result.stdout == "the answer is 42\n"
        assert "a note" in result.stderr


def test_progress_without_a_terminal_is_lines_on_stderr() -> None:
    lines = run("well").stderr.splitlines()
    assert "working 1/2: half" in lines
    assert "working 2/2: whole" in lines


def test_progress_lines_are_few_where_only_numbers_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Session().progress("training", total=100) as progress:
        for epoch in range(1, 101):
            progress.advance(epoch, f"error {1 / epoch:.3f} meV/Å")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["training 1/100: error 1.000 meV/Å", "training 100/100: error 0.010 meV/Å"]


def test_what_others_print_warn_and_log_is_shown_only_with_debug() -> None:
    quiet, loud = run("well").stderr, run("well", "--debug").stderr
    for text in (
        "chatter of a third party",
        "a deprecation elsewhere",
        "a log message elsewhere",
    ):
        assert text not in quiet
        assert text in loud
    assert "our own warning" in quiet


def test_logging_is_left_as_it_was_found() -> None:
    before = list(logging.getLogger().handlers)
    run("well")
    run("input")
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize(
    ("what", "code", "kind", "message"),
    [
        ("input", 2, "InputError", "The file is empty."),
        ("failed", 1, "PhonotuneError", "It diverged."),
        ("interrupt", 130, "KeyboardInterrupt", "Interrupted."),
        (
            "unexpected",
            1,
            "ZeroDivisionError",
            "Unexpected ZeroDivisionError: division by zero. Run it again with --debug for the "
            "traceback.",
        ),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(
    what: str, code: int, kind: str, message: str
) -> None:
    plain, as_json = run(what), run(what, "--json")
    assert plain.exit_code == as_json.exit_code == code
    assert plain.stdout == ""
    assert f"Error: {message}" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert json.loads(as_json.stdout) == {"error": {"type": kind, "message": message}}


def test_a_partly_failed_work_shows_its_result_and_exits_with_1() -> None:
    result = run("partly", "--json")
    assert json.loads(result.stdout) == {"answer": 42}
    assert result.exit_code == 1


def test_debug_shows_the_traceback_on_stderr() -> None:
    assert "Traceback" in run("unexpected", "--debug").stderr
    variable = CliRunner().invoke(app, ["unexpected"], env={"PHONOTUNE_DEBUG": "1"})
    assert "Traceback" in variable.stderr


def test_child_processes_do_not_reach_stdout() -> None:
    script = (
        "import os, subprocess\n"
        "from phonotune.cli.console import Session, session\n"
        "with session(as_json=True, debug=False) as out:\n"
        "    subprocess.run(['echo', 'from a child'], check=True)\n"
        "    os.write(1, b'from C')\n"
        "    out.finish({'answer': 42})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ
    )
    assert json.loads(done.stdout) == {"answer": 42}
    assert "from a child" in done.stderr
    assert "from C" in done.stderr
