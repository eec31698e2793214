"""CompareMaker: models against their reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from jobflow import Maker

from phonotune.jobs.base import role_job
from phonotune.physics.compare import PropertySet, compare
from phonotune.schemas.base import PropertyDocument
from phonotune.schemas.comparison import ComparisonDocument
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.thermal import QuasiHarmonicDocument
from phonotune.schemas.transition import TransitionDocument
from phonotune.schemas.wells import WellDocument

D = TypeVar("D", bound=PropertyDocument)


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
    return PropertySet(
        source=documents[0].source,
        phonon=_first(documents, PhononDocument),
        elastic=_first(documents, ElasticDocument),
        well=_first(documents, WellDocument),
        quasi_harmonic=_first(documents, QuasiHarmonicDocument),
        transitions=_first(documents, TransitionDocument),
    )


def _first(documents: Sequence[PropertyDocument], kind: type[D]) -> D | None:
    return next((document for document in documents if isinstance(document, kind)), None)
