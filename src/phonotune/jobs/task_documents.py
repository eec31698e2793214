"""Ionic steps of others' task documents: VASP, CP2K, force fields and ASE, in eV and Å.

:mod:`phonotune.jobs.label_reader` reads the answer to a structure that phonotune asked for; here nothing was
asked for, and every ionic step of a static run, a relaxation or a dynamics counts. Five traps:

* VASP keeps three energies; forces and stress are derivatives of the free one, without P V of PSTRESS.
* VASP's electronic steps of a linear response stand behind those of the ionic step.
* atomate2's ``MDMaker`` of force fields stores the stress with the ideal-gas term of the moving atoms; it
  is taken out where the velocities are stored too, and else the stress is not a label.
* pymatgen converts CP2K's energies to eV, but leaves forces in Hartree/Bohr.
* CP2K's stress is in GPa or in bar, by version and print key, and the document does not say which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from ase.data import atomic_masses
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import Bohr, GPa, Hartree
from pymatgen.core import Structure
from pymatgen.io.cp2k.inputs import Cp2kInput

from phonotune.data.vasp import KILOBAR, ML_STEPS, PERHAPS_P_V, without_p_v
from phonotune.data.vasp_settings import plain, protocol_of, settings_of, settings_text
from phonotune.errors import LabelError
from phonotune.jobs.label_reader import field_of, read_vasp_run, structure_of
from phonotune.jobs.vasp.verification import convergence_fault, own_energies
from phonotune.ports import FloatArray
from phonotune.schemas.base import hash_json

CP2K_STRESS: Final[Mapping[str, float]] = {"GPa": -GPa, "bar": -1e-4 * GPa}
"""eV/Å^3, ASE's sign, of one unit of the stress that CP2K prints (positive under compression)."""

_USED: Final = ("LEPSILON", "LCALCEPS", "IBRION", "PSTRESS", "ML_LMLFF", "ISIF")

StressUnit = Literal["GPa", "bar"]
"""Units in which CP2K prints stresses."""


@dataclass(frozen=True, eq=False)
class TaskStep:
    """One ionic step of a task document.

    Attributes
    ----------
    structure
        Cell and positions.
    energy
        Energy that the forces derive from, eV.
    forces
        shape (n_atoms, 3), eV/Å.
    stress
        shape (3, 3), eV/Å^3, ASE's sign; None where there is none, or none that is a label.
    fault
        Why the step is no label; None if it is one.
    labeller, protocol, settings
        As in :class:`~phonotune.schemas.dataset.Frame`.
    """

    structure: Structure
    energy: float
    forces: FloatArray
    stress: FloatArray | None
    fault: str | None = None
    labeller: str = ""
    protocol: str = ""
    settings: str = ""


def read_task(document: Any | None, cp2k_stress: StressUnit | None = None) -> list[TaskStep]:
    """Return the ionic steps of a task document, in the order of time.

    Parameters
    ----------
    document
        Task document of atomate2's VASP, CP2K, force-field or ASE makers, object or dict.
    cp2k_stress
        Unit of CP2K's stress; None leaves it out.

    Raises
    ------
    LabelError
        The job failed, the document is of another kind, or it holds no ionic step.
    """
    if document is None:
        raise LabelError("the job failed or is missing")
    calculations = field_of(document, "calcs_reversed")
    if calculations and field_of(field_of(calculations[0], "input"), "incar") is not None:
        steps = [s for one in reversed(calculations) for s in _vasp_steps(document, one)]
    elif calculations and field_of(field_of(calculations[0], "input"), "cp2k_input") is not None:
        steps = [s for one in reversed(calculations) for s in _cp2k_steps(one, cp2k_stress)]
    elif field_of(document, "ase_calculator_name") or field_of(document, "forcefield_name"):
        steps = list(_ase_steps(document))
    else:
        raise LabelError(
            f"{type(document).__name__} is not a task document of VASP, CP2K, a force field or ASE"
        )
    if not steps:
        raise LabelError("the task document holds no ionic steps with energy and forces")
    return steps


def _vasp_steps(document: Any, calculation: Any) -> Iterator[TaskStep]:
    """Read one run of VASP; a relaxation that was cut short still has good steps."""
    run = read_vasp_run({"calcs_reversed": [calculation]})
    assert run is not None
    said = settings_of(run.parameters, run.incar, run.titles)
    used = {
        key: plain(value) for key, value in {**run.incar, **run.parameters}.items() if key in _USED
    }
    output = field_of(calculation, "output")
    for step in field_of(output, "ionic_steps") or _stored_steps(
        field_of(document, "vasp_objects")
    ):
        energy, forces, stress = (field_of(step, k) for k in ("e_fr_energy", "forces", "stress"))
        if energy is None or forces is None:
            continue
        structure = structure_of(field_of(step, "structure"))
        electronic = field_of(step, "electronic_steps") or []
        energies = own_energies([field_of(e, "e_fr_energy") for e in electronic], energy, used)
        taken = len(energies) or int(field_of(step, "num_electronic_steps") or 0)
        known = () if None in energies else tuple(float(e) for e in energies if e is not None)
        fault = convergence_fault(
            replace(run, n_electronic=taken, energies=known, completed=run.completed or taken > 0)
        )
        free: float | None = float(energy)
        if pressure := used.get("PSTRESS"):
            free = without_p_v(
                float(energy), known[-1] if known else None, float(pressure), structure.volume
            )
            fault = fault or (PERHAPS_P_V if free is None else None)
        if used.get("ML_LMLFF") and taken == 0:
            fault = ML_STEPS
        full = stress is not None and used.get("ISIF") not in (0.0, 1.0)
        yield TaskStep(
            structure=structure,
            energy=float(energy) if free is None else free,
            forces=np.asarray(forces, dtype=float),
            stress=_symmetric(KILOBAR * np.asarray(stress)) if full else None,
            fault=fault,
            labeller="vasp",
            protocol=protocol_of(said),
            settings=settings_text(said),
        )


def _cp2k_steps(calculation: Any, stress_unit: StressUnit | None) -> Iterator[TaskStep]:
    """Read one run of CP2K: energies in eV, forces in Hartree/Bohr."""
    completed = str(field_of(calculation, "has_cp2k_completed")).lower().endswith("successful")
    fault = None if completed else "the run of CP2K is not complete"
    protocol = hash_json(_cp2k_setup(calculation))[:16]
    for step in field_of(field_of(calculation, "output"), "ionic_steps") or []:
        energy, forces, stress = (field_of(step, k) for k in ("E", "forces", "stress_tensor"))
        if energy is None or forces is None:
            continue
        labelled = stress is not None and stress_unit is not None
        yield TaskStep(
            structure=structure_of(field_of(step, "structure")),
            energy=float(energy),
            forces=np.asarray(forces, dtype=float) * (Hartree / Bohr),
            stress=_symmetric(CP2K_STRESS[str(stress_unit)] * np.array(stress))
            if labelled
            else None,
            fault=fault,
            labeller="cp2k",
            protocol=protocol,
        )


def _cp2k_setup(calculation: Any) -> dict[str, Any]:
    """Return what the labels of CP2K depend on, as far as the document says."""
    given = field_of(calculation, "input")
    kinds = field_of(given, "atomic_kind_info") or {}
    names = ("element", "orbital_basis_set", "auxiliary_basis_set", "pseudo_potential")
    content = field_of(given, "cp2k_input")
    read = Cp2kInput.from_dict(content) if isinstance(content, dict) else content
    dft = read["FORCE_EVAL"]["DFT"].subsections
    smearing = dft["SCF"].subsections.get("SMEAR") if "SCF" in dft else None
    return {
        "run_type": str(field_of(calculation, "run_type")),
        "kinds": {kind: [str(about.get(name)) for name in names] for kind, about in kinds.items()},
        "spins": str((field_of(given, "dft") or {}).get("UKS", False)),
        "smearing": "" if smearing is None else smearing.get_str(),
        **{name: dft[name].get_str() for name in ("QS", "MGRID", "XC") if name in dft},
    }


def _ase_steps(document: Any) -> Iterator[TaskStep]:
    """Read a document of ASE: its trajectory, or else its ionic steps, or else its final answer."""
    name = field_of(document, "forcefield_name") or field_of(document, "ase_calculator_name")
    version = field_of(document, "forcefield_version")
    who = {
        "labeller": str(name),
        "protocol": hash_json([str(name), str(version)])[:16],
    }
    output = field_of(document, "output")
    moving = field_of(document, "state") is None  # atomate2's dynamics converge to nothing
    stored = list(_stored_steps(field_of(document, "objects")))
    steps = stored or field_of(output, "ionic_steps") or [output]
    for step in steps if isinstance(steps, list) else []:
        energy, forces = field_of(step, "energy"), field_of(step, "forces")
        structure = field_of(step, "structure") or field_of(step, "mol_or_struct")
        if energy is None or forces is None or structure is None:
            continue
        crystal = structure_of(structure)
        yield TaskStep(
            structure=crystal,
            energy=float(energy),
            forces=np.asarray(forces, dtype=float),
            stress=_ase_stress(step, crystal, moving),
            **who,
        )


def _ase_stress(step: Any, structure: Structure, moving: bool) -> FloatArray | None:
    """Return the stress of the potential alone, eV/Å^3; None if it cannot be told from the motion's."""
    stress, velocities = field_of(step, "stress"), field_of(step, "velocities")
    if stress is None or (moving and velocities is None):
        return None
    array = np.asarray(stress, dtype=float)
    tensor = voigt_6_to_full_3x3_stress(array) if array.shape == (6,) else KILOBAR * array
    if velocities is None:
        return _symmetric(tensor)
    masses = atomic_masses[list(structure.atomic_numbers)]
    speeds = np.asarray(velocities, dtype=float)
    return _symmetric(tensor + np.einsum("i,ia,ib->ab", masses, speeds, speeds) / structure.volume)


def _stored_steps(objects: Any) -> Iterator[dict[str, Any]]:
    """Return the steps of a trajectory among the stored objects, as dicts with their structures."""
    named = {str(key).split(".")[-1].lower(): value for key, value in (objects or {}).items()}
    trajectory = named.get("trajectory")
    if trajectory is None:
        return
    if not hasattr(trajectory, "frame_properties"):  # emmet's own class of a trajectory
        trajectory = trajectory.to_pmg()
    properties = trajectory.frame_properties or [{}] * len(trajectory)
    for structure, known in zip(trajectory, properties, strict=True):
        yield {"structure": structure, **known}


def _symmetric(stress: FloatArray) -> FloatArray:
    return np.asarray((stress + stress.T) / 2.0, dtype=float)
