"""What ``phonotune profile init`` writes: a commented profile and the manager's own files."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from phonotune.dotted import load
from phonotune.errors import ConfigError, InputError
from phonotune.flows.managers import manager_row
from phonotune.flows.routing import Profile

PROFILE: Final = "profile.yaml"
PROJECT: Final = "phonotune"

_PROFILE: Final = """\
# Where phonotune's jobs run. FireWorks and jobflow-remote read the same roles:
#   light      plans, datasets, comparisons: seconds on one core
#   dft        labels: one VASP (or other) run a job
#   gpu_eval   a model evaluates many structures in one batch
#   gpu_train  fine-tuning; stops and checkpoints before the walltime
#   cpu_heavy  long analyses on one node
# A role may have, beside its worker:
#   category: NAME            FireWorks: category of my_fworker.yaml; default: the worker's name
#   queueadapter: {walltime: "48:00:00"}   FireWorks, `qlaunch -r` and `qlaunch singleshot` only
#   resources: {nodes: 2, ntasks: 256, partition: cpu, time: "12:00:00"}   jobflow-remote; replaces the worker's
#   exec_config: vasp         jobflow-remote: modules and variables by name (see the project), or a mapping
#   priority: 10              the larger, the sooner
roles:
  light: {worker: light}
  dft: {worker: cpu, exec_config: vasp}
  cpu_heavy: {worker: cpu}
  gpu_eval: {worker: gpu}
  gpu_train: {worker: gpu}
untagged: dft                  # jobs of other packages in the same flow
project: phonotune             # jobflow-remote
launchpad: my_launchpad.yaml   # FireWorks
store: jobflow.yaml            # FireWorks' workers write here, jobflow-remote to the project's jobstore
"""

_JOBFLOW: Final = """\
# jobflow's configuration: JOBFLOW_CONFIG_FILE names it, here and on every FireWorks worker.
# Add username and password to each store where the database asks for them.
JOB_STORE:
  docs_store: {{type: MongoStore, {mongo}, collection_name: outputs}}
  additional_stores:
    data: {{type: GridFSStore, {mongo}, collection_name: blobs, compression: true}}
"""

_LAUNCHPAD: Final = """\
# FireWorks' database. `lpad -l {folder}/my_launchpad.yaml reset` makes it, once: it empties it.
host: {host}
port: {port}
name: {database}
username: null
password: null
logdir: null
strm_lvl: WARNING
"""

_FWORKER: Final = """\
# The roles that go here are in profile.yaml: each role's category, else its worker.
name: {worker}
category: [{categories}]
query: '{{}}'
"""

_QADAPTER: Final = """\
# `qlaunch -c {folder} rapidfire --nlaunches infinite -m 10` keeps at most ten jobs in the queue.
_fw_name: CommonAdapter
_fw_q_type: SLURM
# After --timeout seconds the process takes no further job, so that it ends before the walltime does.
# The margin of {margin} s is the time that the longest {longest} may take; keep it above
# PHONOTUNE_WALLTIME_MARGIN (120). Change --timeout with the walltime. After five idle minutes (--max_loops) it
# ends, too: it would hold its place in the queue while it waits for jobs of other workers.
rocket_launch: rlaunch -c {folder} rapidfire --timeout {timeout} --max_loops 5 --sleep 60
nodes: 1
ntasks: {ntasks}
walltime: '{walltime}'
queue: {partition}             # the partition
gres: {gres}
account: null
job_name: phonotune-{worker}
logdir: {folder}
pre_rocket: |
  export PATH={python}:$PATH
  export JOBFLOW_CONFIG_FILE={root}/jobflow.yaml
  # export ATOMATE2_VASP_CMD="srun vasp_std"
"""

_PROJECT: Final = """\
# jobflow-remote's project. Name its folder in JFREMOTE_PROJECTS_FOLDER, or move this file to ~/.jfremote.
#   jf project check --errors    jf admin reset (once: it empties the queue)    jf runner start
name: phonotune
base_dir: {root}/jobflow-remote
workers:
  light:                       # where the runner runs; no queue
    type: local
    scheduler_type: shell
    work_dir: {root}/jobs/light
    pre_run: {setup}
    max_jobs: 2
  cpu:                         # on another machine: type: remote, host: NAME (of ~/.ssh/config)
    type: local
    scheduler_type: slurm
    work_dir: {root}/jobs/cpu
    pre_run: {setup}
    resources: {{nodes: 1, ntasks: {ntasks}, partition: {cpu}, time: "12:00:00"}}
  gpu:
    type: local
    scheduler_type: slurm
    work_dir: {root}/jobs/gpu
    pre_run: {setup}
    resources: {{nodes: 1, ntasks: 1, partition: {gpu}, gres: "gpu:1", time: "24:00:00"}}
exec_config:
  vasp:                        # of the role dft; modules: [vasp/6.4]
    export: {{ATOMATE2_VASP_CMD: '"srun vasp_std"'}}
queue:
  store: {{type: MongoStore, {mongo}, collection_name: jobs}}
jobstore:
  docs_store: {{type: MongoStore, {mongo}, collection_name: outputs}}
  additional_stores:
    data: {{type: GridFSStore, {mongo}, collection_name: blobs, compression: true}}
"""


class _Shift(NamedTuple):
    """How long a process of a FireWorks worker takes jobs.

    Attributes
    ----------
    hours
        Walltime of its queue job, h.
    margin
        The end of the walltime in which it takes no further job, s.
    longest
        What that margin is for.
    """

    hours: int
    margin: int
    longest: str

    @property
    def walltime(self) -> str:
        """Walltime as Slurm reads it."""
        return f"{self.hours}:00:00"

    @property
    def timeout(self) -> int:
        """Seconds after which the process takes no further job."""
        return self.hours * 3600 - self.margin


_SHIFTS: Final = {
    "dft": _Shift(12, 7200, "label"),
    "gpu_train": _Shift(24, 600, "step of a training or batch of an evaluation"),
    "light": _Shift(12, 600, "light job"),
}
"""By the first of these roles that a worker takes."""


@dataclass(frozen=True)
class Site:
    """What the files are filled with; all of it can be changed in them later.

    Attributes
    ----------
    host, port, database
        Of MongoDB.
    cpu, gpu
        Names of the partitions.
    ntasks
        MPI ranks of a DFT job.
    """

    host: str = "localhost"
    port: int = 27017
    database: str = "phonotune"
    cpu: str = "cpu"
    gpu: str = "gpu"
    ntasks: int = 1

    @property
    def mongo(self) -> str:
        """Keys of a maggma store in the database."""
        return f"host: {self.host}, port: {self.port}, database: {self.database}"


def write_profile(manager: str, folder: Path, site: Site | None = None) -> list[Path]:
    """Write the profile and a manager's files; what is there already is never overwritten.

    Parameters
    ----------
    manager
        ``fireworks`` or ``jobflow-remote``; both fit into one folder.
    folder
        Where; made if missing.
    site
        Names of machines and partitions.

    Returns
    -------
    list
        The files that were written.

    Raises
    ------
    ConfigError
        The manager is unknown.
    InputError
        One of the manager's files is there already; nothing was written.
    """
    row = manager_row(manager)
    root = folder.expanduser().resolve()
    if any(character in str(root) for character in " '\"#:"):
        raise ConfigError(
            f"The folder {root} cannot stand in job scripts: its name has a blank, a quote, # or :. "
            "Choose another with -o."
        )
    chosen = site or Site()
    files: dict[str, str] = load(row.files)(root, chosen)
    there = [name for name in files if (root / name).exists()]
    if there:
        raise InputError(
            f"{root / there[0]} exists and would be overwritten. Remove it, or choose another folder "
            "with -o."
        )
    if not (root / PROFILE).exists():
        files = {PROFILE: _PROFILE} | files
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # credentials will be added
        path.write_text(text, encoding="utf-8")
    return [root / name for name in files]


def fireworks_files(root: Path, site: Site) -> dict[str, str]:
    """Return the text of FireWorks' files by their name in ``root``, which is absolute."""
    launchpad = _LAUNCHPAD.format(
        folder=root, host=site.host, port=site.port, database=site.database
    )
    files = {"jobflow.yaml": _JOBFLOW.format(mongo=site.mongo), "my_launchpad.yaml": launchpad}
    for worker, roles in Profile().workers().items():
        on_gpu = worker == "gpu"
        routes = [Profile().route_of(role) for role in roles]
        categories = sorted({route.category or route.worker for route in routes})
        shift = next(shift for role, shift in _SHIFTS.items() if role in roles)
        files[f"{worker}/my_launchpad.yaml"] = launchpad
        files[f"{worker}/my_fworker.yaml"] = _FWORKER.format(
            worker=worker, categories=", ".join(categories)
        )
        files[f"{worker}/my_qadapter.yaml"] = _QADAPTER.format(
            folder=root / worker,
            root=root,
            worker=worker,
            python=Path(sys.executable).parent,
            ntasks=site.ntasks if "dft" in roles else 1,
            walltime=shift.walltime,
            timeout=shift.timeout,
            margin=shift.margin,
            longest=shift.longest,
            partition=site.gpu if on_gpu else site.cpu,
            gres="gpu:1" if on_gpu else "null",
        )
    return files


def remote_files(root: Path, site: Site) -> dict[str, str]:
    """Return the text of jobflow-remote's files by their name in ``root``, which is absolute."""
    project = _PROJECT.format(
        root=root,
        mongo=site.mongo,
        cpu=site.cpu,
        gpu=site.gpu,
        ntasks=site.ntasks,
        setup=f"export PATH={Path(sys.executable).parent}:$PATH",
    )
    return {f"projects/{PROJECT}.yaml": project}
