"""What a command writes into a folder: the Document, its figures, and files for other programs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pymatgen.io.vasp import Poscar

from phonotune.data.document_files import write_property
from phonotune.physics.phonon.born import BORN_FILE, write_born
from phonotune.physics.phonon.files import FORCE_CONSTANTS_FILE, PARAMS_FILE, write_phonopy_files
from phonotune.physics.phonon.sscha import phonons_at
from phonotune.ports import FloatArray
from phonotune.report.plots import plot_bands, plot_dos, plot_well, save_png
from phonotune.report.plots_thermal import plot_quasi_harmonic, plot_temperatures
from phonotune.report.plots_transitions import plot_pathways, plot_phase_tree
from phonotune.report.tables import VOIGT
from phonotune.schemas.born import BornDocument
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.sscha import SSCHADocument
from phonotune.schemas.thermal import ConductivityDocument, QuasiHarmonicDocument
from phonotune.schemas.transition import TransitionDocument
from phonotune.schemas.wells import WellDocument

_HARMONIC: Final = {
    "temperature_K": "temperatures",
    "helmholtz_kJ_per_mol": "helmholtz",
    "entropy_J_per_K_per_mol": "entropy",
    "heat_capacity_J_per_K_per_mol": "heat_capacity",
}
_TEMPERATURES: Final = {
    "temperature_K": "temperature",
    "free_energy_meV_per_atom": "free_energy",
    "free_energy_error_meV_per_atom": "free_energy_error",
    "harmonic_free_energy_meV_per_atom": "harmonic_free_energy",
    "anharmonic_free_energy_meV_per_atom": "anharmonic_free_energy",
    "lowest_frequency_THz": "lowest_frequency",
    "highest_frequency_THz": "highest_frequency",
    "free_energy_change_meV_per_atom": "free_energy_change",
    "frequency_change_THz": "frequency_change",
    "is_stable": "is_stable",
    "is_converged": "is_converged",
    "displaced_supercells": "n_structures",
    "evaluations": "n_evaluations",
}
_EXPANSION: Final = {
    "temperature_K": "temperatures",
    "volume_A3_per_formula_unit": "equilibrium_volumes",
    "length_scale": "length_scales",
    "volume_expansion_per_K": "thermal_expansions",
    "bulk_modulus_GPa": "bulk_moduli",
    "gibbs_kJ_per_mol": "gibbs",
    "entropy_J_per_K_per_mol": "entropies",
    "heat_capacity_v_J_per_K_per_mol": "heat_capacities",
    "heat_capacity_p_J_per_K_per_mol": "heat_capacities_pressure",
    "gruneisen": "gruneisen",
}


def write_phonons(document: PhononDocument, folder: Path, projected: bool = False) -> list[str]:
    """Write phonons into a folder: for phonopy, as JSON, as figures, and their thermal properties.

    Parameters
    ----------
    document
        The phonons.
    folder
        Made if it is missing.
    projected
        Split the density of states by element.

    Returns
    -------
    list of str
        Names of the files, as of every function here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_phonopy_files(document, folder)
    name = write_property(document, folder)
    save_png(plot_bands([document]), folder / "bands.png")
    save_png(plot_dos([document], projected=projected), folder / "dos.png")
    _write_curves(folder / "thermal.csv", _HARMONIC, document.data.arrays())
    return [PARAMS_FILE, FORCE_CONSTANTS_FILE, name, "bands.png", "dos.png", "thermal.csv"]


def write_born_charges(document: BornDocument, folder: Path) -> list[str]:
    """Write Born charges into a folder, as JSON and, of an insulator, as phonopy's BORN."""
    folder.mkdir(parents=True, exist_ok=True)
    name = write_property(document, folder)
    if document.born is None:
        return [name]
    write_born(folder / BORN_FILE, document.primitive, document.born)
    return [name, BORN_FILE]


def write_sscha(document: SSCHADocument, folder: Path) -> list[str]:
    """Write phonons at temperatures into a folder: numbers, bands, and force constants for phonopy."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [write_property(document, folder), "sscha.csv", "bands.png"]
    rows = [[getattr(point, name) for name in _TEMPERATURES.values()] for point in document.points]
    _write_csv(
        folder / "sscha.csv",
        list(_TEMPERATURES),
        [[float("nan") if value is None else float(value) for value in row] for row in rows],
    )
    save_png(plot_temperatures(document), folder / "bands.png")
    for index, point in enumerate(document.points):
        name = f"{point.temperature:g}K"
        write_phonopy_files(phonons_at(document, index), folder / name)
        files.append(f"{name}/")
    return files


def write_elastic(document: ElasticDocument, folder: Path) -> list[str]:
    """Write elastic constants into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [write_property(document, folder)]


def write_well(document: WellDocument, folder: Path) -> list[str]:
    """Write the potential along a mode into a folder, with its figure."""
    folder.mkdir(parents=True, exist_ok=True)
    name = write_property(document, folder)
    save_png(plot_well([document]), folder / "well.png")
    return [name, "well.png"]


def write_quasi_harmonic(document: QuasiHarmonicDocument, folder: Path) -> list[str]:
    """Write quasi-harmonic properties into a folder, with their curves as table and figure."""
    folder.mkdir(parents=True, exist_ok=True)
    name = write_property(document, folder)
    _write_curves(folder / "thermal_expansion.csv", _EXPANSION, document.data.arrays())
    save_png(plot_quasi_harmonic([document]), folder / "quasi_harmonic.png")
    return [name, "thermal_expansion.csv", "quasi_harmonic.png"]


def write_conductivity(document: ConductivityDocument, folder: Path) -> list[str]:
    """Write the lattice thermal conductivity into a folder, with its curves as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    name = write_property(document, folder)
    arrays = document.data.arrays()
    columns = ["temperature_K", *(f"conductivity_{axes}_W_per_m_per_K" for axes in VOIGT)]
    values = (arrays["temperatures"].tolist(), *arrays["conductivity"].T.tolist())
    _write_csv(folder / "conductivity.csv", columns, zip(*values, strict=True))
    return [name, "conductivity.csv"]


def write_tree(document: TransitionDocument, folder: Path) -> list[str]:
    """Write a tree of phases into a folder, with its figures and a POSCAR of each phase."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [write_property(document, folder), "tree.png"]
    save_png(plot_phase_tree(document), folder / "tree.png")
    if len(document.data.arrays()["path_branches"]):
        save_png(plot_pathways(document), folder / "pathways.png")
        files.append("pathways.png")
    for node, cell in zip(document.nodes, document.structures(), strict=True):
        comment = f"{document.formula} {node.space_group} {node.energy:.3f} meV/f.u."
        poscar = Poscar(cell, comment=comment, sort_structure=True)
        name = f"phase_{node.id:02d}.vasp"
        (folder / name).write_text(poscar.get_str(significant_figures=12), encoding="utf-8")
        files.append(name)
    return files


def _write_curves(path: Path, columns: Mapping[str, str], arrays: Mapping[str, FloatArray]) -> None:
    """Write arrays as columns; ``columns`` gives the array of each heading."""
    values = [arrays[name].tolist() for name in columns.values()]
    _write_csv(path, list(columns), zip(*values, strict=True))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([f"{value:.10g}" for value in row] for row in rows)
