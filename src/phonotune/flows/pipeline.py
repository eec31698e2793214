"""PhonotuneMaker: one crystal through the whole DAG."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Flow, Job, Maker
from pymatgen.core import Structure

from phonotune.errors import ConfigError
from phonotune.jobs.base import tag
from phonotune.jobs.compare import CompareMaker
from phonotune.jobs.dataset import DatasetMaker
from phonotune.jobs.elastic import ElasticMaker
from phonotune.jobs.finetune import FineTuneMaker
from phonotune.jobs.label import LabelMaker, relaxed_structure
from phonotune.jobs.phonon import PhononMaker
from phonotune.jobs.property import Model
from phonotune.jobs.sample import RattleMaker, SelectMaker, TrajectoryMaker
from phonotune.jobs.vasp.protocol import LabelProtocol, VaspMonitoring
from phonotune.jobs.wells import DoubleWellMaker
from phonotune.models.records import find_model
from phonotune.physics.elastic import ElasticSettings
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings
from phonotune.physics.residual.matching import ResidualSettings
from phonotune.physics.wells.double_well import WellSettings
from phonotune.sampling.displace import check_packages
from phonotune.sampling.rattle import RattleSettings
from phonotune.sampling.select import SelectSettings
from phonotune.schemas.dataset import DatasetDocument
from phonotune.schemas.phonon import BornCharges
from phonotune.schemas.training import ModelRecord
from phonotune.training.config import parse_overrides


@dataclass
class PhonotuneMaker(Maker):
    """Sample, label, fine-tune, compute properties and compare, as one jobflow Flow.

    The foundation is looked up when the flow is made: jobs carry its sha256, so another file of the same
    name is another flow. The crystal is first relaxed by the labeller; every evaluator then computes its
    properties at that same geometry, so that deviations are those of the forces alone.

    Parameters
    ----------
    foundation
        Name or file of the foundation model.
    labeller
        Name of the labeller: the reference of everything.
    strategies
        Fine-tuning strategies, one model each.
    overrides
        ``KEY=VALUE`` options of every fine-tuning, as ``phonotune finetune --set``.
    label_maker
        How frames are labelled; None uses the labeller's own static maker.
    vasp
        Label protocol of the labeller ``vasp``.
    monitoring
        How VASP is watched.
    relax_first
        Relax cell and ions with the labeller before anything else.
    rattle, relaxation, select, phonon, elastic, well
        Settings of the stages.
    residual
        How the labels of the undeformed supercell correct the force constants of every model; they
        are compared with and without.
    born
        Born charges of the crystal, for the reference and every model; None for no NAC.
    seed
        Seed of the sampling.
    """

    name: str = "phonotune"
    foundation: str = "mace-mp-0b3"
    labeller: str = "vasp"
    strategies: list[str] = field(default_factory=lambda: ["lora"])
    overrides: list[str] = field(default_factory=list)
    label_maker: LabelMaker | None = None
    vasp: LabelProtocol = field(default_factory=LabelProtocol)
    monitoring: VaspMonitoring = field(default_factory=VaspMonitoring)
    relax_first: bool = True
    rattle: RattleSettings = field(default_factory=RattleSettings)
    relaxation: RelaxSettings = field(default_factory=RelaxSettings)
    select: SelectSettings = field(default_factory=SelectSettings)
    phonon: PhononSettings = field(default_factory=PhononSettings)
    elastic: ElasticSettings = field(default_factory=ElasticSettings)
    well: WellSettings = field(default_factory=WellSettings)
    residual: ResidualSettings = field(default_factory=ResidualSettings)
    born: BornCharges | None = None
    seed: int = 0

    def make(self, structure: Structure) -> Flow:
        """Return the flow of one crystal.

        Parameters
        ----------
        structure
            The unit cell.

        Raises
        ------
        FoundationError
            The foundation model cannot be had.
        ConfigError
            An unknown labeller, strategy or option, or a way to rattle that needs a package which
            is not installed, before anything has started.
        """
        check_packages(self.rattle)
        label = self.label_maker or LabelMaker(
            labeller=self.labeller, vasp=self.vasp, monitoring=self.monitoring
        )
        start, crystal = self._relaxed(structure, label)
        foundation = find_model(self.foundation)
        sampling, dataset = self._dataset(crystal, label, foundation)
        trainings = [self._finetune(s, foundation).make(dataset.output) for s in self.strategies]
        reference = self._properties(crystal, "reference", label=label)
        phonons = reference[0]
        models: list[tuple[str, Model]] = [("untuned", foundation)]
        models += [(s, t.output) for s, t in zip(self.strategies, trainings, strict=True)]
        computed = [
            self._properties(crystal, role, phonons, model, labels=dataset.output)
            for role, model in models
        ]
        compared = CompareMaker().make(_outputs(reference), [_outputs(jobs) for jobs in computed])
        flat = [job for jobs in computed for job in jobs]
        jobs = [*start, *sampling, *trainings, *reference, *flat, compared]
        return Flow(jobs, output=compared.output, name=f"{self.name} {structure.reduced_formula}")

    def _relaxed(self, structure: Structure, label: LabelMaker) -> tuple[list[Job], Structure]:
        """Return the relaxation by the labeller, if any, and the crystal that follows from it."""
        if not self.relax_first:
            return [], structure
        relax = label.resolve().relax
        if relax is None:
            raise ConfigError(
                f"Labeller {label.labeller!r} offers no relaxation. Give a structure that it has "
                "relaxed and set relax_first=False."
            )
        job = tag(relax.make(structure), "dft", "relax crystal")
        crystal = tag(relaxed_structure(job.output, label.labeller), "light", "relaxed crystal")
        return [job, crystal], crystal.output

    def _dataset(
        self, crystal: Structure, label: LabelMaker, foundation: ModelRecord
    ) -> tuple[list[Job], Job]:
        """Return the jobs from the crystal to the dataset, and the last of them."""
        rattle = RattleMaker(settings=self.rattle, phonon=self.phonon, seed=self.seed)
        rattled = rattle.make(crystal, foundation if rattle.needs_model else None)
        relaxed = TrajectoryMaker(settings=self.relaxation).make(rattled.output, foundation)
        select = SelectMaker(settings=self.select, seed=self.seed)
        selected = select.make(relaxed.output, foundation if select.needs_model else None)
        labelled = label.make(selected.output)
        dataset = DatasetMaker(valid_group=self.select.valid_group, seed=self.seed).make(
            labelled.output
        )
        return [rattled, relaxed, selected, labelled, dataset], dataset

    def _finetune(self, strategy: str, foundation: ModelRecord) -> FineTuneMaker:
        config = parse_overrides(strategy, self.overrides, beside=self.strategies)
        return FineTuneMaker(f"finetune {strategy}", foundation.foundation, config)

    def _properties(
        self,
        crystal: Structure,
        role: str,
        mode_of: Job | None = None,
        model: Model | None = None,
        label: LabelMaker | None = None,
        labels: DatasetDocument | None = None,
    ) -> list[Job]:
        """Return phonon, elastic and well jobs of one evaluator, in that order."""
        phonons = PhononMaker(
            f"phonon {role}", self.phonon, born=self.born, residual=self.residual, labeller=label
        )
        phonon = phonons.make(crystal, model, labels)
        elastic = ElasticMaker(f"elastic {role}", self.elastic, labeller=label).make(crystal, model)
        well = DoubleWellMaker(f"double well {role}", self.well, labeller=label).make(
            crystal, (mode_of or phonon).output, model
        )
        return [phonon, elastic, well]


def _outputs(jobs: list[Job]) -> list[Any]:
    return [job.output for job in jobs]
