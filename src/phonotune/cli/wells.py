"""``phonotune double-well``: the potential along a phonon mode by a model."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import (
    AsJson,
    Debug,
    Head,
    Masses,
    MassesOption,
    Model,
    OutputFolder,
    Relax,
    StructureFile,
    Supercell,
    check_output_folder,
    parse_supercell,
)
from phonotune.cli.tables import render
from phonotune.errors import ConfigError

if TYPE_CHECKING:
    from phonotune.physics.wells.double_well import WellSettings

QPoint = Annotated[
    tuple[str, str, str] | None,
    typer.Option(
        "--q",
        metavar="A B C",
        help="Wavevector in reciprocal vectors of the primitive cell, for example 0.5 0.5 0 or "
        "1/3 1/3 0. Default: that of the softest mode that fits into the supercell.",
        show_default=False,
    ),
]
Band = Annotated[
    int | None,
    typer.Option(
        "--band",
        metavar="N",
        min=0,
        help="Band at --q, counted from 0 and the lowest frequency. Default: the softest.",
        show_default=False,
    ),
]
Directions = Annotated[
    str | None,
    typer.Option(
        "--directions",
        metavar="all|LABEL,...",
        help="Directions of a degenerate mode: all that symmetry tells apart, or labels such as "
        "a00,aaa. Default: one, along an axis.",
        show_default=False,
    ),
]


def double_well(
    structure: StructureFile,
    model: Model,
    output: OutputFolder,
    head: Head = None,
    supercell: Supercell = None,
    q: QPoint = None,
    band: Band = None,
    directions: Directions = None,
    relax: Relax = False,
    masses: MassesOption = Masses.stated,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Follow a phonon mode of a crystal, by default its softest: E(Q), its depth, Q0 and levels.

    Depth in meV per formula unit, Q in Å·sqrt(amu). The phonons are computed first, in the supercell
    of --supercell; the mode is then displaced in its smallest commensurate supercell, which may be
    another. Writes well.json and well.png. An interrupted call continues where it stopped.

    Example: phonotune double-well BaTiO3.cif --model teacher --directions all -o batio3-well
    """
    with session(as_json=json, debug=debug) as out:
        matrix = parse_supercell(supercell)
        asked = parse_mode(q, band, directions)
        check_output_folder(output)
        from phonotune.cli.crystal import read_crystal, relaxation
        from phonotune.data.document_files import summary_of
        from phonotune.jobs.phonon import PhononMaker
        from phonotune.jobs.property import resumed_evaluator
        from phonotune.jobs.wells import DoubleWellMaker
        from phonotune.physics.phonon.settings import PhononSettings
        from phonotune.report.files import write_well
        from phonotune.report.tables import directions_table, well_table

        crystal, record = read_crystal(structure, model, masses, out, head)
        settings, first = PhononSettings(supercell_matrix=matrix), relaxation(relax)
        with (
            out.progress("double well") as progress,
            resumed_evaluator(record) as evaluator,
        ):
            maker = PhononMaker(settings=settings, relax=first)
            phonons = maker.compute(crystal, evaluator, progress)
            well = DoubleWellMaker(settings=asked, relax=first)  # asks the same relaxation again
            document = well.compute(crystal, evaluator, progress, phonons=phonons)
            files = write_well(document, output)
        out.finish(
            {"output": str(output), "files": files, "well": summary_of(document)},
            render(well_table(document)),
            render(directions_table(document)),
            f"{output}: {', '.join(files)}",
        )


def parse_mode(
    q: tuple[str, str, str] | None, band: int | None, directions: str | None
) -> WellSettings:
    """Return the settings of ``--q``, ``--band`` and ``--directions``.

    Raises
    ------
    ConfigError
        A wavevector that is not three numbers or fractions, or a band without one.
    """
    from phonotune.physics.wells.double_well import WellSettings

    if q is None and band is not None:
        raise ConfigError(f"--band {band} needs the wavevector it belongs to; give --q, too.")
    try:
        vector = None if q is None else tuple(float(Fraction(part)) for part in q)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(
            f"--q takes three numbers or fractions, for example `--q 1/3 1/3 0`; found {' '.join(q or ())}."
        ) from error
    labels = None if directions is None else tuple(directions.replace(",", " ").split())
    return WellSettings.model_validate({"q": vector, "band": band, "directions": labels})
