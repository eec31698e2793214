"""From any result back to the frames and settings it comes from, and to what it was computed with."""

from __future__ import annotations

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
    behind = [entry, *properties, *trainings, *datasets, *labels]
    versions: dict[str, set[str]] = {}
    for item in behind:
        for package, version in item.document.versions.items():
            versions.setdefault(package, set()).add(version)
    return Lineage(
        result=entry,
        properties=tuple(properties),
        trainings=tuple(trainings),
        datasets=tuple(datasets),
        labels=labels,
        frames=tuple(frames),
        foundations=tuple(
            dict.fromkeys(
                t.document.model.foundation
                for t in trainings
                if isinstance(t.document, TrainingDocument)
            )
        ),
        versions={package: tuple(sorted(versions[package])) for package in sorted(versions)},
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
        wanted = Wanted(
            kind=result.kind,
            formula=getattr(result, "formula", None),
            material_id=getattr(result, "material_id", None),
            model_id=getattr(getattr(result, "model", None), "model_id", None),
        )
        for entry in self.results.entries(wanted, load=True):
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
        for document in (entry.document for entry in entries):
            if isinstance(document, TrainingDocument):
                names = [document.model.model_id]
            else:
                sources: list[Source] = []
                if isinstance(document, PropertyDocument):
                    sources = [document.source]
                elif isinstance(document, ComparisonDocument):
                    sources = [row.source for row in document.rows]
                tuned = (s for s in sources if s.role not in {REFERENCE, "untuned"})
                names = [s.model_id for s in tuned if s.model_id]
            for name in names:
                if name in found:
                    continue
                what = f"the training of model {name[:12]}"
                training = self._newest({"output.model.model_id": name}, what)
                if training is not None:
                    found[name] = training
        return list(found.values())

    def datasets(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return every dataset of the trainings, with the versions before."""
        found: dict[str, Entry] = {}
        queue: list[str] = []
        for document in (entry.document for entry in entries):
            if isinstance(document, TrainingDocument):
                queue += filter(None, [document.model.dataset_hash])
            elif isinstance(document, DatasetDocument):
                queue.append(document.dataset_hash)
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
            origin = {
                _key(frame): labels
                for labels in sets
                if isinstance(labels.document, LabelledSet)
                for frame in labels.document.iter_frames()
            }
            mine: list[Entry] = []
            split = dict.fromkeys(dataset.train, "train") | dict.fromkeys(dataset.valid, "valid")
            for index, frame in enumerate(dataset.iter_frames()):
                source = origin.get(_key(frame))
                frames.append(
                    FrameOrigin(
                        dataset_hash=dataset.dataset_hash,
                        index=index,
                        split=split.get(index, "unused"),
                        structure=structure_hash(frame.structure),
                        group=frame.group,
                        origin=frame.origin,
                        labeller=frame.labeller,
                        protocol=frame.protocol,
                        labels=None if source is None else source.uuid,
                    )
                )
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
        rows = self.results.rows([criteria | {"hosts": {"$in": list(hosts)}}]) if hosts else ()
        return list(self.results.entries_of(list(rows) or self.results.rows([criteria])))

    def _newest(self, criteria: Criteria, what: str) -> Entry | None:
        kind = "training" if "output.model.model_id" in criteria else "dataset"
        rows = list(self.results.rows([criteria | {"output.kind": kind}]))
        for entry in self.results.entries_of(rows[-1:]):
            return entry
        self.missing.append(f"{what[0].upper()}{what[1:]} is not in the store.")
        return None


def _who(source: Source) -> tuple[str, str, str | None]:
    return source.role, source.evaluator, source.model_id


def _dataset(entry: Entry) -> DatasetDocument:
    assert isinstance(entry.document, DatasetDocument)
    return entry.document


def _key(frame: Frame) -> tuple[str, float | None]:
    return structure_hash(frame.structure), frame.energy


def _unique(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple({(entry.uuid, entry.index): entry for entry in entries}.values())
