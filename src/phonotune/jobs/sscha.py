"""SSCHAMaker: self-consistent harmonic phonons at temperatures, by a model, in one job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Response
from pymatgen.core import Structure

from phonotune.errors import ConfigError
from phonotune.jobs.base import role_job
from phonotune.jobs.phonon import PhononMaker
from phonotune.jobs.property import Model, PolarMaker
from phonotune.physics.phonon.displacements import PhononPlan
from phonotune.physics.phonon.residual import ResidualPlan
from phonotune.physics.phonon.sscha import SSCHASettings, phonons_at_temperatures
from phonotune.physics.residual.matching import ResidualSettings
from phonotune.ports import Answers, Evaluator
from phonotune.progress import Progress
from phonotune.schemas.base import Source
from phonotune.schemas.born import BornDocument
from phonotune.schemas.dataset import DatasetDocument
from phonotune.schemas.phonon import BornCharges
from phonotune.schemas.sscha import SSCHADocument


@dataclass
class SSCHAMaker(PolarMaker[SSCHADocument]):
    """Phonons and free energies at temperatures, fixed cell, by the self-consistent harmonic approximation.

    This is work for a model: thousands of displaced supercells, ensemble after ensemble.

    Parameters
    ----------
    settings
        Temperatures, supercell, sizes of the ensembles, tolerances.
    born
        Born charges of the crystal; None for no NAC.
    residual
        How labelled frames correct a model's force constants.
    """

    document = SSCHADocument
    planned = "displaced supercells"

    name: str = "sscha"
    settings: SSCHASettings = field(default_factory=SSCHASettings)
    born: BornCharges | None = None
    residual: ResidualSettings = field(default_factory=ResidualSettings)

    @role_job(lambda maker: maker.role, SSCHADocument)
    def make(
        self,
        structure: Structure,
        model: Model | None = None,
        labels: DatasetDocument | None = None,
        *,
        born: BornDocument | None = None,
    ) -> SSCHADocument | Response[Any]:
        """Compute the phonons of a crystal at the temperatures of the settings.

        Parameters
        ----------
        structure
            The unit cell, in its own orientation.
        model
            Tuned model or foundation name.
        labels
            Labelled frames of a reference: those of the undeformed supercell, if any, give residual force
            constants ΔΦ, and the energy ½ u ΔΦ u is added to the model's.
        born
            Output of a :class:`phonotune.jobs.born.BornMaker`, which takes the place of the Maker's charges.

        Raises
        ------
        ConfigError
            There is a labeller, or no model.
        """
        if self.labeller is not None or model is None:
            raise ConfigError(
                "SSCHAMaker evaluates thousands of supercells with a model, and got "
                f"{'no model' if self.labeller is None else 'a labeller'}. Pass a model to make(), tuned to "
                "the labeller, and leave the labeller out."
            )
        return self.charged(born).evaluate(structure, model, labels=labels)

    def compute(
        self,
        structure: Structure,
        evaluator: Evaluator,
        progress: Progress | None = None,
        **inputs: Any,
    ) -> SSCHADocument:
        """Compute the property in this process.

        Every ensemble is drawn with numbers that follow from the settings, so that an interrupted call finds
        the answers to all ensembles before on disk.

        Parameters
        ----------
        structure
            The unit cell.
        evaluator
            A model, or a committee, whose mean answers count.
        progress
            Told what is evaluated.
        **inputs
            ``labels`` or ``frames``, as :meth:`phonotune.jobs.phonon.PhononMaker.plan` takes them.

        Raises
        ------
        PhonotuneError
            As the phonons; forces or energies that are not finite.
        """
        harmonic = self._phonons().compute(structure, evaluator, progress, **inputs)
        found = phonons_at_temperatures(harmonic, evaluator, self.settings, progress)
        return found.model_copy(update={"relaxed": harmonic.relaxed})

    def plan(self, structure: Structure, **inputs: Any) -> PhononPlan | ResidualPlan:
        """Return the displaced supercells of the harmonic phonons, with which the ensembles begin."""
        return self._phonons().plan(structure, **inputs)

    def analyse(self, plan: Any, answers: Answers, source: Source) -> SSCHADocument:
        """Refuse: the ensembles follow from one another, and no plan holds them."""
        raise ConfigError(
            "Phonons at temperatures cannot be had from a plan's answers. Call compute() with an evaluator."
        )

    def _phonons(self) -> PhononMaker:
        return PhononMaker(
            settings=self.settings.phonons,
            born=self.born,
            residual=self.residual,
            relax=self.relax,
        )
