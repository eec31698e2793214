"""``phonotune phonons``: finite-displacement phonons of a crystal by a model."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from phonotune.cli.console import session
from phonotune.cli.documents import PHONONS, summary_of, write_document
from phonotune.cli.options import (
    AsJson,
    Born,
    Debug,
    Model,
    OutputFolder,
    StructureFile,
    Supercell,
    check_output_folder,
    parse_supercell,
)
from phonotune.cli.tables import phonon_table

if TYPE_CHECKING:
    from phonotune.schemas.phonon import PhononDocument

THERMAL_COLUMNS = (
    "temperature_K",
    "helmholtz_kJ_per_mol",
    "entropy_J_per_K_per_mol",
    "heat_capacity_J_per_K_per_mol",
)


def phonons(
    structure: StructureFile,
    model: Model,
    output: OutputFolder,
    supercell: Supercell = None,
    born: Born = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compute harmonic phonons, density of states and thermal properties of a crystal.

    Finite displacements of 0.01 Å, reduced by symmetry; acoustic sum rule; imaginary frequencies
    are negative. Thermal properties are per mole of formula units. The unit cell stays as given, in
    its own orientation.

    Writes phonopy_params.yaml, force_constants.hdf5, phonons.json, bands.png, dos.png, thermal.csv.

    Example: phonotune phonons POSCAR --model nacl --supercell 2 2 2 -o nacl-phonons
    """
    with session(as_json=json, debug=debug) as out:
        matrix = parse_supercell(supercell)
        check_output_folder(output)
        from phonotune.cli.evaluating import compute_phonons, load_task
        from phonotune.physics.phonon import PhononSettings

        crystal, evaluator, source = load_task(structure, model)
        settings = PhononSettings(supercell_matrix=matrix)
        document = compute_phonons(crystal, evaluator, source, settings, out, born)
        files = write_phonons(document, output)
        out.finish(
            {"output": str(output), "files": files, "phonon": summary_of(document)},
            phonon_table(document),
            f"{output}: {', '.join(files)}",
        )


def write_phonons(document: PhononDocument, folder: Path) -> list[str]:
    """Write everything about the phonons into a folder; returns the names of the files."""
    from phonotune.physics.phonon_files import write_phonopy_files
    from phonotune.report.plots import plot_bands, plot_dos, save_png

    folder.mkdir(parents=True, exist_ok=True)
    write_phonopy_files(document, folder)
    write_document(document, folder / PHONONS)
    save_png(plot_bands([document]), folder / "bands.png")
    save_png(plot_dos([document]), folder / "dos.png")
    write_thermal(document, folder / "thermal.csv")
    return [
        "phonopy_params.yaml",
        "force_constants.hdf5",
        PHONONS,
        "bands.png",
        "dos.png",
        "thermal.csv",
    ]


def write_thermal(document: PhononDocument, path: Path) -> None:
    """Write temperature (K), F (kJ/mol), S and C_v (J/K/mol) per mole of formula units."""
    arrays = document.data.arrays()
    names = ("temperatures", "helmholtz", "entropy", "heat_capacity")
    rows = zip(*(arrays[name].tolist() for name in names), strict=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(THERMAL_COLUMNS)
        writer.writerows([f"{value:.10g}" for value in row] for row in rows)
