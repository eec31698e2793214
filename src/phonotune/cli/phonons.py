"""``phonotune phonons``: finite-displacement phonons of a crystal by a model."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import (
    AsJson,
    Born,
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
    from phonotune.physics.phonon.cells import Rows3

Primitive = Annotated[
    str,
    typer.Option(
        "--primitive",
        metavar="auto|MATRIX",
        help="Primitive vectors in units of the cell vectors: 9 numbers or fractions in quotes, row "
        "by row.",
    ),
]
MeshTolerance = Annotated[
    float | None,
    typer.Option(
        "--mesh-tolerance",
        metavar="THZ",
        min=1e-6,
        help="Double the q-mesh until the mean frequency changes by less. Default: 0.05.",
        show_default=False,
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Labelled frames (extxyz or what `import` takes): those of the undeformed phonon "
        "supercell correct the model's force constants.",
        show_default=False,
    ),
]
Projected = Annotated[
    bool, typer.Option("--projected", help="Split the density of states in dos.png by element.")
]


def phonons(
    structure: StructureFile,
    model: Model,
    output: OutputFolder,
    head: Head = None,
    supercell: Supercell = None,
    born: Born = None,
    primitive: Primitive = "auto",
    mesh_tolerance: MeshTolerance = None,
    projected: Projected = False,
    labels: Labels = None,
    relax: Relax = False,
    masses: MassesOption = Masses.stated,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compute harmonic phonons, density of states and thermal properties of a crystal.

    Finite displacements of 0.01 Å, reduced by symmetry; acoustic sum rule; imaginary frequencies
    are negative. Thermal properties are per mole of formula units. The unit cell stays as given, in
    its own orientation. An interrupted call continues where it stopped.

    Writes phonopy_params.yaml, force_constants.hdf5, phonons.json, bands.png, dos.png, thermal.csv.

    Example: phonotune phonons POSCAR --model nacl --supercell 2 2 2 -o nacl-phonons
    """
    with session(as_json=json, debug=debug) as out:
        matrix, rows = parse_supercell(supercell), parse_primitive(primitive)
        check_output_folder(output)
        from phonotune.cli.crystal import read_crystal, read_labels, relaxation
        from phonotune.data.document_files import summary_of
        from phonotune.jobs.phonon import PhononMaker
        from phonotune.jobs.property import resumed_evaluator
        from phonotune.physics.phonon.born import read_born
        from phonotune.physics.phonon.settings import PhononSettings
        from phonotune.report.files import write_phonons
        from phonotune.report.tables import phonon_table, residual_table

        crystal, record = read_crystal(structure, model, masses, out, head)
        settings = PhononSettings(supercell_matrix=matrix, primitive_matrix=rows)
        if mesh_tolerance is not None:
            settings = settings.model_copy(update={"mesh_tolerance": mesh_tolerance})
        maker = PhononMaker(settings=settings, relax=relaxation(relax))
        if born is not None:
            maker.born = read_born(born, crystal, settings.symprec, settings.primitive_matrix)
        frames = read_labels(labels, out)
        with (
            out.progress("phonons") as progress,
            resumed_evaluator(record) as evaluator,
        ):
            document = maker.compute(crystal, evaluator, progress, frames=frames)
            files = write_phonons(document, output, projected)
        tables = [phonon_table(document)]
        if document.residual is not None:
            tables.append(residual_table(document))
        out.finish(
            {"output": str(output), "files": files, "phonon": summary_of(document)},
            *map(render, tables),
            f"{output}: {', '.join(files)}",
        )


def parse_primitive(text: str) -> Rows3 | None:
    """Return the primitive vectors of nine numbers or fractions; None for ``auto``.

    Raises
    ------
    ConfigError
        If the text is neither.
    """
    if text == "auto":
        return None
    try:
        values = [float(Fraction(word)) for word in text.replace(",", " ").split()]
    except (ValueError, ZeroDivisionError):
        values = []
    if len(values) != 9:
        raise ConfigError(
            "--primitive takes `auto` or 9 numbers, for example "
            f"`--primitive '0 1/2 1/2 1/2 0 1/2 1/2 1/2 0'`; found {text!r}."
        )
    a, b, c, d, e, f, g, h, i = values
    return ((a, b, c), (d, e, f), (g, h, i))
