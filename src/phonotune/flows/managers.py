"""Workflow managers, one row each: its queue, its package, its files, and what to do with them.

A further manager is a queue (:class:`phonotune.flows.queues.Queue`) in a file of its own and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from phonotune.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class ManagerRow:
    """One workflow manager.

    Attributes
    ----------
    name
        What users call it.
    extra
        The extra of phonotune that installs it.
    queue
        Dotted path, ``module:name``, of its Queue; a function of a profile.
    files
        Dotted path of a function of folder and :class:`phonotune.flows.profile_files.Site` that returns the
        text of its own files by name.
    next_steps
        What to do with them; ``{folder}`` is where they are.
    store_is_named
        Where the store that its workers write to is named, and what to compare that with.
    """

    name: str
    extra: str
    queue: str
    files: str
    next_steps: tuple[str, ...]
    store_is_named: str


_ROWS: Final = (
    ManagerRow(
        name="fireworks",
        extra="fireworks",
        queue="phonotune.flows.queue_fireworks:FireworksQueue",
        files="phonotune.flows.profile_files:fireworks_files",
        next_steps=(
            "lpad -l {folder}/my_launchpad.yaml reset        (once: it empties the database)",
            "phonotune submit STRUCTURE --manager fireworks --profile {folder}/profile.yaml",
            "qlaunch -c {folder}/gpu rapidfire --nlaunches infinite -m 10        (one line per worker)",
            "phonotune doctor --manager fireworks --profile {folder}/profile.yaml",
        ),
        store_is_named="JOBFLOW_CONFIG_FILE in the worker's my_qadapter.yaml with `store:` of the profile "
        "(or JOBFLOW_CONFIG_FILE here)",
    ),
    ManagerRow(
        name="jobflow-remote",
        extra="remote",
        queue="phonotune.flows.queue_remote:RemoteQueue",
        files="phonotune.flows.profile_files:remote_files",
        next_steps=(
            "export JFREMOTE_PROJECTS_FOLDER={folder}/projects",
            "jf project check --errors; jf admin reset        (once: it empties the queue)",
            "jf runner start",
            "phonotune doctor --manager jobflow-remote --profile {folder}/profile.yaml",
            "phonotune submit STRUCTURE --manager jobflow-remote --profile {folder}/profile.yaml",
        ),
        store_is_named="jobstore in the project's yaml on the runner's machine with the one here",
    ),
)
MANAGERS: Final = {row.name: row for row in _ROWS}


def manager_row(name: str) -> ManagerRow:
    """Return the row of a manager; raises ConfigError where there is none, naming the others."""
    if name not in MANAGERS:
        raise unknown_name("manager", name, tuple(MANAGERS))
    return MANAGERS[name]


def need(module: str, manager: str) -> Any:
    """Import a module of a manager, which is an optional dependency.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The manager {manager} is not installed here ({error.name} is missing). Install it with "
            f"`pip install 'phonotune[{manager_row(manager).extra}]'`."
        ) from error
