"""``phonotune sscha``: phonons at temperatures by the self-consistent harmonic approximation."""

from __future__ import annotations

from typing import Annotated

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
from phonotune.cli.phonons import Labels
from phonotune.cli.tables import render
from phonotune.errors import ConfigError

Temperatures = Annotated[
    str,
    typer.Option("--temperatures", metavar="T,T,...", help="Temperatures, K."),
]
Displaced = Annotated[
    int,
    typer.Option(
        "--displaced",
        metavar="N",
        min=4,
        help="Displaced supercells of the first ensemble, an even number; doubled, up to 16 times as many, "
        "until a fresh ensemble agrees.",
    ),
]


def sscha(
    structure: StructureFile,
    model: Model,
    output: OutputFolder,
    head: Head = None,
    temperatures: Temperatures = "0,150,300,600,900",
    supercell: Supercell = None,
    born: Born = None,
    labels: Labels = None,
    displaced: Displaced = 64,
    relax: Relax = False,
    masses: MassesOption = Masses.stated,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compute phonons and free energies of a crystal at temperatures, with all anharmonic forces.

    At each temperature the harmonic crystal of lowest free energy is found (self-consistent harmonic
    approximation), from displaced supercells that the model evaluates in batches; cell and positions stay as
    they are. Converged: free energy within 0.1 meV/atom and frequencies within 0.05 THz of the last iteration
    and of a fresh ensemble. An interrupted call continues where it stopped.

    Writes sscha.json, sscha.csv, bands.png, and phonopy_params.yaml and force_constants.hdf5 of each
    temperature. Exit code 1: a temperature is not converged.

    Example: phonotune sscha SrTiO3.cif --model teacher --supercell 2 2 2 --temperatures 100,300 -o hot
    """
    with session(as_json=json, debug=debug) as out:
        matrix, values = parse_supercell(supercell), parse_temperatures(temperatures)
        if displaced % 2:
            raise ConfigError(
                f"--displaced takes an even number, since displacements come in pairs; found {displaced}. "
                f"Give for example {displaced + 1}."
            )
        check_output_folder(output)
        from phonotune.cli.crystal import read_crystal, read_labels, relaxation
        from phonotune.data.document_files import summary_of
        from phonotune.jobs.property import resumed_evaluator
        from phonotune.jobs.sscha import SSCHAMaker
        from phonotune.physics.phonon.born import read_born
        from phonotune.physics.phonon.settings import PhononSettings
        from phonotune.physics.phonon.sscha import SSCHASettings
        from phonotune.report.files import write_sscha
        from phonotune.report.tables_thermal import temperature_table

        settings = SSCHASettings(
            phonons=PhononSettings(supercell_matrix=matrix),
            temperatures=values,
            n_structures=displaced,
            max_structures=16 * displaced,
        )
        crystal, record = read_crystal(structure, model, masses, out, head)
        charges = None if born is None else read_born(born, crystal)
        frames = read_labels(labels, out)
        maker = SSCHAMaker(settings=settings, born=charges, relax=relaxation(relax))
        with (
            out.progress("phonons at temperatures") as progress,
            resumed_evaluator(record) as evaluator,
        ):
            document = maker.compute(crystal, evaluator, progress, frames=frames)
            files = write_sscha(document, output)
        open_ones = [f"{p.temperature:g} K" for p in document.points if not p.is_converged]
        if open_ones:
            out.note(
                f"Not converged at {', '.join(open_ones)}: a fresh ensemble changes free energy or frequencies "
                f"by more than is allowed (sscha.csv). Repeat with --displaced {2 * displaced} or more."
            )
        out.finish(
            {"output": str(output), "files": files, "sscha": summary_of(document)},
            render(temperature_table(document)),
            f"{output}: {', '.join(files)}",
            exit_code=int(bool(open_ones)),
        )


def parse_temperatures(text: str) -> tuple[float, ...]:
    """Return the temperatures of ``0,300,600``, K; their range is checked by the settings.

    Raises
    ------
    ConfigError
        A word that is not a number.
    """
    words = text.replace(",", " ").split()
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        raise ConfigError(
            f"--temperatures takes numbers in K with commas, for example 0,300,600; found {text!r}."
        ) from None
