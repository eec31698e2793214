"""A Slurm of one node for tests: ``python tests/servers/slurm.py up FOLDER`` and ``... down FOLDER``.

Two partitions, ``cpu`` and ``gpu``, with a pretended GPU: ``--gres=gpu:1`` sets CUDA_VISIBLE_DEVICES=0
and a second one is refused. Needs root and Debian's packages ``slurm-wlm`` and ``munge``; the client
commands find the cluster by ``SLURM_CONF=FOLDER/slurm.conf``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
DAEMONS = ("slurmd", "slurmctld", "munged")
SECONDS_TO_START = 20.0
READY = {"idle", "mixed", "allocated"}
"""States of a node that works; one that starts in an old folder may find jobs there."""

CONFIGURATION = """\
ClusterName=phonotune
SlurmctldHost=localhost
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller_port}
SlurmdPort={daemon_port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
MinJobAge=300
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=4 Boards=1 SocketsPerBoard=1 \
CoresPerSocket=4 ThreadsPerCore=1 RealMemory=4000 Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes=localhost Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=localhost Default=NO MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Return why Slurm cannot run here, or None."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root here"
    absent = [name for name in PROGRAMS if _program(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def up(folder: Path) -> None:
    """Start the daemons and wait until the node is ready; an existing folder is used as it is."""
    folder = folder.resolve()
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    key, gpu = folder / "munge.key", folder / "gpu0"
    key.unlink(missing_ok=True)
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    if not gpu.exists():
        subprocess.run(["mknod", str(gpu), "c", "1", "3"], check=True)
    (folder / "gres.conf").write_text(f"NodeName=localhost Name=gpu File={gpu}\n")
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().split(".")[0],
            controller_port=_free_port(),
            daemon_port=_free_port(),
        )
    )
    files = {"key": key, "socket": folder / "munge.socket", "pid": folder / "munged.pid"}
    files |= {"log": folder / "munged.log", "seed": folder / "munge.seed"}
    options = {"pid": "pid-file", "key": "key-file", "log": "log-file", "seed": "seed-file"}
    munged = [f"--{options.get(name, name)}={path}" for name, path in files.items()]
    _start("munged", "--force", *munged)
    _start("slurmctld", "-f", str(configuration))
    _start("slurmd", "-f", str(configuration), "-N", "localhost")
    _wait_until_ready(configuration)


def down(folder: Path) -> None:
    """Stop the daemons of a folder."""
    for name in DAEMONS:
        file = folder / f"{name}.pid"
        if file.is_file():
            _stop(int(file.read_text()))


def _wait_until_ready(configuration: Path) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        answer = subprocess.run(
            ["sinfo", "-h", "-o", "%T"],
            env={**os.environ, "SLURM_CONF": str(configuration)},
            capture_output=True,
            text=True,
            check=False,
        )
        if set(answer.stdout.split()) <= READY and answer.stdout:
            return
        time.sleep(0.3)
    raise RuntimeError(f"Slurm's node is not ready after {SECONDS_TO_START} s: {answer.stdout}")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _start(name: str, *arguments: str) -> None:
    program = _program(name)
    assert program is not None
    subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL)


def _stop(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
        for _ in range(50):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


if __name__ == "__main__":
    {"up": up, "down": down}[sys.argv[1]](Path(sys.argv[2]))
