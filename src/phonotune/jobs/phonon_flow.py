"""PhononFlowMaker: phonotune's phonons where atomate2 wants a BasePhononMaker."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jobflow import Flow, Maker, Response, job
from pymatgen.core import Structure
from pymatgen.phonon.bandstructure import PhononBandStructureSymmLine
from pymatgen.phonon.dos import CompletePhononDos, PhononDos

from phonotune.errors import InputError
from phonotune.jobs.base import Role, document_job, tag
from phonotune.jobs.phonon import PhononMaker
from phonotune.jobs.property import Model
from phonotune.physics.interchange import to_pymatgen
from phonotune.physics.phonon.cells import primitive_cell
from phonotune.physics.phonon.document import born_of
from phonotune.physics.phonon.files import PARAMS_FILE, full_force_constants, write_phonopy_files
from phonotune.physics.relax import RelaxSettings
from phonotune.physics.supercell import as_matrix, formula_units
from phonotune.schemas.phonon import BornCharges, PhononDocument
from phonotune.schemas.training import TrainingDocument

with warnings.catch_warnings():  # atomate2 0.1.5 imports phonopy's units in an old way
    warnings.simplefilter("ignore", DeprecationWarning)
    from atomate2.common.schemas.phonons import ForceConstants, PhononBSDOSDoc, PhononJobDirs

JOULES = 1000.0
"""J in one kJ: atomate2 has free and internal energies in J/mol."""


@dataclass
class PhononFlowMaker(Maker):
    """A :class:`~phonotune.jobs.phonon.PhononMaker` that others' flows take for atomate2's.

    It has ``make``, attributes and output document of atomate2's ``BasePhononMaker``, as far as its
    quasi-harmonic, Grüneisen and anharmonicity flows use them; supercell, mesh and thresholds are
    those of ``phonon``. What atomate2 lets users choose beyond that (k-path scheme, figures, thermal
    displacement matrices) is not there.

    Parameters
    ----------
    phonon
        Computes the phonons, with a labeller or with ``model``.
    model
        Tuned model, or name, file or directory of a model; None when ``phonon`` has a labeller. No
        output of a job of the same flow: string PhononMaker and :func:`to_atomate2` together there.
    with_energy
        Also compute the energy of the undeformed cell, which quasi-harmonic flows need.
    """

    name: str = "phonon"
    phonon: PhononMaker = field(default_factory=PhononMaker)
    model: Model | None = None
    with_energy: bool = True

    def make(
        self,
        structure: Structure,
        prev_dir: str | Path | None = None,
        born: Sequence[Any] | None = None,
        epsilon_static: Any | None = None,
        total_dft_energy_per_formula_unit: float | None = None,
        supercell_matrix: Any | None = None,
    ) -> Flow:
        """Return the flow; its output is atomate2's PhononBSDOSDoc.

        Parameters
        ----------
        structure
            The unit cell.
        prev_dir
            Not used: nothing is copied from a directory.
        born, epsilon_static
            Charges of every atom of ``structure``, e, and dielectric tensor, instead of those of
            ``phonon``.
        total_dft_energy_per_formula_unit
            eV; taken instead of computing it.
        supercell_matrix
            shape (3, 3), columns are vectors (phonopy's way), instead of that of ``phonon``.
        """
        phonons = tag(
            phonons_as_asked(
                self.phonon, structure, self.model, supercell_matrix, born, epsilon_static
            ),
            self.phonon.role,
            self.name,
        )
        energy = total_dft_energy_per_formula_unit
        jobs = [phonons]
        if energy is None and self.static_energy_maker is not None:
            crystal = phonons.output.unitcell  # relaxed, if the phonons' is
            role: Role = "gpu_eval" if self.phonon.labeller is None else "dft"
            static = tag(self.static_energy_maker.make(crystal), role, self.name)
            share = energy_per_formula_unit(static.output.output.energy, crystal)
            jobs += [static, tag(share, "light", self.name)]
            energy = share.output
        last = tag(to_atomate2(phonons.output, energy), "light", self.name)
        return Flow([*jobs, last], output=last.output, name=self.name)

    @property
    def phonon_displacement_maker(self) -> Maker:
        """atomate2 maker of one single point by the same evaluator."""
        if self.phonon.labeller is not None:
            return self.phonon.labeller.resolve().static
        from atomate2.forcefields.jobs import ForceFieldStaticMaker

        return ForceFieldStaticMaker(
            name=f"{self.name} static",
            force_field_name={
                "@module": "phonotune.models.calculator",
                "@callable": "load_calculator",
            },
            calculator_kwargs={
                "model": self.model.model
                if isinstance(self.model, TrainingDocument)
                else self.model
            },
        )

    @property
    def static_energy_maker(self) -> Maker | None:
        """The same maker, or None without ``with_energy``."""
        return self.phonon_displacement_maker if self.with_energy else None

    @property
    def bulk_relax_maker(self) -> RelaxSettings | None:
        """Not None if the model relaxes the crystal first; flows at fixed volumes then warn."""
        return self.phonon.relax

    @property
    def symprec(self) -> float:
        """Tolerance of the symmetry search, Å."""
        return self.phonon.settings.symprec

    @property
    def socket(self) -> bool:
        """False: a model's batch needs no sockets."""
        return False

    @property
    def prev_calc_dir_argname(self) -> None:
        """None: no maker here takes a directory."""
        return


@document_job(PhononDocument)
def phonons_as_asked(
    maker: PhononMaker,
    structure: Structure,
    model: Model | None,
    supercell_matrix: Any | None,
    born: Sequence[Any] | None,
    epsilon_static: Any | None,
) -> PhononDocument | Response[Any]:
    """Run a PhononMaker with supercell and charges that other jobs may have given.

    Raises
    ------
    InputError
        Charges without a dielectric tensor, or of another number of atoms.
    """
    settings = maker.settings
    if supercell_matrix is not None:
        matrix = as_matrix(np.rint(np.array(supercell_matrix, dtype=float)).T)
        settings = settings.model_copy(update={"supercell_matrix": matrix})
    charges = maker.born
    if born is not None or epsilon_static is not None:
        charges = born_of_cell(structure, born, epsilon_static, settings.symprec)
    chosen = replace(maker, settings=settings, born=charges)
    found: PhononDocument | Response[Any] = PhononMaker.make.original(  # type: ignore[attr-defined]
        chosen, structure, model
    )
    return found


def born_of_cell(
    structure: Structure, born: Sequence[Any] | None, epsilon_static: Any | None, symprec: float
) -> BornCharges:
    """Return the charges of the primitive cell's atoms out of those of all atoms of a cell.

    Parameters
    ----------
    structure
        The unit cell.
    born
        shape (n_atoms, 3, 3), e, one tensor per atom of ``structure``.
    epsilon_static
        shape (3, 3), high-frequency dielectric tensor.
    symprec
        Tolerance of the symmetry search, Å.

    Raises
    ------
    InputError
        One of the two is missing, or there is another number of charges than of atoms.
    """
    if born is None or epsilon_static is None or len(born) != len(structure):
        found = "no charges" if born is None else f"{len(born)} charges"
        raise InputError(
            f"Born charges need a dielectric tensor and one charge tensor an atom: {len(structure)} for "
            f"{structure.reduced_formula}, found {found} and "
            f"{'no' if epsilon_static is None else 'a'} tensor. Give both, or none."
        )
    primitive = primitive_cell(structure, symprec)
    places = structure.lattice.get_fractional_coords(primitive.cart_coords)
    nearest = structure.lattice.get_all_distances(places, structure.frac_coords).argmin(axis=1)
    return BornCharges(charges=np.array(born)[nearest], dielectric=np.array(epsilon_static))


@job
def energy_per_formula_unit(energy: float, structure: Structure) -> float:
    """Return the energy of a cell, eV, per formula unit."""
    return float(energy) / formula_units(structure)


@job(
    output_schema=PhononBSDOSDoc,
    data=[CompletePhononDos, PhononDos, PhononBandStructureSymmLine, ForceConstants],
)
def to_atomate2(
    document: PhononDocument,
    energy: float | None = None,
    filename_phonopy_yaml: str | None = None,
    **_figures: str,
) -> PhononBSDOSDoc:
    """Return phonons as atomate2's document; matrices are phonopy's, columns are vectors.

    Parameters
    ----------
    document
        The phonons.
    energy
        Energy of the undeformed cell, eV per formula unit.
    filename_phonopy_yaml
        phonopy's yaml with cells, displacements and forces is written there, in the job's folder:
        the Grüneisen flow looks for it.
    **_figures
        Names of further files that atomate2 would write; they are not.
    """
    if filename_phonopy_yaml is not None:
        written = Path("phonopy_files")
        write_phonopy_files(document, written)
        (written / PARAMS_FILE).replace(filename_phonopy_yaml)
    bands, dos = to_pymatgen(document)
    born, cell, arrays = born_of(document), document.unitcell, document.data.arrays()
    helmholtz = JOULES * arrays["helmholtz"]
    units = formula_units(cell)
    return PhononBSDOSDoc.from_structure(
        meta_structure=cell,
        structure=cell,
        phonon_bandstructure=bands,
        phonon_dos=dos,
        free_energies=helmholtz.tolist(),
        internal_energies=(helmholtz + arrays["temperatures"] * arrays["entropy"]).tolist(),
        entropies=arrays["entropy"].tolist(),
        heat_capacities=arrays["heat_capacity"].tolist(),
        temperatures=np.rint(arrays["temperatures"]).astype(int).tolist(),
        total_dft_energy=energy,
        volume_per_formula_unit=cell.volume / units,
        formula_units=units,
        has_imaginary_modes=not document.is_stable,
        force_constants=ForceConstants(full_force_constants(document).tolist()),
        born=None if born is None else born.charges,
        epsilon_static=None if born is None else born.dielectric,
        supercell_matrix=np.array(document.supercell_matrix, dtype=float).T.tolist(),
        primitive_matrix=np.array(document.primitive_matrix).T.tolist(),
        code=document.source.evaluator,
        jobdirs=PhononJobDirs(taskdoc_run_job_dir=str(Path.cwd())),
    )
