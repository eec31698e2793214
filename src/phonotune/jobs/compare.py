"""CompareMaker: models against their reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import Maker

from phonotune.jobs.base import role_job
from phonotune.physics.compare import PropertySet, compare
from phonotune.schemas.base import PropertyDocument
from phonotune.schemas.comparison import ComparisonDocument
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.wells import WellDocument


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
            One sequence of property documents a model.
        """
        return compare(property_set(reference), [property_set(model) for model in models])


def property_set(documents: Sequence[PropertyDocument]) -> PropertySet:
    """Sort the property documents of one evaluator by kind."""
    by_kind = {type(document): document for document in documents}
    return PropertySet(
        source=documents[0].source,
        phonon=by_kind.get(PhononDocument),
        elastic=by_kind.get(ElasticDocument),
        well=by_kind.get(WellDocument),
    )
