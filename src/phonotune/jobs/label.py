"""Label structures with any atomate2 static maker, one job per frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from jobflow import Job, Maker, OnMissing, Response, job
from pymatgen.core import Structure

from phonotune.errors import LabelError
from phonotune.jobs.base import document_job, replace_by, role_job, tag
from phonotune.jobs.label_reader import LabelReader, field_of, read_vasp_run, structure_of
from phonotune.jobs.labellers import (
    Labeller,
    find_labeller,
    potential_labeller,
    potential_record,
    vasp_labeller,
)
from phonotune.jobs.vasp.protocol import LabelProtocol, VaspMonitoring
from phonotune.jobs.vasp.verification import (
    usual_titles,
)
from phonotune.ports import Source
from phonotune.schemas.content import content_hash
from phonotune.schemas.dataset import (
    Candidate,
    LabelledSet,
    RejectedFrame,
    StructureSet,
    pack_frame_blobs,
)
from phonotune.schemas.masses import isotope_masses, with_masses, with_natural_masses
from phonotune.schemas.training import FoundationRecord


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
    potential
        The potential that ``labeller`` names, which is found when the Maker is made and travels with it.
    """

    uncounted_fields: ClassVar[tuple[str, ...]] = ("vasp", "monitoring")

    name: str = "label"
    labeller: str = "vasp"
    static_maker: Maker | None = None
    minimum: float = 0.5
    max_force: float | None = 30.0
    vasp: LabelProtocol = field(default_factory=LabelProtocol)
    monitoring: VaspMonitoring = field(default_factory=VaspMonitoring)
    potential: FoundationRecord | None = None

    def __post_init__(self) -> None:
        """Find the potential; raises ConfigError where its level of theory is not stated."""
        if self.potential is None or self.potential.name != self.labeller:
            other = self.static_maker is not None
            self.potential = None if other else potential_record(self.labeller)

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
        if self.potential is not None:
            return potential_labeller(self.potential)
        if self.labeller == "vasp":
            return vasp_labeller(self.vasp, self.monitoring)
        return find_labeller(self.labeller)

    def source(self) -> Source:
        """Return who labels, as Documents name it."""
        known = self.potential and self.potential.potential
        return Source(
            role="reference", evaluator=self.labeller, potential=str(known) if known else None
        )

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


@job
def relaxed_structure(document: Any, labeller: str) -> Structure:
    """Return the crystal that a relaxation of the labeller ended with.

    Raises
    ------
    LabelError
        If it did not converge: every property would sit on a crystal that is not at rest.
    """
    state = str(field_of(document, "state"))
    if field_of(document, "is_force_converged") is False or state.lower().endswith("failed"):
        raise LabelError(
            f"The relaxation of the crystal by {labeller} did not converge. Give a structure nearer "
            "to its minimum, or one that you have relaxed, with relax_first=False."
        )
    return structure_of(field_of(document, "structure"))


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
