"""What was run with which hashes: one row per labelling, dataset, model and property."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phonotune.report.bundle import MaterialReport
from phonotune.report.table import source_label
from phonotune.schemas.base import PropertyDocument
from phonotune.schemas.dataset import DatasetDocument, LabelledSet
from phonotune.schemas.kinds import kind_of
from phonotune.schemas.training import TrainingDocument


@dataclass(frozen=True)
class LineageRow:
    """One thing that ran.

    Attributes
    ----------
    stage
        Labels, dataset, training, phonons, ...
    who
        The labeller or the model.
    facts
        Names and values: counts, hashes, device.
    settings
        Resolved settings, nested as stored.
    """

    stage: str
    who: str
    facts: tuple[tuple[str, str], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings_text(self) -> str:
        """The settings as indented JSON; empty where there are none."""
        return json.dumps(self.settings, indent=2, ensure_ascii=False) if self.settings else ""


def lineage_rows(material: MaterialReport) -> list[LineageRow]:
    """Return what stands behind a material's numbers, from the labels to the last property."""
    rows = [] if material.labels is None else [_labels_row(material.labels)]
    rows += [_dataset_row(d) for d in material.datasets]
    rows += [_training_row(t) for t in material.trainings]
    return rows + [_property_row(d) for d in material.properties]


def versions_of(material: MaterialReport) -> dict[str, tuple[str, ...]]:
    """Return package -> every version that any Document of the material was made with."""
    documents = (*material.properties, *material.trainings, *material.datasets)
    found: dict[str, set[str]] = {}
    for document in documents:
        for package, version in document.versions.items():
            found.setdefault(package, set()).add(version)
    return {package: tuple(sorted(found[package])) for package in sorted(found)}


def _labels_row(labels: LabelledSet) -> LineageRow:
    came_back = labels.requested - len(labels.rejected)
    facts = [
        ("frames", f"{came_back} of {labels.requested}"),
        ("protocol", labels.protocol),
        ("data sha256", " ".join(blob.sha256 for blob in (labels.data, *labels.more))),
    ]
    facts += [(f"frame {r.index} rejected", r.reason) for r in labels.rejected]
    return LineageRow("Labels", labels.labeller, tuple(facts))


def _dataset_row(dataset: DatasetDocument) -> LineageRow:
    parent = f", appended to {dataset.parent_hash}" if dataset.parent_hash else ""
    facts = (
        ("version", f"{dataset.version}{parent}"),
        ("frames", f"{len(dataset.train)} train, {len(dataset.valid)} valid"),
        ("split", dataset.split.reason if dataset.split else "not recorded"),
        ("duplicates dropped", str(dataset.n_duplicates)),
        ("with stress", f"{dataset.has_stress:.0f} %"),
        ("dataset hash", dataset.dataset_hash),
    )
    return LineageRow("Dataset", dataset.labeller, facts)


def _training_row(training: TrainingDocument) -> LineageRow:
    model = training.model
    facts = [
        ("model id", model.model_id),
        ("foundation sha256", model.foundation.sha256),
        ("dataset hash", model.dataset_hash or "none"),
        ("moved", training.plan.text),
        ("atomic energies", training.energy_refit),
        ("epochs", f"{training.epochs}, best {training.best_epoch}, {training.stop_reason}"),
        ("time", f"{training.seconds:.0f} s on {training.device}"),
    ]
    for parts in reversed(model.adapters):
        facts.insert(2, ("adapter sha256", " ".join(part.sha256 for part in parts)))
    return LineageRow("Training", model.label, tuple(facts), model.config)


def _property_row(document: PropertyDocument) -> LineageRow:
    source = document.source
    facts = [("structure", document.material_id)]
    if source.model_id is not None:
        facts.append(("model id", source.model_id))
    if source.potential is not None:
        facts.append(("potential", source.potential))
    if source.dtype is not None:
        facts.append(("dtype", source.dtype))
    if source.device is not None:
        facts.append(("device", source.device))
    who = source_label(source)
    return LineageRow(kind_of(document).title, who, tuple(facts), document.settings)
