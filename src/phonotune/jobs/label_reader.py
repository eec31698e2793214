"""Read what a labeller answered: task documents of atomate2 (VASP, force field, ASE) become labels.

Jobs get these documents as objects or as dictionaries. :mod:`phonotune.jobs.task_documents` reads documents of
calculations that phonotune did not ask for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pymatgen.core import Structure

from phonotune.data.vasp import KILOBAR
from phonotune.data.vasp_settings import settings_of, settings_text
from phonotune.errors import LabelError
from phonotune.jobs.vasp.protocol import LabelProtocol
from phonotune.jobs.vasp.verification import (
    VaspRun,
    convergence_fault,
    differences,
    own_energies,
    title_differences,
)
from phonotune.ports import Evaluation, FloatArray
from phonotune.schemas.dataset import Frame, labelled

SITE_TOLERANCE = 1e-3
"""How far a labelled site may lie from the planned one, Å: else it is another structure."""


@dataclass(frozen=True)
class LabelReader:
    """Turns task documents into labelled frames; the one way from an answer of a labeller to a label.

    Attributes
    ----------
    labeller, protocol
        Names that every frame carries.
    vasp
        What VASP was to run; None for any other maker.
    max_force
        Largest force on an atom that is believed, eV/Å; None: any.
    """

    labeller: str
    protocol: str
    vasp: LabelProtocol | None = None
    max_force: float | None = None

    def read(self, asked: Frame, document: Any | None, usual: Mapping[str, str]) -> Frame:
        """Return a frame with its labels.

        Parameters
        ----------
        asked
            The structure; labels that it has are replaced.
        document
            Its task document; None if the job did not finish.
        usual
            POTCAR titles of most frames, by symbol.

        Raises
        ------
        LabelError
            The document is not a label; the message has the reason.
        """
        check_vasp_run(document, asked.structure, self.vasp, usual)
        answer = read_task_document(document, asked.structure, self.max_force)
        run = read_vasp_run(document)
        said = {} if run is None else settings_of(run.parameters, run.incar, run.titles)
        return replace(
            labelled(asked, answer),
            labeller=self.labeller,
            protocol=self.protocol,
            magmoms=read_moments(document, asked.structure),
            settings=settings_text(said),
        )


def read_task_document(
    document: Any | None, planned: Structure, max_force: float | None = None
) -> Evaluation:
    """Read energy, forces and stress from an atomate2 task document (VASP, force field, ASE).

    Parameters
    ----------
    document
        Task document (object or dict) whose ``output`` holds energy (eV), forces (eV/Å) and stress
        (kB, VASP's sign), or None if the job did not finish.
    planned
        The structure asked for; sites are matched to it, since input sets may sort them.
    max_force
        Largest force on an atom that is believed, eV/Å.

    Raises
    ------
    LabelError
        If the frame is missing, incomplete, not finite, of another structure or of too large forces.
    """
    if document is None:
        raise LabelError("the job failed or is missing")
    output = field_of(document, "output")
    energy, forces, stress = (field_of(output, key) for key in ("energy", "forces", "stress"))
    calculations = field_of(document, "calcs_reversed")
    steps = field_of(field_of(calculations[0], "output"), "ionic_steps") if calculations else None
    free = field_of(steps[-1], "e_fr_energy") if steps else None
    if free is not None:
        energy = float(free)  # VASP's free energy, whose derivative the forces are
    if energy is None or forces is None:
        raise LabelError("the task document holds no energy or no forces")
    order = match_sites(planned, structure_of(field_of(document, "structure")))
    force_array = np.asarray(forces, dtype=float)[order]
    if not (np.isfinite(energy) and np.isfinite(force_array).all()):
        raise LabelError("energy or forces are not finite")
    if stress is not None and not np.isfinite(np.asarray(stress, dtype=float)).all():
        raise LabelError("the stress is not finite")
    largest = float(np.linalg.norm(force_array, axis=1).max())
    if max_force is not None and largest > max_force:
        raise LabelError(f"a force of {largest:.1f} eV/Å is above the limit of {max_force:g} eV/Å")
    return Evaluation(
        energy=float(energy),
        forces=force_array,
        stress=None if stress is None else KILOBAR * np.asarray(stress, dtype=float),
    )


def read_band_gap(document: Any) -> float:
    """Return the band gap that a task document states, eV.

    Raises
    ------
    LabelError
        It states none.
    """
    gap = field_of(field_of(document, "output"), "bandgap")
    if gap is None:
        raise LabelError("the task document holds no band gap")
    return float(gap)


def read_response(document: Any, planned: Structure) -> tuple[FloatArray, FloatArray]:
    """Read Born charges and dielectric tensor from the task document of a linear response.

    Returns
    -------
    charges
        shape (n_atoms, 3, 3), e, in the order of ``planned``.
    dielectric
        shape (3, 3), ε∞ with local fields.

    Raises
    ------
    LabelError
        The document holds none, or is of another structure.
    """
    calculations = field_of(document, "calcs_reversed")
    output = field_of(calculations[0], "output") if calculations else None
    dielectric = field_of(output, "epsilon_static")
    charges = field_of(field_of(output, "outcar"), "born")
    if dielectric is None or charges is None or len(charges) != len(planned):
        raise LabelError("the task document holds no Born charges and dielectric tensor")
    order = match_sites(planned, structure_of(field_of(document, "structure")))
    return np.asarray(charges, dtype=float)[order], np.asarray(dielectric, dtype=float)


def read_moments(document: Any, planned: Structure) -> FloatArray | None:
    """Return magnetic moments, shape (n_atoms,), µB, in the order of ``planned``; None if unknown."""
    found = structure_of(field_of(document, "structure"))
    moments = found.site_properties.get("magmom") or [None]
    if not all(isinstance(moment, int | float) for moment in moments):
        return None
    ordered: FloatArray = np.asarray(moments, dtype=float)[match_sites(planned, found)]
    return ordered


def check_vasp_run(
    document: Any | None,
    planned: Structure,
    protocol: LabelProtocol | None,
    usual: Mapping[str, str],
    **changes: Any,
) -> None:
    """Refuse a task document whose VASP did not converge or ran something else than was asked.

    Parameters
    ----------
    document
        Task document; those of other codes pass where no protocol is given.
    planned
        The structure asked for.
    protocol
        What VASP was to run; None for any other maker, of which only convergence is checked.
    usual
        POTCAR titles of most frames, by symbol.
    **changes
        Changes of the protocol's INCAR that were asked for.

    Raises
    ------
    LabelError
        With every difference in words.
    """
    if document is None:
        raise LabelError("the job failed or is missing")
    run = read_vasp_run(document)
    if run is None:
        if protocol is not None:
            raise LabelError("the task document says nothing about a run of VASP")
        return
    fault = convergence_fault(run)
    if fault is not None:
        raise LabelError(fault)
    found = [] if protocol is None else differences(protocol, planned, run, **changes)
    found += title_differences(usual, run)
    if found:
        raise LabelError(f"VASP ran another protocol: {'; '.join(found)}")


def read_vasp_run(document: Any | None) -> VaspRun | None:
    """Return what the last run of VASP in a task document says about itself; None if there is none."""
    calculations = field_of(document, "calcs_reversed") if document is not None else None
    given = field_of(calculations[0], "input") if calculations else None
    if calculations is None or given is None:
        return None
    steps = field_of(field_of(calculations[0], "output"), "ionic_steps") or []
    electronic = (field_of(steps[-1], "electronic_steps") or []) if steps else []
    incar, parameters = (_mapping(field_of(given, name)) for name in ("incar", "parameters"))
    energies = own_energies(
        [field_of(step, "e_fr_energy") for step in electronic],
        field_of(steps[-1], "e_fr_energy") if steps else None,
        parameters,
    )
    kpoints = field_of(given, "kpoints")
    mesh = field_of(kpoints, "kpts") or field_of(kpoints, "kpoints") or []
    listed = len(mesh) != 1 or field_of(kpoints, "num_kpts") or field_of(kpoints, "nkpoints")
    style = field_of(kpoints, "style") or field_of(kpoints, "generation_style")
    return VaspRun(
        incar=incar,
        parameters=parameters,
        mesh=None if listed else (int(mesh[0][0]), int(mesh[0][1]), int(mesh[0][2])),
        centred=str(style).startswith("Gamma"),
        titles=tuple(str(field_of(p, "titel")) for p in field_of(given, "potcar_spec") or []),
        n_electronic=len(energies),
        energies=() if None in energies else tuple(float(e) for e in energies if e is not None),
        completed=not str(field_of(calculations[0], "has_vasp_completed"))
        .lower()
        .endswith(("failed", "false")),
    )


def _mapping(content: Any) -> dict[str, Any]:
    return dict(json.loads(content) if isinstance(content, str) else content or {})


def match_sites(planned: Structure, found: Structure) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return ``order`` such that ``found[order[i]]`` is site i of ``planned``.

    Raises
    ------
    LabelError
        If a site has no partner of its element within SITE_TOLERANCE, or the cells differ.
    """
    if len(planned) != len(found) or not np.allclose(
        planned.lattice.matrix, found.lattice.matrix, atol=SITE_TOLERANCE
    ):
        raise LabelError("the labelled structure has another cell or number of atoms")
    distances = planned.lattice.get_all_distances(planned.frac_coords, found.frac_coords)
    other = np.array(planned.atomic_numbers)[:, None] != np.array(found.atomic_numbers)[None, :]
    order = np.where(other, np.inf, distances).argmin(axis=1)
    nearest = np.where(other, np.inf, distances)[np.arange(len(planned)), order]
    if nearest.max() > SITE_TOLERANCE or len(set(order.tolist())) != len(planned):
        raise LabelError(
            f"the labelled structure moved by {nearest.max():.3g} Å from the planned one"
        )
    return np.asarray(order, dtype=np.int64)


def field_of(document: Any, key: str) -> Any:
    """Return what a document, an object or a dictionary, says under a key; None if nothing."""
    return document.get(key) if isinstance(document, dict) else getattr(document, key, None)


def structure_of(content: Any) -> Structure:
    """Return a structure that a document holds as an object or as a dictionary."""
    return Structure.from_dict(content) if isinstance(content, dict) else content
