"""``phonotune sample``: frames of a crystal that are worth labelling."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonotune.cli.console import Session, session
from phonotune.cli.options import AsJson, Debug, Head, StructureFile, check_frames_output
from phonotune.errors import ConfigError, invalid_value
from phonotune.progress import told_to

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.flows.pipeline import PhonotuneMaker
    from phonotune.schemas.dataset import StructureSet, TrajectoryDocument


def sample(
    structure: StructureFile,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="extxyz to write.", show_default=False),
    ],
    foundation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Model that relaxes the rattled cells. Default: mace-mp-0b3.",
            show_default=False,
        ),
    ] = None,
    head: Head = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How frames are chosen: energy (default), fps, doptimal, random.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(metavar="N", help="Frames in all. Default: 20.", show_default=False, min=1),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Seed of all random numbers. Default: 0.", show_default=False
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="YAML as for `run`; its fields rattle, relaxation, select, phonon and seed are used.",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Rattle and strain supercells of a relaxed crystal, relax them, and choose frames along the way.

    Each frame names its group (the relaxation it comes from, which a split keeps together) and why it
    was chosen.

    Example: phonotune sample BaTiO3.cif --foundation mini -o frames.extxyz
    """
    with session(as_json=json, debug=debug) as out:
        check_frames_output(output)
        from pydantic import ValidationError

        from phonotune.cli.config import build_maker
        from phonotune.data.extxyz import write_frames
        from phonotune.data.structures import read_structure
        from phonotune.flows.run import check_foundation
        from phonotune.schemas.dataset import Frame

        crystal = read_structure(structure)
        options = {"foundation": foundation, "head": head, "seed": seed}
        maker = build_maker(config, options)
        given = {"method": method, "budget": budget}
        asked = {key: value for key, value in given.items() if value is not None}
        try:
            select = type(maker.select).model_validate(maker.select.model_dump() | asked)
        except ValidationError as error:
            raise ConfigError(invalid_value(error)) from error
        maker = replace(maker, select=select)
        check_foundation(maker.foundation, {str(structure): crystal}, maker.head)
        chosen, trajectories = draw_frames(crystal, maker, out)
        candidates = chosen.candidates()
        write_frames(
            output, (Frame(c.structure, group=c.group, origin=c.reason) for c in candidates)
        )
        groups = Counter(candidate.group for candidate in candidates)
        out.finish(
            {
                "output": str(output),
                "frames": len(candidates),
                "atoms": sum(len(candidate.structure) for candidate in candidates),
                "groups": dict(groups),
                "foundation": maker.foundation,
                "recipe": chosen.recipe,
                "unconverged": trajectories.unconverged,
            },
            f"{output}: {len(candidates)} frames in {len(groups)} groups "
            f"({', '.join(f'{n} of {group}' for group, n in groups.items())})",
        )


def draw_frames(
    crystal: Structure, maker: PhonotuneMaker, out: Session
) -> tuple[StructureSet, TrajectoryDocument]:
    """Run the stages of a pipeline that end with the frames to label, here and now.

    Parameters
    ----------
    crystal
        The relaxed crystal.
    maker
        Its foundation, seed and settings of the stages are used.
    out
        Shows progress, and notes relaxations that did not converge.
    """
    from phonotune.jobs.sample import RattleMaker, SelectMaker, TrajectoryMaker
    from phonotune.models.records import find_model

    model = find_model(maker.foundation, maker.head)
    rattle = RattleMaker(settings=maker.rattle, phonon=maker.phonon, seed=maker.seed)
    relax = TrajectoryMaker(settings=maker.relaxation)
    select = SelectMaker(settings=maker.select, seed=maker.seed)
    with out.progress(f"Sampling {crystal.reduced_formula}", 3) as progress, told_to(progress):
        progress.advance(0, "rattling supercells")
        rattled = run_here(rattle, crystal, model if rattle.needs_model else None)
        progress.advance(1, f"relaxing {len(rattled.groups)} cells with {maker.foundation}")
        relaxed = run_here(relax, rattled, model)
        progress.advance(2, "choosing frames")
        chosen = run_here(select, relaxed, model if select.needs_model else None)
        progress.advance(3, "")
    for group in relaxed.unconverged:
        out.note(
            f"Note: the relaxation of {group} did not reach {maker.relaxation.fmax:g} eV/Å in "
            f"{maker.relaxation.max_steps} steps; its frames can be used like any others."
        )
    return chosen, relaxed


def run_here(maker: Any, *arguments: Any) -> Any:
    """Return the output of a Maker's job, without a job."""
    return type(maker).make.original(maker, *arguments)
