"""``phonotune profile``: which worker takes which role."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.manager_options import Manager
from phonotune.cli.options import AsJson, Debug, flowing

app = typer.Typer(
    no_args_is_help=True, help="Profiles: which worker of a cluster takes which role."
)


def init(
    manager: Manager,
    folder: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write.", show_default=False),
    ],
    host: Annotated[str, typer.Option(metavar="HOST", help="Host of MongoDB.")] = "localhost",
    port: Annotated[int, typer.Option(metavar="N", help="Port of MongoDB.")] = 27017,
    database: Annotated[str, typer.Option(metavar="NAME", help="Its database.")] = "phonotune",
    cpu: Annotated[str, typer.Option(metavar="NAME", help="Slurm partition for DFT.")] = "cpu",
    gpu: Annotated[str, typer.Option(metavar="NAME", help="Slurm partition with GPUs.")] = "gpu",
    ntasks: Annotated[int, typer.Option(metavar="N", min=1, help="MPI ranks of a DFT job.")] = 1,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a commented profile and the manager's own files, to be adapted to your site.

    Existing files are not overwritten. Both managers fit into one folder and share the profile.

    Example: phonotune profile init --manager fireworks -o site
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.flows.managers import manager_row
        from phonotune.flows.profile_files import Site, write_profile

        site = Site(host=host, port=port, database=database, cpu=cpu, gpu=gpu, ntasks=ntasks)
        files = [str(path) for path in write_profile(manager, folder, site)]
        steps = [
            step.format(folder=folder.expanduser().resolve())
            for step in manager_row(manager).next_steps
        ]
        shown = ["Written:", *(f"  {file}" for file in files), "Next, after a look at them:"]
        out.finish({"files": files, "next": steps}, *shown, *(f"  {step}" for step in steps))


app.command("init", help=flowing(init))(init)
