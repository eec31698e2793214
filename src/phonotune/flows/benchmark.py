"""Models against phonopy references: phonons in the reference's own supercell, compared, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phonotune.data.document_files import (
    holds_properties,
    read_document,
    read_properties,
    write_document,
)
from phonotune.errors import InputError, PhonotuneError
from phonotune.jobs.phonon import PhononMaker
from phonotune.jobs.property import model_evaluator
from phonotune.models.answer_cache import AnswerCache
from phonotune.models.engines import foundation_elements
from phonotune.physics.compare import PropertySet, compare
from phonotune.physics.phonon.calculation import read_calculation
from phonotune.physics.phonon.document import born_of
from phonotune.physics.phonon.files import document_of_calculation
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import check_structure
from phonotune.ports import Evaluator
from phonotune.progress import Progress
from phonotune.schemas.base import Document, Source, hash_json
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.training import ModelRecord

PHONONS = "phonons"
"""Folder of the phonons that are finished, one file per crystal and model."""


@dataclass(frozen=True)
class Failure:
    """What could not be computed, and why; an empty model: the reference itself."""

    reference: str
    model: str
    reason: str


@dataclass
class Benchmark:
    """What came out: Documents by reference, what failed, and how many pairs were computed or found."""

    documents: dict[str, list[Document]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    computed: int = 0
    found: int = 0


def run_benchmark(
    references: Sequence[Path],
    models: Mapping[str, ModelRecord],
    folder: Path,
    progress: Progress | None = None,
) -> Benchmark:
    """Compute the phonons of every reference by every model and compare them.

    A pair whose phonons stand in the folder is not computed again; one that is interrupted goes on from its
    answers. A reference or a pair that fails is listed and stops nothing.

    Parameters
    ----------
    references
        Calculations of phonopy, or folders with phonons by phonotune.
    models
        By the name that tables give them.
    folder
        Keeps the phonons.
    progress
        Told which pair is next.
    """
    made, progress = Benchmark(), progress or Progress()
    evaluators: dict[str, Evaluator] = {}
    progress.start(total=len(references) * len(models))
    for path in references:
        try:
            reference = read_reference(path)
        except PhonotuneError as error:
            made.failures.append(Failure(str(path), "", str(error)))
            progress.note(f"{path}: {error}")
            progress.advance(progress.done + len(models))
            continue
        compared = []
        for name, record in models.items():
            progress.advance(text=f"{path}, {name}")
            try:
                compared.append(_pair(reference, name, record, folder, evaluators, made))
            except PhonotuneError as error:
                made.failures.append(Failure(str(path), name, str(error)))
                progress.note(f"{path}, {name}: {error}")
        if compared:
            sets = [PropertySet.of([phonon]) for phonon in compared]
            comparison = compare(PropertySet.of([reference]), sets)
            made.documents[str(path)] = [reference, *compared, comparison]
    return made


def read_reference(path: Path) -> PhononDocument:
    """Return the phonons of a reference, with its Born charges if it has some.

    Raises
    ------
    InputError
        It holds no phonons, or cannot be read.
    """
    if path.is_dir() and holds_properties(path):
        phonon = read_properties(path).phonon
        if phonon is None:
            raise InputError(f"{path} holds no phonons.json; write it with `phonotune phonons`.")
        if phonon.relaxed:
            raise InputError(f"{path} holds phonons of a crystal that its model relaxed first.")
        source = phonon.source.model_copy(update={"role": "reference"})
        return phonon.model_copy(update={"source": source})
    found = read_calculation(path)
    source = Source(role="reference", evaluator=path.name or path.resolve().name)
    return document_of_calculation(found, PhononSettings(), source)


def _pair(
    reference: PhononDocument,
    name: str,
    record: ModelRecord,
    folder: Path,
    evaluators: dict[str, Evaluator],
    made: Benchmark,
) -> PhononDocument:
    """Return the phonons of a reference's crystal by a model: those of the folder, or computed now."""
    settings, born = PhononSettings.model_validate(reference.settings), born_of(reference)
    charges = None if born is None else born.model_dump()
    key = [reference.material_id, settings.model_dump(mode="json"), charges, record.model_id]
    file = folder / PHONONS / f"{reference.formula}-{hash_json(key)[:16]}.json"
    if file.is_file():
        kept = read_document(file)
        if isinstance(kept, PhononDocument):
            made.found += 1
            return kept
    check_structure(reference.unitcell, foundation_elements(record.foundation), record.label)
    if name not in evaluators:
        evaluators[name] = model_evaluator(record)
    with AnswerCache(evaluators[name], lambda: False) as cache:
        phonon = PhononMaker(settings=settings, born=born).compute(
            reference.unitcell, cache.evaluator
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_document(phonon, file)
    made.computed += 1
    return phonon
