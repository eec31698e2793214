"""Label structures with any atomate2 static maker; the only reader of foreign task documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
from jobflow import Job, Maker, OnMissing, Response, job
from pymatgen.core import Structure

from phonotune.data.vasp import KILOBAR
from phonotune.data.vasp_settings import settings_of, settings_text
from phonotune.errors import LabelError
from phonotune.jobs.base import document_job, replace_by, role_job, tag
from phonotune.jobs.labellers import Labeller, find_labeller, vasp_labeller
from phonotune.jobs.vasp.protocol import LabelProtocol, VaspMonitoring
from phonotune.jobs.vasp.verification import (
    VaspRun,
    convergence_fault,
    differences,
    title_differences,
    usual_titles,
)
from phonotune.ports import Evaluation, FloatArray
from phonotune.schemas.content import content_hash
from phonotune.schemas.dataset import (
    Candidate,
    Frame,
    LabelledSet,
    RejectedFrame,
    StructureSet,
    labelled,
    pack_frame_blobs,
)
from phonotune.schemas.masses import isotope_masses, with_masses, with_natural_masses

SITE_TOLERANCE = 1e-3
"""How far a labelled site may lie from the planned one, Å: else it is another structure."""


@dataclass
class LabelMaker(Maker):
    """Label structures, one job per frame; a frame that fails does not stop the flow.

    Parameters
    ----------
    name
        Stage name.
    labeller
        Name of the labeller (:func:`phonotune.jobs.labellers.find_labeller`).
    static_maker
        atomate2 static maker to use instead of the labeller's own; ``labeller`` then is only its name.
    minimum
        Fewest labelled frames, as a share of those asked for, with which the flow goes on.
    max_force
        Largest force on an atom with which a frame is a label, eV/Å; None: any. Properties take any.
    vasp
        Protocol of the labeller ``vasp``: what VASP ran is compared with it.
    monitoring
        How VASP is watched; no label depends on it.
    """

    uncounted_fields: ClassVar[tuple[str, ...]] = ("vasp", "monitoring")

    name: str = "label"
    labeller: str = "vasp"
    static_maker: Maker | None = None
    minimum: float = 0.5
    max_force: float | None = 30.0
    vasp: LabelProtocol = field(default_factory=LabelProtocol)
    monitoring: VaspMonitoring = field(default_factory=VaspMonitoring)

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        """Decode a stored Maker; early ones wrote ``custody`` for ``monitoring``."""
        content = {"monitoring" if key == "custody" else key: value for key, value in d.items()}
        decoded: Self = super().from_dict(content)
        return decoded

    @role_job("light", LabelledSet)
    def make(self, structures: StructureSet) -> Response[LabelledSet]:
        """Label a StructureSet.

        Parameters
        ----------
        structures
            What to label; groups and reasons travel with the frames.
        """
        candidates = structures.candidates()
        statics = self.static_jobs([c.structure for c in candidates])
        return replace_by(statics, self.collect_job(statics, candidates))

    def static_jobs(self, structures: Sequence[Structure]) -> list[Job]:
        """Return one static job per structure, in order."""
        maker = self.resolve().static
        jobs = []
        for index, structure in enumerate(structures):
            made = maker.make(with_natural_masses(structure))
            made.append_name(f" {index + 1}/{len(structures)}")
            jobs.append(tag(made, "dft", self.name))
        return jobs

    def collect_job(self, statics: Sequence[Job], candidates: Sequence[Candidate]) -> Job:
        """Return the job that gathers the labels of :meth:`static_jobs`; missing ones become None."""
        packed = StructureSet.from_candidates(
            candidates, recipe=f"to be labelled by {self.labeller}"
        )
        made = collect_labels(self, packed, [static.output for static in statics])
        made.update_config({"on_missing_references": OnMissing.NONE})
        return tag(made, "light", self.name)

    def resolve(self) -> Labeller:
        """Return the labeller with the static maker that will run."""
        if self.static_maker is not None:
            return Labeller(name=self.labeller, static=self.static_maker, relax=None)
        if self.labeller == "vasp":
            return vasp_labeller(self.vasp, self.monitoring)
        return find_labeller(self.labeller)

    def protocol(self) -> str:
        """Return the hash of the label protocol, or else of every setting of the static maker."""
        labeller = self.resolve()
        if labeller.protocol is not None:
            return labeller.protocol.hash[:16]
        return content_hash(labeller.static)[:16]

    def content_note(self) -> str | None:
        """Return the hash of the label protocol of VASP, which counts even where it is the default."""
        uses_vasp = self.labeller == "vasp" and self.static_maker is None
        return self.vasp.hash if uses_vasp else None

    def reader(self) -> LabelReader:
        """Return what turns the task documents of :meth:`static_jobs` into frames."""
        return LabelReader(
            self.labeller, self.protocol(), self.resolve().protocol, max_force=self.max_force
        )


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


@document_job(LabelledSet)
def collect_labels(
    maker: LabelMaker, structures: StructureSet, outputs: list[Any | None]
) -> LabelledSet:
    """Gather task documents into a LabelledSet.

    Raises
    ------
    LabelError
        If fewer frames than ``maker.minimum`` came back; the message lists every reason.
    """
    frames, rejected = [], []
    reader = maker.reader()
    usual = usual_titles(run for run in map(read_vasp_run, outputs) if run is not None)
    for index, (candidate, output) in enumerate(zip(structures.candidates(), outputs, strict=True)):
        try:
            frames.append(reader.read(candidate.frame(), output, usual))
        except LabelError as error:
            rejected.append(RejectedFrame(index=index, reason=str(error)))
    if len(frames) < max(1.0, maker.minimum * len(outputs)):
        reasons = "; ".join(f"frame {r.index}: {r.reason}" for r in rejected)
        raise LabelError(
            f"Only {len(frames)} of {len(outputs)} frames were labelled by {maker.labeller}, "
            f"{maker.minimum:.0%} are needed. {reasons}. Fix the failed jobs and run again: "
            "finished frames are kept."
        )
    first, *more = pack_frame_blobs(frames)
    return LabelledSet(
        labeller=maker.labeller,
        protocol=reader.protocol,
        requested=len(outputs),
        rejected=rejected,
        data=first,
        more=tuple(more),
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
    output = _get(document, "output")
    energy, forces, stress = (_get(output, key) for key in ("energy", "forces", "stress"))
    calculations = _get(document, "calcs_reversed")
    steps = _get(_get(calculations[0], "output"), "ionic_steps") if calculations else None
    free = _get(steps[-1], "e_fr_energy") if steps else None
    if free is not None:
        energy = float(free)  # VASP's free energy, whose derivative the forces are
    if energy is None or forces is None:
        raise LabelError("the task document holds no energy or no forces")
    order = match_sites(planned, _as_structure(_get(document, "structure")))
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


def read_moments(document: Any, planned: Structure) -> FloatArray | None:
    """Return magnetic moments, shape (n_atoms,), µB, in the order of ``planned``; None if unknown."""
    found = _as_structure(_get(document, "structure"))
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
) -> None:
    """Refuse a task document whose VASP did not converge or ran something else than was asked.

    Parameters
    ----------
    document
        Task document; None and documents of other codes pass where no protocol is given.
    planned
        The structure asked for.
    protocol
        What VASP was to run; None for any other maker, of which only convergence is checked.
    usual
        POTCAR titles of most frames, by symbol.

    Raises
    ------
    LabelError
        With every difference in words.
    """
    run = read_vasp_run(document)
    if run is None:
        if document is not None and protocol is not None:
            raise LabelError("the task document says nothing about a run of VASP")
        return
    fault = convergence_fault(run)
    if fault is not None:
        raise LabelError(fault)
    found = [] if protocol is None else differences(protocol, planned, run)
    found += title_differences(usual, run)
    if found:
        raise LabelError(f"VASP ran another protocol: {'; '.join(found)}")


def read_vasp_run(document: Any | None) -> VaspRun | None:
    """Return what the last run of VASP in a task document says about itself; None if there is none."""
    calculations = _get(document, "calcs_reversed") if document is not None else None
    given = _get(calculations[0], "input") if calculations else None
    if calculations is None or given is None:
        return None
    steps = _get(_get(calculations[0], "output"), "ionic_steps") or []
    electronic = (_get(steps[-1], "electronic_steps") or []) if steps else []
    energies = [_get(step, "e_fr_energy") for step in electronic]
    kpoints = _get(given, "kpoints")
    mesh = _get(kpoints, "kpts") or _get(kpoints, "kpoints") or []
    listed = len(mesh) != 1 or _get(kpoints, "num_kpts") or _get(kpoints, "nkpoints")
    style = _get(kpoints, "style") or _get(kpoints, "generation_style")
    return VaspRun(
        incar=_mapping(_get(given, "incar")),
        parameters=_mapping(_get(given, "parameters")),
        mesh=None if listed else (int(mesh[0][0]), int(mesh[0][1]), int(mesh[0][2])),
        centred=str(style).startswith("Gamma"),
        titles=tuple(str(_get(p, "titel")) for p in _get(given, "potcar_spec") or []),
        n_electronic=len(electronic),
        energies=() if None in energies else tuple(map(float, energies)),
        completed=not str(_get(calculations[0], "has_vasp_completed"))
        .lower()
        .endswith(("failed", "false")),
    )


def _mapping(content: Any) -> dict[str, Any]:
    return dict(json.loads(content) if isinstance(content, str) else content or {})


@job
def relaxed_structure(document: Any, labeller: str) -> Structure:
    """Return the crystal that a relaxation of the labeller ended with.

    Raises
    ------
    LabelError
        If it did not converge: every property would sit on a crystal that is not at rest.
    """
    state = str(_get(document, "state"))
    if _get(document, "is_force_converged") is False or state.lower().endswith("failed"):
        raise LabelError(
            f"The relaxation of the crystal by {labeller} did not converge. Give a structure nearer "
            "to its minimum, or one that you have relaxed, with relax_first=False."
        )
    return _as_structure(_get(document, "structure"))


@job
def isotopes_of(crystal: Structure, start: Structure) -> Structure:
    """Return a relaxed crystal with the masses of the one that it was relaxed from.

    Raises
    ------
    LabelError
        Its sites cannot be told: they are others, or the relaxation moved them too far.
    """
    apart = crystal.lattice.get_all_distances(start.frac_coords, crystal.frac_coords)
    other = np.array(start.atomic_numbers)[:, None] != np.array(crystal.atomic_numbers)[None, :]
    sites = np.where(other, np.inf, apart).argmin(axis=0)
    if len(start) != len(crystal) or len(set(sites.tolist())) != len(start):
        raise LabelError(
            f"The masses of {start.formula} cannot be given to the relaxed crystal, since its sites cannot be "
            "told. Give a crystal that is relaxed, with relax_first=False."
        )
    masses = isotope_masses(start)
    return with_masses(crystal, [masses[site] for site in sites])


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


def _get(document: Any, key: str) -> Any:
    return document.get(key) if isinstance(document, dict) else getattr(document, key, None)


def _as_structure(content: Any) -> Structure:
    return Structure.from_dict(content) if isinstance(content, dict) else content
