"""Everything that is known about one material, gathered from a flat list of Documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from pymatgen.core import Structure

from phonotune.physics.phonon.residual import CORRECTED, SYMFC, corrected, residual_variant
from phonotune.schemas.base import Document, PropertyDocument, Source, structure_hash
from phonotune.schemas.comparison import ComparisonDocument
from phonotune.schemas.dataset import DatasetDocument, Frame, LabelledSet
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.kinds import property_kinds
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.training import TrainingDocument
from phonotune.schemas.wells import WellDocument
from phonotune.training.strategies import STRATEGIES

UNTUNED: Final = "untuned"
_P = TypeVar("_P", bound=PropertyDocument)


@dataclass(frozen=True)
class MaterialReport:
    """The Documents of one material, reference first, then untuned, then the tuned models.

    Attributes
    ----------
    formula
        Reduced formula.
    material_id
        structure_hash of the crystal; None where only datasets or trainings of the formula are known.
    structure
        The unit cell of the phonon Documents, or None.
    properties
        Every property Document: of each kind one per Source, of wells one per Source and followed mode.
    labels
        What the labeller gave back, or None.
    """

    formula: str
    material_id: str | None = None
    structure: Structure | None = None
    properties: tuple[PropertyDocument, ...] = ()
    trainings: tuple[TrainingDocument, ...] = ()
    datasets: tuple[DatasetDocument, ...] = ()
    comparison: ComparisonDocument | None = None
    labels: LabelledSet | None = None

    def of(self, document: type[_P]) -> tuple[_P, ...]:
        """Return the properties of one class."""
        return tuple(d for d in self.properties if isinstance(d, document))

    @property
    def phonons(self) -> tuple[PhononDocument, ...]:
        """Phonons, one per Source."""
        return self.of(PhononDocument)

    @property
    def elastics(self) -> tuple[ElasticDocument, ...]:
        """Elastic constants, one per Source."""
        return self.of(ElasticDocument)

    @property
    def wells(self) -> tuple[WellDocument, ...]:
        """Double wells, one per Source and followed mode."""
        return self.of(WellDocument)

    @property
    def sources(self) -> list[Source]:
        """Every Source behind the properties, once, in the order of the report."""
        found = [d.source for d in self.properties]
        if self.comparison is not None:
            found = [self.comparison.reference, *(r.source for r in self.comparison.rows), *found]
        return sorted(_unique(found), key=source_order)

    @property
    def reference(self) -> Source | None:
        """The Source that the models are compared with, or None."""
        return next((s for s in self.sources if s.role == "reference"), None)

    @property
    def tuned(self) -> list[Source]:
        """The tuned models as they are, without residual force constants."""
        other = ("reference", UNTUNED, SYMFC)
        return [s for s in self.sources if s.role not in other and not s.role.endswith(CORRECTED)]

    @property
    def corrected(self) -> list[Source]:
        """The tuned models with residual force constants."""
        roles = {s.role + CORRECTED for s in self.tuned}
        return [s for s in self.sources if s.role in roles]

    def training_of(self, source: Source) -> TrainingDocument | None:
        """Return the training that made the model of a Source, or None."""
        if source.model_id is None:
            return None
        return next((t for t in self.trainings if t.model.model_id == source.model_id), None)


def source_order(source: Source) -> tuple[int, str, str, str]:
    """Return the sort key: reference, untuned, strategies as registered, then other roles by name.

    A model with residual force constants follows the model itself.
    """
    ranks = {"reference": 0, UNTUNED: 1} | {s: i + 2 for i, s in enumerate(STRATEGIES)}
    rank = ranks.get(source.role.removesuffix(CORRECTED), len(ranks))
    return rank, source.role, source.evaluator, source.model_id or ""


def bundle_documents(documents: Iterable[Document]) -> list[MaterialReport]:
    """Group a flat list of Documents by material, in order of first appearance.

    Property and comparison Documents belong to their ``material_id``. A training belongs to the material whose
    properties its model gave; a dataset to the material of the training that used it; labels to the
    material whose dataset they went into. What no such link claims belongs to every material of its
    formula, or to an entry of its own. Of two Documents about the same thing the later one is kept.

    Parameters
    ----------
    documents
        Documents of any kind, oldest first; kinds that a report does not show are passed over.
    """
    flat = list(documents)
    keys = _unique(
        [
            (d.formula, d.material_id)
            for d in flat
            if isinstance(d, PropertyDocument | ComparisonDocument)
        ]
    )
    known = {formula for formula, _ in keys}
    loose = _unique([_formula_of(d) for d in flat if _formula_of(d) not in known])
    materials = [_properties(flat, formula, material_id) for formula, material_id in keys]
    materials += [MaterialReport(formula=f) for f in loose if f is not None]
    claimed = {s.model_id for m in materials for s in m.sources if s.model_id is not None}
    return [_with_data(m, flat, claimed) for m in materials]


def _properties(flat: Sequence[Document], formula: str, material_id: str) -> MaterialReport:
    own = [d for d in flat if isinstance(d, PropertyDocument) and d.material_id == material_id]
    newest = {_identity(d): d for d in own}
    properties = [
        shown
        for kind in property_kinds()
        for document in sorted(newest.values(), key=lambda d: source_order(d.source))
        if document.kind == kind
        for shown in (_shown(document) if isinstance(document, PhononDocument) else [document])
    ]
    cells = [d.unitcell for d in properties if isinstance(d, PhononDocument)]
    comparisons = [
        d for d in flat if isinstance(d, ComparisonDocument) and d.material_id == material_id
    ]
    return MaterialReport(
        formula=formula,
        material_id=material_id,
        structure=cells[0] if cells else None,
        properties=tuple(properties),
        comparison=comparisons[-1] if comparisons else None,
    )


def _with_data(
    material: MaterialReport, flat: Sequence[Document], claimed: set[str]
) -> MaterialReport:
    own_models = {s.model_id for s in material.sources if s.model_id is not None}
    trainings = [
        t
        for t in flat
        if isinstance(t, TrainingDocument)
        and (
            t.model.model_id in own_models
            or (t.formula == material.formula and t.model.model_id not in claimed)
        )
    ]
    datasets = [d for d in flat if isinstance(d, DatasetDocument) and d.formula == material.formula]
    used = {t.model.dataset_hash for t in trainings}
    datasets = [d for d in datasets if d.dataset_hash in used] if used else datasets
    datasets = list({d.dataset_hash: d for d in datasets}.values())
    labels = [d for d in flat if isinstance(d, LabelledSet) and _formula_of(d) == material.formula]
    if datasets:
        wanted = {h for dataset in datasets for h in _frame_hashes(dataset.frames())}
        labels = [d for d in labels if wanted & _frame_hashes(d.frames())]
    newest = {t.model.model_id: t for t in trainings}.values()
    return replace(
        material,
        trainings=tuple(sorted(newest, key=_training_order)),
        datasets=tuple(datasets),
        labels=labels[-1] if labels else None,
    )


def _training_order(training: TrainingDocument) -> tuple[int, str, str, str]:
    model = training.model
    return source_order(Source(role=model.strategy or "untuned", evaluator=model.foundation.label))


def _frame_hashes(frames: Sequence[Frame]) -> set[str]:
    return {structure_hash(f.structure) for f in frames}


def _formula_of(document: Document) -> str | None:
    if isinstance(
        document, PropertyDocument | ComparisonDocument | TrainingDocument | DatasetDocument
    ):
        return document.formula
    if isinstance(document, LabelledSet):
        frames = document.frames()
        return frames[0].structure.composition.reduced_formula if frames else None
    return None


def _shown(document: PhononDocument) -> list[PhononDocument]:
    """Return what figures show of phonons with residual force constants: few enough lines to read."""
    if document.residual is None:
        return [document]
    alone = residual_variant(document, "model")
    return [alone] if document.source.role == UNTUNED else [alone, corrected(document)]


def _identity(document: PropertyDocument) -> tuple[object, ...]:
    who = (document.kind, *source_order(document.source))
    if isinstance(document, WellDocument):
        return (*who, document.q, document.band, document.mode_source)
    return who


_T = TypeVar("_T")


def _unique(items: Iterable[_T]) -> list[_T]:
    kept: list[_T] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return kept
