"""Roles to workers: one profile that FireWorks and jobflow-remote both read.

Each job says in ``job.metadata["phonotune"]["role"]`` what it needs; a :class:`Profile` says which worker
has it. :func:`route` writes ``manager_config`` with the keys of both managers (each ignores the
other's) and does the same at run time for every job that a job returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, get_args

from jobflow import Flow, Job
from monty.json import MSONable
from pydantic import Field, ValidationError

from phonotune.errors import ConfigError, invalid_value, unknown_name
from phonotune.flows.yaml_file import read_mapping
from phonotune.jobs.base import Role
from phonotune.schemas.base import Part

ROLES: Final[tuple[Role, ...]] = get_args(Role)
_TAG: Final = "phonotune"


class Route(Part):
    """Where the jobs of one role run, and with what."""

    worker: str = Field(description="jobflow-remote: name of a worker of the project")
    category: str | None = Field(
        default=None, description="FireWorks: a category of my_fworker.yaml; default: `worker`"
    )
    resources: dict[str, Any] | None = Field(
        default=None,
        description="jobflow-remote: keys of the scheduler (Slurm: nodes, ntasks, partition, gres, "
        "time); they replace the worker's own",
    )
    queueadapter: dict[str, Any] | None = Field(
        default=None,
        description="FireWorks: keys of my_qadapter.yaml; read by `qlaunch -r` and `singleshot` only",
    )
    exec_config: str | dict[str, Any] | None = Field(
        default=None, description="jobflow-remote: modules, export, pre_run; or their name"
    )
    priority: int | None = Field(default=None, description="the larger, the sooner")

    def manager_config(self) -> dict[str, Any]:
        """Return the keys of both managers; what was not given is absent."""
        keys = {
            "worker": self.worker,
            "resources": self.resources,
            "exec_config": self.exec_config,
            "priority": self.priority,
            "_category": self.category or self.worker,
            "_queueadapter": self.queueadapter,
            "_priority": self.priority,
        }
        return {key: value for key, value in keys.items() if value is not None}


def _default_roles() -> dict[Role, Route]:
    workers: dict[Role, str] = {"light": "light", "gpu_eval": "gpu", "gpu_train": "gpu"}
    return {role: Route(worker=workers.get(role, "cpu")) for role in ROLES}


class Profile(Part):
    """A site: which worker takes which role, and where manager and results are.

    The default has three workers: ``light``, ``cpu`` (``dft``, ``cpu_heavy``) and ``gpu`` (``gpu_eval``,
    ``gpu_train``).
    """

    roles: dict[Role, Route] = Field(
        default_factory=_default_roles, description="every role; one left out keeps its default"
    )
    untagged: Role = Field(
        default="dft", description="role of a job that has none (of another package)"
    )
    project: str | None = Field(
        default=None, description="jobflow-remote: name of the project; default: its own choice"
    )
    launchpad: Path | None = Field(
        default=None, description="FireWorks: my_launchpad.yaml; default: FireWorks' own choice"
    )
    store: Path | None = Field(
        default=None,
        description="FireWorks: jobflow store (yaml) that the workers write to; jobflow-remote "
        "writes to the jobstore of its project",
    )

    def route_of(self, role: Role) -> Route:
        """Return the route of a role."""
        return self.roles.get(role) or _default_roles()[role]

    def workers(self) -> dict[str, list[Role]]:
        """Return the roles that each worker takes, by its name."""
        found: dict[str, list[Role]] = {}
        for role in ROLES:
            found.setdefault(self.route_of(role).worker, []).append(role)
        return found


def read_profile(path: Path | str | None) -> Profile:
    """Read a profile; file names in it count from its own folder. None gives the default.

    Raises
    ------
    ConfigError
        The file cannot be read, is not a mapping, or holds an unknown key or role, or a wrong value.
    """
    if path is None:
        return Profile()
    path = Path(path)
    content = read_mapping(path, "profile", "`phonotune profile init` writes one.")
    for key in content:
        if key not in Profile.model_fields:
            raise unknown_name(f"key in {path}", str(key), Profile.model_fields)
    roles = content.get("roles")
    for role, given in roles.items() if isinstance(roles, dict) else ():
        if role not in ROLES:
            raise unknown_name(f"role in {path}", str(role), ROLES)
        for key in given if isinstance(given, dict) else {}:
            if key not in Route.model_fields:
                raise unknown_name(f"key of role {role} in {path}", str(key), Route.model_fields)
    for name in ("launchpad", "store"):
        if isinstance(content.get(name), str):
            content[name] = path.expanduser().resolve().parent / Path(content[name]).expanduser()
    try:
        return Profile.model_validate({k: v for k, v in content.items() if v is not None})
    except ValidationError as error:
        raise ConfigError(
            f"In the profile {path}, {invalid_value(error)} `phonotune profile init` writes an example."
        ) from error


def route(flow: Flow | Job, profile: Profile | Path | str | None = None) -> Flow:
    """Send every job of a flow to the worker of its role, jobs made at run time included.

    Parameters
    ----------
    flow
        Flow or single job; it is changed in place.
    profile
        A profile, its file, or None for the default.

    Returns
    -------
    Flow
        The same flow (a single job in a flow of its own).

    Raises
    ------
    ConfigError
        The profile cannot be used.
    """
    chosen = profile if isinstance(profile, Profile) else read_profile(profile)
    routed = flow if isinstance(flow, Flow) else Flow([flow], name=flow.name)
    configs: dict[str, dict[str, Any]] = {
        role: chosen.route_of(role).manager_config() for role in ROLES
    }
    # jobflow would hand a generator's own manager_config down to all it returns
    routed.update_config({"_set": {"pass_manager_config": False}}, dict_mod=True, dynamic=True)
    routed.update_metadata({}, callback_filter=RoleRouter(configs, chosen.untagged), dynamic=True)
    return routed


def label_jobs(flow: Flow, about: Mapping[str, str]) -> None:
    """Write what a flow is about (material, campaign) into every job, those made at run time included."""
    changes = {f"{_TAG}->{key}": value for key, value in about.items()}
    for job, _ in flow.iterflow():
        job.metadata.setdefault(_TAG, {})
        job.update_metadata({"_set": changes}, dict_mod=True, dynamic=True)


class RoleRouter(MSONable):
    """Gives a job the manager settings of its role; travels with the flow.

    jobflow calls the filter of a dynamic update of metadata with every job that a job returns, on the
    worker that ran it. This filter uses the call to route and asks for no update.

    Parameters
    ----------
    configs
        ``manager_config`` by role.
    untagged
        Role of jobs without one.
    """

    def __init__(self, configs: dict[str, dict[str, Any]], untagged: str) -> None:
        self.configs = configs
        self.untagged = untagged

    def __call__(self, node: Flow | Job) -> bool:
        """Route a job (a flow is left alone) and return False."""
        if isinstance(node, Job):
            role = node.metadata.get(_TAG, {}).get("role", self.untagged)
            node.config.manager_config = deepcopy(self.configs[role])
            node.metadata_updates = [
                update for update in node.metadata_updates if self._is_kept(update, role)
            ]
        return False

    def _is_kept(self, update: dict[str, Any], role: str) -> bool:
        """Return whether a job's update of metadata shall reach what the job returns.

        A role is handed down by a job of DFT only: its maker, of another package, tags nothing. Every
        other generator tags what it returns, and its own role must not overwrite that.
        """
        router = update.get("callback_filter")
        if isinstance(router, RoleRouter):
            return router is self
        return role == "dft" or _TAG not in update["update"]
