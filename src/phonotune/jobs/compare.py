"""CompareMaker: models against their reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from jobflow import Maker

from phonotune.errors import InputError
from phonotune.jobs.base import role_job
from phonotune.physics.compare import PropertySet, compare
from phonotune.schemas.base import PropertyDocument
from phonotune.schemas.comparison import ComparisonDocument
from phonotune.schemas.kinds import find_kind


@dataclass
class CompareMaker(Maker):
    """Compare the properties of models with those of a reference.

    Parameters
    ----------
    expected
        Names of the properties that the reference and each model should have, by their roles in the order
        of the arguments of :meth:`make`. What is not there is named in the result; empty names nothing.
    """

    uncounted_fields: ClassVar[tuple[str, ...]] = ("expected",)

    name: str = "compare"
    expected: dict[str, list[str]] = field(default_factory=dict)

    @role_job("light", ComparisonDocument)
    def make(
        self,
        reference: Sequence[PropertyDocument | None],
        models: Sequence[Sequence[PropertyDocument | None]],
    ) -> ComparisonDocument:
        """Compare what is there.

        Parameters
        ----------
        reference
            Property documents of the reference; None for a property whose job failed.
        models
            One sequence of property documents per model.

        Raises
        ------
        InputError
            The reference or all models have no property, or were computed with different settings.
        """
        sides = [[d for d in side if d is not None] for side in (reference, *models)]
        missing = [
            f"{find_kind(name).title}, {role}"
            for (role, names), found in zip(
                self.expected.items(), sides, strict=bool(self.expected)
            )
            for name in names
            if name not in {document.kind for document in found}
        ]
        first, *others = sides
        others = [found for found in others if found]
        if not first or not others:
            raise InputError(
                f"Nothing can be compared: {'the reference has' if not first else 'the models have'} no "
                "property. Mend the jobs that failed and run the same flow again."
            )
        made = compare(PropertySet.of(first), [PropertySet.of(found) for found in others])
        return made.model_copy(update={"missing": missing})
