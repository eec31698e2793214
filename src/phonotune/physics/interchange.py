"""Phonons as pymatgen's classes: bands along the path, and the density of states by site."""

from __future__ import annotations

from pymatgen.phonon.bandstructure import PhononBandStructureSymmLine
from pymatgen.phonon.dos import CompletePhononDos, PhononDos

from phonotune.physics.phonon.document import primitive_of
from phonotune.schemas.phonon import PhononDocument


def to_pymatgen(
    document: PhononDocument,
) -> tuple[PhononBandStructureSymmLine, CompletePhononDos]:
    """Return bands (THz, imaginary ones negative) and DOS of the primitive cell.

    Points keep the document's path, order and orientation; with Born charges the bands at Γ are those
    of each segment's direction. The densities are states/THz per primitive cell.
    """
    arrays = document.data.arrays()
    primitive = primitive_of(document)
    bands = PhononBandStructureSymmLine(
        qpoints=arrays["band_q"],
        frequencies=arrays["band_frequencies"].T,
        lattice=primitive.lattice.reciprocal_lattice,
        has_nac=document.has_nac,
        labels_dict={entry.label: arrays["band_q"][entry.index] for entry in document.band_labels},
        structure=primitive,
    )
    total = PhononDos(arrays["dos_frequencies"], arrays["dos_total"])
    sites = dict(zip(primitive, arrays["dos_projected"], strict=True))
    return bands, CompletePhononDos(primitive, total, sites)
