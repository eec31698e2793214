"""Phonons to and from emmet's PhononBSDOSDoc, what atomate2 and the Materials Project exchange."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import numpy as np
from emmet.core.phonon import PhononBS, PhononBSDOSDoc, PhononDOS, PhononMethod

from phonotune.errors import InputError
from phonotune.physics.interchange import to_pymatgen
from phonotune.physics.phonon.document import born_of
from phonotune.physics.phonon.files import document_of_constants, full_force_constants
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import as_matrix, formula_units
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges, PhononDocument


def to_emmet(document: PhononDocument, identifier: str | None = None) -> PhononBSDOSDoc:
    """Return a document as emmet's, with bands, DOS, force constants of every pair, Born charges.

    Matrices are phonopy's, columns are vectors. The structure is the cell given; the formula units are
    those of the primitive cell, which the DOS is of, so that emmet's thermal properties per formula
    unit are right.

    Parameters
    ----------
    document
        The phonons.
    identifier
        emmet's identifier, e.g. a Materials Project id.
    """
    bands, dos = to_pymatgen(document)
    born, cell = born_of(document), document.unitcell
    # emmet takes seconds to guess the convention of a path that is not told
    labels = [label for label, _ in groupby(entry.label for entry in document.band_labels)]
    path = {"path_convention": "hinuma", "kpath": labels}
    return PhononBSDOSDoc.from_structure(
        meta_structure=cell,
        structure=cell,
        identifier=identifier,
        phonon_method=PhononMethod.PHONOPY,
        phonon_bandstructure=PhononBS.from_pmg(bands.as_dict() | path),
        phonon_dos=PhononDOS.from_pmg(dos),
        force_constants=full_force_constants(document).tolist(),
        born=None if born is None else born.charges,
        epsilon_static=None if born is None else born.dielectric,
        supercell_matrix=np.array(document.supercell_matrix, dtype=float).T.tolist(),
        primitive_matrix=np.array(document.primitive_matrix).T.tolist(),
        formula_units=document.formula_units,
        volume_per_formula_unit=cell.volume / formula_units(cell),
        code=document.source.evaluator,
        last_updated=datetime.now(UTC),
    )


def from_emmet(content: Any, settings: PhononSettings, source: Source) -> PhononDocument:
    """Return the phonons behind emmet's or atomate2's document, from its force constants.

    Bands, DOS and thermal curves are computed anew, on the path and the mesh of phonotune.

    Parameters
    ----------
    content
        emmet's PhononBSDOSDoc or atomate2's class of that name.
    settings
        Mesh and thresholds; supercell and primitive cell are the document's.
    source
        Who computed the forces.

    Raises
    ------
    InputError
        No structure, matrices or force constants in it, or those of another supercell.
    """
    found = {name: getattr(content, name, None) for name in ("structure", "supercell_matrix")}
    constants = getattr(content, "force_constants", None)
    constants = getattr(constants, "force_constants", constants)
    found["force_constants"] = constants
    missing = [name for name, value in found.items() if value is None]
    if missing:
        raise InputError(
            f"The phonon document holds no {' and no '.join(missing)}; phonons are computed from "
            "all of them (atomate2 keeps force constants by store_force_constants=True)."
        )
    rows = getattr(content, "primitive_matrix", None)
    if rows is not None:
        settings = settings.model_copy(
            update={"primitive_matrix": tuple(map(tuple, np.array(rows, dtype=float).T.tolist()))}
        )
    charges, dielectric = getattr(content, "born", None), getattr(content, "epsilon_static", None)
    known = charges is not None and dielectric is not None
    return document_of_constants(
        found["structure"],
        as_matrix(np.array(found["supercell_matrix"]).T),
        np.array(constants, dtype=float),
        settings,
        source,
        BornCharges(charges=np.array(charges), dielectric=np.array(dielectric)) if known else None,
    )
