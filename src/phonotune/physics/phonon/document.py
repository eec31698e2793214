"""Conversion between a Phonopy object with force constants and a PhononDocument; other meshes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from phonopy import Phonopy
from pymatgen.core import Structure

from phonotune.errors import InputError
from phonotune.physics.phonon.cells import (
    build_phonopy,
    check_born,
    float_rows,
    nac_params,
    to_structure,
)
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.spectrum import (
    compute_spectrum,
    star_representatives,
    without_acoustic,
)
from phonotune.physics.supercell import as_matrix, formula_units
from phonotune.physics.thermal import thermal_curves
from phonotune.ports import FloatArray
from phonotune.schemas.base import Source, structure_hash
from phonotune.schemas.blob import Blob
from phonotune.schemas.phonon import (
    BandLabel,
    BornCharges,
    ImaginaryMode,
    PhononDocument,
    ThermalPoint,
)
from phonotune.schemas.sscha import SSCHADocument

_TEMPERATURE_STEP: Final[float] = 10.0


def analyse_force_constants(
    phonon: Phonopy,
    structure: Structure,
    settings: PhononSettings,
    source: Source,
    born: BornCharges | None = None,
    displaced: dict[str, Any] | None = None,
) -> PhononDocument:
    """Compute everything in a PhononDocument from a Phonopy object that holds force constants.

    Parameters
    ----------
    phonon
        With compact force constants; its NAC is set here.
    structure
        The cell given (``phonon.unitcell``).
    settings
        Mesh, thresholds, temperatures.
    source
        Whose force constants these are.
    born
        Born charges or None.
    displaced
        The ``displacement_*`` arrays from which the force constants were computed, if there are any.

    Raises
    ------
    InputError
        The Born charges belong to another crystal.
    """
    check_born(born, phonon.primitive, settings.symprec)
    phonon.nac_params = nac_params(born, len(phonon.primitive))
    spectrum = compute_spectrum(
        phonon, settings.mesh_density, settings.symprec, settings.mesh_tolerance
    )
    units = formula_units(to_structure(phonon.primitive))
    grid = np.arange(0.0, settings.max_temperature + 1e-6, _TEMPERATURE_STEP)
    thermal, point = _thermal(spectrum.arrays, grid, units)
    arrays = {
        "force_constants": phonon.force_constants,
        **spectrum.arrays,
        **thermal,
        "displacement_sites": np.zeros(0, dtype=np.int64),
        "displacement_vectors": np.zeros((0, 3)),
        "displacement_forces": np.zeros((0, len(phonon.supercell), 3)),
        **(displaced or {}),
    }
    if born is not None:
        arrays |= {"born": born.charges, "dielectric": born.dielectric, "nac_factor": born.factor}
    matrix = as_matrix(np.rint(phonon.supercell_matrix.T))

    # imaginary modes at the commensurate points, one q per star, softest first
    q, nu = spectrum.arrays["commensurate_q"], spectrum.arrays["commensurate_frequencies"]
    own = star_representatives(phonon, q) == np.arange(len(q))
    imaginary = [
        ImaginaryMode(
            q=(float(q[i, 0]), float(q[i, 1]), float(q[i, 2])),
            band=int(band),
            frequency=float(nu[i, band]),
        )
        for i, band in np.argwhere(without_acoustic(q, nu) < settings.imaginary_threshold)
        if own[i]
    ]
    return PhononDocument(
        formula=structure.reduced_formula,
        material_id=structure_hash(structure),
        source=source,
        settings=settings.model_copy(update={"supercell_matrix": matrix}).model_dump(mode="json"),
        unitcell=structure,
        supercell_matrix=matrix,
        primitive_matrix=float_rows(phonon.primitive_matrix.T),
        mesh=spectrum.mesh,
        mesh_error=spectrum.mesh_error,
        has_nac=born is not None,
        n_displacements=len(arrays.get("random_displacements", arrays["displacement_vectors"])),
        imaginary_threshold=settings.imaginary_threshold,
        lowest_frequency=spectrum.lowest,
        highest_frequency=spectrum.highest,
        imaginary_modes=sorted(imaginary, key=lambda mode: mode.frequency),
        formula_units=units,
        thermal_300=point,
        band_labels=[
            BandLabel(index=int(index), label=label)
            for ends, labels in zip(spectrum.path.segments, spectrum.path.labels, strict=True)
            for index, label in zip(ends, labels, strict=True)
        ],
        data=Blob.pack(**arrays),
    )


def _thermal(
    mesh: dict[str, FloatArray], grid: FloatArray, units: int
) -> tuple[dict[str, FloatArray], ThermalPoint]:
    """Return the thermal arrays and the point at 300 K."""
    nu, weights = mesh["mesh_frequencies"], mesh["mesh_weights"]
    curves = thermal_curves(nu, weights, grid, units)
    at_300 = thermal_curves(nu, weights, [300.0], units)
    point = ThermalPoint(
        temperature=300.0,
        helmholtz=float(at_300.helmholtz[0]),
        entropy=float(at_300.entropy[0]),
        heat_capacity=float(at_300.heat_capacity[0]),
    )
    arrays = {
        "temperatures": curves.temperatures,
        "helmholtz": curves.helmholtz,
        "entropy": curves.entropy,
        "heat_capacity": curves.heat_capacity,
    }
    return arrays, point


def phonopy_of(document: PhononDocument, symmetry: bool = True) -> Phonopy:
    """Rebuild a document's Phonopy object: cells, displacements, forces, NAC, force constants.

    Parameters
    ----------
    document
        The phonons.
    symmetry
        False skips phonopy's symmetry search, which is not needed for single q-points.
    """
    arrays = document.data.arrays()
    structure = document.unitcell
    symprec = float(document.settings["symprec"])
    phonon = build_phonopy(
        structure, document.supercell_matrix, document.primitive_matrix, symprec, symmetry
    )
    if "random_displacements" in arrays:
        phonon.dataset = {
            "displacements": arrays["random_displacements"],
            "forces": arrays["random_forces"],
        }
    elif len(arrays["displacement_sites"]):
        rows = zip(
            arrays["displacement_sites"],
            arrays["displacement_vectors"],
            arrays["displacement_forces"],
            strict=True,
        )
        phonon.dataset = {
            "natom": len(phonon.supercell),
            "first_atoms": [{"number": int(n), "displacement": d, "forces": f} for n, d, f in rows],
        }
    phonon.nac_params = nac_params(born_of(document), len(phonon.primitive))
    phonon.force_constants = arrays["force_constants"]
    return phonon


def born_of(document: PhononDocument | SSCHADocument) -> BornCharges | None:
    """Return the Born charges that a document was computed with, or None."""
    if not document.has_nac:
        return None
    arrays = document.data.arrays()
    known = {"factor": float(arrays["nac_factor"])} if "nac_factor" in arrays else {}
    return BornCharges(charges=arrays["born"], dielectric=arrays["dielectric"], **known)


def on_mesh(document: PhononDocument, mesh: tuple[int, int, int]) -> PhononDocument:
    """Return the same phonons on another mesh: frequencies, DOS, thermal curves, extremes.

    This makes two documents of one crystal comparable whose meshes were doubled differently. What other
    analyses added for the former mesh (arrays named ``mesh_*``, ``dos_*``, a spread) is left out. If the
    mesh is the same, the document itself is returned.

    Parameters
    ----------
    document
        The phonons; they are computed again from the force constants.
    mesh
        Even numbers, Γ-centred.

    Raises
    ------
    InputError
        The numbers are not even and positive.
    """
    if tuple(mesh) == document.mesh:
        return document
    if any(n < 2 or n % 2 for n in mesh):
        raise InputError(f"A mesh has three even numbers from 2 on; found {list(mesh)}.")
    symprec = float(document.settings["symprec"])
    spectrum = compute_spectrum(phonopy_of(document), 1.0, symprec, mesh=mesh)
    arrays = document.data.arrays()
    grid = arrays["temperatures"]
    thermal, point = _thermal(spectrum.arrays, grid, document.formula_units)
    kept = {k: v for k, v in arrays.items() if not k.startswith(("mesh_", "dos_"))}
    return document.model_copy(
        update={
            "mesh": spectrum.mesh,
            "mesh_error": spectrum.mesh_error,
            "lowest_frequency": spectrum.lowest,
            "highest_frequency": spectrum.highest,
            "thermal_300": point,
            "spread": None,
            "data": Blob.pack(**(kept | spectrum.arrays | thermal)),
        }
    )


def on_common_mesh(
    first: PhononDocument, second: PhononDocument
) -> tuple[PhononDocument, PhononDocument]:
    """Return both phonons on the denser of their meshes, direction by direction.

    Each document converges its own mesh. Frequencies on another mesh are computed from its force
    constants; nothing is interpolated.
    """
    pairs = zip(first.mesh, second.mesh, strict=True)
    a, b, c = (max(pair) for pair in pairs)
    return on_mesh(first, (a, b, c)), on_mesh(second, (a, b, c))


def primitive_of(document: PhononDocument) -> Structure:
    """Return the primitive cell of a document, its atoms in the order of the arrays."""
    symprec = float(document.settings["symprec"])
    cells = build_phonopy(
        document.unitcell, document.supercell_matrix, document.primitive_matrix, symprec, False
    )
    return to_structure(cells.primitive)
