"""CompareMaker: models against their reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import Maker

from phonotune.jobs.base import role_job
from phonotune.physics.compare import PropertySet, compare
from phonotune.schemas.base import PropertyDocument
from phonotune.schemas.comparison import ComparisonDocument


@dataclass
class CompareMaker(Maker):
    """Compare the properties of models with those of a reference."""

    name: str = "compare"

    @role_job("light", ComparisonDocument)
    def make(
        self, reference: Sequence[PropertyDocument], models: Sequence[Sequence[PropertyDocument]]
    ) -> ComparisonDocument:
        """Compare.

        Parameters
        ----------
        reference
            Property documents of the reference.
        models
            One sequence of property documents per model.
        """
        return compare(PropertySet.of(reference), [PropertySet.of(model) for model in models])
