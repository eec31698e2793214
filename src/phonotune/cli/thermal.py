"""``phonotune thermal``: thermal expansion, Grüneisen parameters and conductivity by a model."""

from __future__ import annotations

from typing import Annotated, Final, cast, get_args

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
    StructureFile,
    Supercell,
    check_output_folder,
    parse_supercell,
)
from phonotune.cli.tables import render
from phonotune.errors import ConfigError, unknown_name

N_VOLUMES: Final = 7

Volumes = Annotated[
    tuple[float, float],
    typer.Option("--volumes", metavar="LOW HIGH", help="Range of volumes, % of the cell given."),
]
Relax = Annotated[
    bool,
    typer.Option("--relax", help="Count the volumes from the cell that the model relaxes to."),
]
Equation = Annotated[
    str,
    typer.Option(
        "--equation-of-state",
        metavar="NAME",
        help="Fitted to the free energy: birch-murnaghan (third order) or vinet.",
    ),
]
Conductivity = Annotated[
    bool,
    typer.Option(
        "--conductivity",
        help="Also the lattice thermal conductivity (needs phonotune\\[conductivity]).",
    ),
]


def thermal(
    structure: StructureFile,
    model: Model,
    output: OutputFolder,
    head: Head = None,
    supercell: Supercell = None,
    born: Born = None,
    volumes: Volumes = (-3.0, 5.0),
    relax: Relax = False,
    equation_of_state: Equation = "birch-murnaghan",
    conductivity: Conductivity = False,
    masses: MassesOption = Masses.stated,
    allow_imaginary: Annotated[
        bool, typer.Option("--allow-imaginary", help="Leave imaginary modes out of the averages.")
    ] = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compute thermal expansion, C_p, B(T) and Grüneisen parameters of a crystal.

    Phonons at 7 volumes of the same shape, evaluated in one batch; at each volume the ions are relaxed
    where symmetry leaves them free. Slack's conductivity at 300 K follows from the acoustic branches;
    --conductivity adds that of the relaxation-time approximation, for the cell given. An interrupted
    call continues where it stopped.

    Writes quasi_harmonic.json, thermal_expansion.csv, quasi_harmonic.png; conductivity.json and
    conductivity.csv.

    Example: phonotune thermal POSCAR --model nacl --relax -o nacl-thermal
    """
    with session(as_json=json, debug=debug) as out:
        matrix = parse_supercell(supercell)
        low, high = volumes
        if not -40 <= low < high <= 40:
            raise ConfigError(
                "--volumes takes two percentages, the lower first, between -40 and 40; found "
                f"{low:g} {high:g}. Give for example --volumes -3 5."
            )
        check_output_folder(output)
        from phonotune.cli.crystal import read_crystal
        from phonotune.data.document_files import summary_of
        from phonotune.jobs.conductivity import ConductivityMaker
        from phonotune.jobs.property import resumed_evaluator
        from phonotune.jobs.quasi_harmonic import QuasiHarmonicMaker
        from phonotune.physics.expansion.equation_of_state import EquationOfState
        from phonotune.physics.expansion.quasi_harmonic import QuasiHarmonicSettings
        from phonotune.physics.phonon.born import read_born
        from phonotune.physics.phonon.conductivity import ConductivitySettings
        from phonotune.physics.phonon.settings import PhononSettings
        from phonotune.report.files import write_conductivity, write_quasi_harmonic
        from phonotune.report.tables_thermal import conductivity_table, expansion_table

        if equation_of_state not in (known := get_args(EquationOfState)):
            raise unknown_name("equation of state", equation_of_state, known)
        crystal, record = read_crystal(structure, model, masses, out, head)
        charges = None if born is None else read_born(born, crystal)
        phonons = PhononSettings(supercell_matrix=matrix)
        centre = "relaxed" if relax else "given"
        step = (high - low) / (N_VOLUMES - 1)
        settings = QuasiHarmonicSettings(
            centre=centre,
            phonons=phonons,
            volumes=tuple(round((low + n * step) / 100, 6) for n in range(N_VOLUMES)),
            equation_of_state=cast(EquationOfState, equation_of_state),
            allow_imaginary=allow_imaginary,
        )
        expansion = QuasiHarmonicMaker(settings=settings, born=charges)
        transport = ConductivityMaker(settings=ConductivitySettings(phonons=phonons), born=charges)
        found = None
        with (
            out.progress("thermal properties") as progress,
            resumed_evaluator(record) as evaluator,
        ):
            if conductivity:
                found = transport.compute(crystal, evaluator, progress)
            document = expansion.compute(crystal, evaluator, progress)
            files = write_quasi_harmonic(document, output)
            files += [] if found is None else write_conductivity(found, output)
        content = {"quasi_harmonic": summary_of(document)}
        tables = [expansion_table(document)]
        if found is not None:
            content["conductivity"] = summary_of(found)
            tables.append(conductivity_table(found))
        out.finish(
            {"output": str(output), "files": files, **content},
            *map(render, tables),
            f"{output}: {', '.join(files)}",
        )
