"""PhonotuneMaker: one crystal through the whole DAG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

from jobflow import Flow, Job, Maker, OnMissing
from pydantic import ValidationError
from pymatgen.core import Structure

from phonotune.dotted import load
from phonotune.errors import ConfigError, invalid_value, require_package, unknown_name
from phonotune.jobs.base import tag
from phonotune.jobs.born import BornMaker, BornSettings
from phonotune.jobs.compare import CompareMaker
from phonotune.jobs.dataset import DatasetMaker, SubsetMaker
from phonotune.jobs.finetune import FineTuneMaker
from phonotune.jobs.label import LabelMaker, isotopes_of, relaxed_structure
from phonotune.jobs.property import Model
from phonotune.jobs.sample import RattleMaker, SelectMaker, TrajectoryMaker
from phonotune.jobs.vasp.protocol import LabelProtocol, VaspMonitoring
from phonotune.models.engines import require_trainable
from phonotune.models.records import find_model
from phonotune.physics.elastic import ElasticSettings
from phonotune.physics.phonon.born import read_born
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings
from phonotune.physics.residual.matching import ResidualSettings
from phonotune.physics.wells.double_well import WellSettings
from phonotune.sampling.displace import check_packages
from phonotune.sampling.settings import RattleSettings, SelectSettings
from phonotune.schemas.dataset import DatasetDocument
from phonotune.schemas.kinds import Kind, find_kind, property_kinds
from phonotune.schemas.masses import isotope_masses, with_masses, with_natural_masses
from phonotune.schemas.phonon import BornCharges
from phonotune.schemas.training import ModelRecord
from phonotune.training.config import FineTuneConfig, build_config


@dataclass(frozen=True)
class Training:
    """One training of a study.

    Attributes
    ----------
    name
        What its jobs are called, e.g. ``lora``, or ``lora, 5 frames, seed 1``.
    config
        Strategy and options.
    foundation
        Name or file of what is tuned.
    frames
        Training frames: the first of those that were labelled; None: all.
    """

    name: str
    config: FineTuneConfig
    foundation: str
    frames: int | None = None


@dataclass
class PhonotuneMaker(Maker):
    """Sample, label, fine-tune, compute properties and compare, as one jobflow Flow.

    The foundation is looked up when the flow is made: jobs carry its sha256, so another file of the same
    name is another flow. The crystal is first relaxed by the labeller; every evaluator then computes its
    properties at that same geometry, so that deviations are those of the forces alone.

    Parameters
    ----------
    foundation
        Name or file of the foundation model, or ``ase:module:callable``: an ASE calculator, which no
        strategy can tune, corrected by labels (ΔΦ).
    head
        The head of a multi-head foundation, for every model; None for one with one head.
    labeller
        Name of the labeller: the reference of everything.
    strategies
        Fine-tuning strategies, one model each.
    options
        Options of the strategies by name: ``{"lora": {"rank": 8, "loss": {"forces": 10}}}``; those of
        :class:`phonotune.training.config.FineTuneConfig`.
    properties
        What is computed by the labeller and by every model, and compared: names of
        :func:`phonotune.schemas.kinds.property_kinds`. A labeller cannot grow a tree of phases
        (``transitions``): it labels the phases that each model finds.
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
    settings
        Settings of the other properties by name: ``{"conductivity": {"mesh_density": 20}}``. The phonons
        behind expansion and conductivity have those of ``phonon``.
    residual
        How the labels of the undeformed supercell correct the force constants of every model; they
        are compared with and without.
    born
        Born charges of the crystal, for the reference and every model: ``auto`` lets the labeller compute them
        where it can, of insulators; ``off`` and None mean no NAC; else the path of phonopy's BORN file.
    seed
        Seed of the sampling.
    """

    content_version: ClassVar[int] = 3
    """Raised for ``options``, once ``overrides``, and for ``born``, now ``auto``; no job's content holds it."""

    name: str = "phonotune"
    foundation: str = "mace-mp-0b3"
    head: str | None = field(default=None, kw_only=True)
    labeller: str = "vasp"
    strategies: list[str] = field(default_factory=lambda: ["lora"])
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    properties: list[str] = field(default_factory=lambda: ["phonon", "elastic", "well"])
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
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    residual: ResidualSettings = field(default_factory=ResidualSettings)
    born: BornCharges | str | None = "auto"
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
            An unknown labeller, strategy, property or option, a property without one that it needs,
            a strategy or a selection method that needs a MACE model where the foundation is not one,
            or something that needs a package which is not installed, before anything has started.
        """
        for strategy in self.options:
            if strategy not in self.strategies:
                raise unknown_name("strategy in options", strategy, self.strategies)
        configs = {s: build_config(s, self.options.get(s)) for s in self.strategies}
        trainings = [Training(s, config, self.foundation) for s, config in configs.items()]
        return self.study(structure, trainings)

    def study(
        self,
        structure: Structure,
        trainings: Sequence[Training],
        foundations: Sequence[str] = (),
        frames: Sequence[int | None] = (None,),
    ) -> Flow:
        """Return the flow of one crystal with any trainings; what they share is one job.

        Frames are sampled with the Maker's own foundation and labelled once. There is one comparison for
        every number of frames: only models that saw the same frames share the plain fit of them.

        Parameters
        ----------
        structure
            The unit cell.
        trainings
            What is tuned.
        foundations
            Names or files of the untuned models that are compared; empty: the Maker's own.
        frames
            Numbers of training frames, of those that are labelled; None: all.

        Raises
        ------
        ConfigError, FoundationError
            As :meth:`make`.
        """
        check_packages(self.rattle.method)
        label = self.label_maker or LabelMaker(
            labeller=self.labeller, vasp=self.vasp, monitoring=self.monitoring
        )
        makers = self._makers(structure, label)
        structure = with_masses(structure)
        start, plain = self._relaxed(with_natural_masses(structure), label)
        crystal = plain
        if isotope_masses(structure):  # labels and models know elements; properties know masses
            crystal = structure
            if start:
                start.append(tag(isotopes_of(plain, structure), "light", "isotopes"))
                crystal = start[-1].output
        known = {n: find_model(n, self.head) for n in (self.foundation, *foundations)}
        foundation = known[self.foundation]
        if self.select.needs is not None:
            require_trainable(foundation.foundation, f"Selection method {self.select.method!r}")
        for training in trainings:
            tuned = known[training.foundation].foundation
            require_trainable(tuned, f"Strategy {training.config.strategy!r}")
        sampling, dataset = self._dataset(plain, label, foundation)
        reference = _property_jobs(makers, crystal, "reference", label)
        jobs = [*start, *sampling, *reference.values()]
        untuned: dict[str, dict[str, Job]] = {}
        compared: list[Job] = []
        for number in frames:
            seen, suffix = dataset, ""
            if number is not None:
                suffix = f", {number} frames"
                seen = SubsetMaker(n_train=number).make(dataset.output)
                jobs.append(_called(seen, suffix))
            models: list[tuple[str, str, Model]] = []
            for name in foundations or (self.foundation,):
                end = f" {name}" if len(foundations) > 1 else ""
                models.append(("untuned", end + suffix, known[name]))
            for training in [t for t in trainings if t.frames == number]:
                strategy, record = training.config.strategy, known[training.foundation].foundation
                tuning = FineTuneMaker(f"finetune {strategy}", record, training.config).make(
                    seen.output
                )
                end = training.name.removeprefix(strategy)
                jobs.append(_called(tuning, end))
                models.append((strategy, end, tuning.output))
            computed = []
            for role, end, model in models:
                made = _property_jobs(makers, crystal, role, label, model, seen.output, reference)
                if role == "untuned":  # what takes no labels is the same for every number of frames
                    first = untuned.setdefault(end.removesuffix(suffix), made)
                    made = {
                        k: j if seen.uuid in j.input_uuids else first[k] for k, j in made.items()
                    }
                there = {job.uuid for job in jobs}
                jobs += [_called(job, end) for job in made.values() if job.uuid not in there]
                computed.append(made)
            roles = ["reference", *(role + end for role, end, _ in models)]
            expected = {
                r: list(made) for r, made in zip(roles, (reference, *computed), strict=True)
            }
            comparison = CompareMaker(expected=expected).make(
                _outputs(reference), [_outputs(made) for made in computed]
            )
            # what failed is named
            comparison.update_config({"on_missing_references": OnMissing.NONE})
            jobs.append(_called(comparison, suffix))
            compared.append(comparison)
        return Flow(
            jobs, output=compared[-1].output, name=f"{self.name} {structure.reduced_formula}"
        )

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

    def _makers(self, structure: Structure, label: LabelMaker) -> dict[str, Maker]:
        """Return the Maker of each property, what it needs of others first; raises as :meth:`make`."""
        known = property_kinds()
        for name in (*self.properties, *self.settings):
            if name not in known:
                raise unknown_name("property", name, known)
            require_package(f"Property {name!r}", known[name].package, known[name].extra)
        for name in self.settings:
            if name not in self.properties:
                raise unknown_name("property in settings", name, self.properties)
        if not any(known[name].reference == "property" for name in self.properties):
            raise ConfigError(
                f"The reference has none of the properties {', '.join(self.properties) or '(none)'}, so "
                "that nothing could be compared. Add one that a labeller computes, for example phonon."
            )
        for name in self.properties:
            for needed in known[name].needs.values():
                if needed not in self.properties:
                    raise ConfigError(
                        f"Property {name!r} needs {needed!r}, which is not among the properties "
                        f"{', '.join(self.properties)}. Add {needed!r}."
                    )
        born = self.born
        wanted = list(dict.fromkeys(self.properties))
        if born == "auto" and label.resolve().born is not None:
            polar = any("born" in signature(load(known[n].maker).make).parameters for n in wanted)
            wanted = ["born", *wanted] if polar and "born" not in wanted else wanted
        elif isinstance(born, str) and born not in ("auto", "off"):
            symprec, primitive = self.phonon.symprec, self.phonon.primitive_matrix
            born = read_born(Path(born), structure, symprec, primitive)
        makers = {
            name: self._maker(known[name], born if isinstance(born, BornCharges) else None)
            for name in sorted(wanted, key=lambda n: bool(known[n].needs))
        }
        if "born" in makers:
            BornMaker(labeller=label).response()
        return makers

    def _maker(self, kind: Kind, born: BornCharges | None) -> Maker:
        """Return the Maker of a property with its settings, Born charges and residual settings."""
        maker = load(kind.maker)()
        names = {own.name for own in fields(maker)}
        own_inputs = {"born": born, "residual": self.residual}
        shared = {name: value for name, value in own_inputs.items() if name in names}
        cell = BornSettings(
            primitive_matrix=self.phonon.primitive_matrix, symprec=self.phonon.symprec
        )
        own = {"born": cell, "phonon": self.phonon, "elastic": self.elastic, "well": self.well}
        settings = own.get(kind.name, maker.settings)
        if "phonons" in type(settings).model_fields:
            settings = settings.model_copy(update={"phonons": self.phonon})
        given, named = self.settings.get(kind.name, {}), f"settings.{kind.name}"
        for key in given:
            if key not in type(settings).model_fields:
                raise unknown_name(f"key of {named}", key, type(settings).model_fields)
        try:
            settings = type(settings).model_validate({**settings.model_dump(), **given})
        except ValidationError as error:
            text = invalid_value(error, lambda path: ".".join([named, *path]))
            raise ConfigError(text) from error
        made: Maker = replace(maker, settings=settings, **shared)
        return made


def _property_jobs(
    makers: Mapping[str, Maker],
    crystal: Structure,
    role: str,
    label: LabelMaker,
    model: Model | None = None,
    labels: DatasetDocument | None = None,
    reference: Mapping[str, Job] | None = None,
) -> dict[str, Job]:
    """Return the property jobs of one evaluator by kind: of the labeller where there is no model.

    A property that needs another takes the reference's where there is one: a double well follows the
    reference's mode, whoever computes it.
    """
    jobs: dict[str, Job] = {}
    for name, chosen in makers.items():
        kind = find_kind(name)
        if kind.reference not in (
            ("property", "only") if model is None else ("property", "labels", "")
        ):
            continue
        by_label = model is None or kind.reference == "labels"
        maker: Any = replace(
            chosen, name=f"{chosen.name} {role}", labeller=label if by_label else None
        )
        given = {"structure": crystal, "model": model, "labels": labels}
        earlier = {**jobs, **(reference or {})}
        for argument, needed in kind.needs.items():
            given[argument] = earlier[needed].output
        arguments = signature(maker.make).parameters
        charges = {}
        if "born" in arguments and "born" in earlier:
            charges["born"] = earlier["born"].output
        jobs[name] = maker.make(*(given[a] for a in arguments if a != "born"), **charges)
    return jobs


def _called(job: Job, end: str) -> Job:
    """Return a job that says which training it serves; in its name, which is its Maker's, that would count."""
    if end:
        job.metadata["phonotune"]["variant"] = end.removeprefix(", ").strip()
    return job


def _outputs(jobs: Mapping[str, Job]) -> list[Any]:
    return [job.output for job in jobs.values()]
