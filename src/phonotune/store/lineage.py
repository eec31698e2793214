"""From any result back to the frames and settings it comes from, and to what it was computed with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from phonotune.errors import InputError
from phonotune.schemas.base import Document, PropertyDocument, Source, structure_hash
from phonotune.schemas.comparison import ComparisonDocument
from phonotune.schemas.dataset import DatasetDocument, Frame, LabelledSet
from phonotune.schemas.training import FoundationRecord, TrainingDocument
from phonotune.store.criteria import Criteria, Wanted
from phonotune.store.rows import Entry, StoredRows

REFERENCE: Final = "reference"


@dataclass(frozen=True)
class FrameOrigin:
    """A frame that trained or validated a model.

    Attributes
    ----------
    dataset_hash
        The dataset it stands in.
    index
        Its number there.
    split
        ``"train"``, ``"valid"`` or ``"unused"``.
    structure
        Hash of cell, positions and elements.
    group, origin, labeller, protocol
        As in :class:`phonotune.schemas.dataset.Frame`.
    labels
        uuid of the labelled set that it came from; None if that is not in the store.
    """

    dataset_hash: str
    index: int
    split: str
    structure: str
    group: str
    origin: str
    labeller: str
    protocol: str
    labels: str | None


@dataclass(frozen=True)
class Lineage:
    """Where a result comes from; each Entry holds its Document with its settings.

    Attributes
    ----------
    result
        The result itself.
    properties
        What a comparison compares.
    trainings, datasets
        Models behind it and what they were trained on, older versions of a dataset included.
    labels
        What the labeller gave back for the datasets, or for the property of a reference.
    frames
        Every frame of the datasets.
    foundations
        The models that were tuned.
    versions
        Package -> every version that any of these was made with.
    missing
        What the store does not hold, in sentences.
    """

    result: Entry
    properties: tuple[Entry, ...]
    trainings: tuple[Entry, ...]
    datasets: tuple[Entry, ...]
    labels: tuple[Entry, ...]
    frames: tuple[FrameOrigin, ...]
    foundations: tuple[FoundationRecord, ...]
    versions: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything, from the labels to the result."""
        behind = (*self.labels, *self.datasets, *self.trainings, *self.properties)
        return (*(entry for entry in behind if entry != self.result), self.result)


def trace(results: StoredRows, result: str | Entry | Document) -> Lineage:
    """Follow a result to its origin.

    Parameters
    ----------
    results
        The store that holds it.
    result
        An id as :meth:`phonotune.store.ResultStore.find` takes it, or what a query gave.

    Raises
    ------
    InputError
        The store does not hold the result.
    """
    search = _Search(results)
    entry = search.entry_of(result)
    properties = search.properties(entry.document)
    trainings = search.trainings([entry, *properties])
    datasets = search.datasets([entry, *trainings])
    frames, of_datasets = search.frames(datasets)
    reference = [label for item in (entry, *properties) for label in search.reference_labels(item)]
    labels = _unique([*of_datasets, *reference])
    return Lineage(
        result=entry,
        properties=tuple(properties),
        trainings=tuple(trainings),
        datasets=tuple(datasets),
        labels=labels,
        frames=tuple(frames),
        foundations=tuple(dict.fromkeys(_training(t).model.foundation for t in trainings)),
        versions=_versions([entry, *properties, *trainings, *datasets, *labels]),
        missing=tuple(dict.fromkeys(search.missing)),
    )


class _Search:
    """Follows the ids in Documents through one store, and notes what it does not find."""

    def __init__(self, results: StoredRows) -> None:
        self.results = results
        self.missing: list[str] = []

    def entry_of(self, result: str | Entry | Document) -> Entry:
        """Return the entry of an id, or of a Document that a query gave."""
        if isinstance(result, str):
            return self.results.find(result)
        if not isinstance(result, Document):
            return result
        for entry in self.results.entries(_wanted(result), load=True):
            if entry.document == result:
                return entry
        raise InputError(
            f"The store does not hold this {result.kind} document; give one that it returned."
        )

    def properties(self, document: Document) -> list[Entry]:
        """Return the newest property of each kind and evaluator that a comparison compares."""
        if not isinstance(document, ComparisonDocument):
            return []
        sources = {_who(s) for s in (document.reference, *(r.source for r in document.rows))}
        found = {}
        for entry in self.results.entries(Wanted(material_id=document.material_id)):
            compared = entry.document
            if isinstance(compared, PropertyDocument) and _who(compared.source) in sources:
                found[compared.kind, _who(compared.source)] = entry
        return list(found.values())

    def trainings(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the training of every tuned model."""
        found: dict[str, Entry] = {}
        for entry in entries:
            for model_id in _tuned_models(entry.document):
                if model_id not in found and (training := self._model(model_id)) is not None:
                    found[model_id] = training
        return list(found.values())

    def _model(self, model_id: str) -> Entry | None:
        return self._newest(
            {"output.model.model_id": model_id}, f"the training of model {model_id[:12]}"
        )

    def datasets(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return every dataset of the trainings, with the versions before."""
        found: dict[str, Entry] = {}
        queue = [h for entry in entries if (h := _dataset_hash(entry.document)) is not None]
        while queue:
            wanted = queue.pop(0)
            if wanted in found:
                continue
            entry = self._newest({"output.dataset_hash": wanted}, f"the dataset {wanted[:12]}")
            if entry is not None:
                found[wanted] = entry
                queue += filter(None, [_dataset(entry).parent_hash])
        return list(found.values())

    def frames(self, datasets: Iterable[Entry]) -> tuple[list[FrameOrigin], list[Entry]]:
        """Return every frame of the datasets, and the labelled sets that they came from."""
        frames: list[FrameOrigin] = []
        used: list[Entry] = []
        for entry in datasets:
            dataset = _dataset(entry)
            sets = self._labelled(dataset.labeller, entry.hosts)
            origin = {_key(f): s for s in sets for f in _labels(s).iter_frames()}
            mine: list[Entry] = []
            split = dict.fromkeys(dataset.train, "train") | dict.fromkeys(dataset.valid, "valid")
            for index, frame in enumerate(dataset.iter_frames()):
                source = origin.get(_key(frame))
                frames.append(_frame(dataset, index, split.get(index, "unused"), frame, source))
                mine += [] if source is None else [source]
            used += mine
            if not mine:
                self.missing.append(
                    f"No labelled set in the store holds frames of the dataset "
                    f"{dataset.dataset_hash[:12]}; they were given from outside."
                )
        return frames, list(_unique(used))

    def reference_labels(self, entry: Entry) -> list[Entry]:
        """Return what the labeller gave for a property of the reference: same flow, same stage."""
        document = entry.document
        if not isinstance(document, PropertyDocument) or document.source.role != REFERENCE:
            return []
        sets = self._labelled(document.source.evaluator, entry.hosts)
        found = [labels for labels in sets if labels.stage == entry.stage and labels.hosts]
        if not found:
            self.missing.append(f"The labels behind {entry.name!r} are not in the store.")
        return found

    def _labelled(self, labeller: str, hosts: tuple[str, ...]) -> list[Entry]:
        """Return the labelled sets of a labeller: those of the same flows, else all."""
        criteria: Criteria = {"output.kind": "labels", "output.labeller": labeller}
        for narrowed in ([criteria | {"hosts": {"$in": list(hosts)}}] if hosts else []) + [
            criteria
        ]:
            if rows := list(self.results.rows([narrowed])):
                return list(self.results.entries_of(rows))
        return []

    def _newest(self, criteria: Criteria, what: str) -> Entry | None:
        kind = "training" if "output.model.model_id" in criteria else "dataset"
        rows = list(self.results.rows([criteria | {"output.kind": kind}]))
        for entry in self.results.entries_of(rows[-1:]):
            return entry
        self.missing.append(f"{what[0].upper()}{what[1:]} is not in the store.")
        return None


def _wanted(document: Document) -> Wanted:
    model = getattr(document, "model", None)
    return Wanted(
        kind=document.kind,
        formula=getattr(document, "formula", None),
        material_id=getattr(document, "material_id", None),
        model_id=getattr(model, "model_id", None),
    )


def _who(source: Source) -> tuple[str, str, str | None]:
    return source.role, source.evaluator, source.model_id


def _tuned_models(document: Document) -> list[str]:
    """Return the ids of the tuned models behind a document."""
    if isinstance(document, TrainingDocument):
        return [document.model.model_id]
    sources: list[Source] = []
    if isinstance(document, PropertyDocument):
        sources = [document.source]
    elif isinstance(document, ComparisonDocument):
        sources = [row.source for row in document.rows]
    return [s.model_id for s in sources if s.model_id and s.role not in {REFERENCE, "untuned"}]


def _dataset_hash(document: Document) -> str | None:
    if isinstance(document, TrainingDocument):
        return document.model.dataset_hash
    return document.dataset_hash if isinstance(document, DatasetDocument) else None


def _training(entry: Entry) -> TrainingDocument:
    assert isinstance(entry.document, TrainingDocument)
    return entry.document


def _dataset(entry: Entry) -> DatasetDocument:
    assert isinstance(entry.document, DatasetDocument)
    return entry.document


def _labels(entry: Entry) -> LabelledSet:
    assert isinstance(entry.document, LabelledSet)
    return entry.document


def _key(frame: Frame) -> tuple[str, float | None]:
    return structure_hash(frame.structure), frame.energy


def _frame(
    dataset: DatasetDocument, index: int, split: str, frame: Frame, source: Entry | None
) -> FrameOrigin:
    return FrameOrigin(
        dataset_hash=dataset.dataset_hash,
        index=index,
        split=split,
        structure=structure_hash(frame.structure),
        group=frame.group,
        origin=frame.origin,
        labeller=frame.labeller,
        protocol=frame.protocol,
        labels=None if source is None else source.uuid,
    )


def _unique(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple({(entry.uuid, entry.index): entry for entry in entries}.values())


def _versions(entries: Iterable[Entry]) -> dict[str, tuple[str, ...]]:
    found = Counter((p, v) for entry in entries for p, v in entry.document.versions.items())
    packages = sorted({package for package, _ in found})
    return {name: tuple(sorted(v for p, v in found if p == name)) for name in packages}
