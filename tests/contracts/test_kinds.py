"""Laws over all kinds of Documents: each stands in one row, and every table knows it from there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from jobflow import Flow, job, run_locally

import phonotune.schemas
from phonotune.data.document_files import read_document, summary_of, write_property
from phonotune.dotted import load
from phonotune.errors import ConfigError
from phonotune.jobs.compare import CompareMaker
from phonotune.report.bundle import bundle_documents
from phonotune.report.html import render_report
from phonotune.schemas.base import Document, PropertyDocument, Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.columns import ABSENT, unit_at, value_at
from phonotune.schemas.dataset import (
    Candidate,
    RelaxationSummary,
    StructureSet,
    TrajectoryDocument,
    pack_frames,
)
from phonotune.schemas.kinds import (
    KINDS,
    Kind,
    compared_kinds,
    find_kind,
    kind_of,
    property_kinds,
)
from phonotune.store import ResultStore, Wanted, load_archive, open_store, save_archive
from tests.cli.conftest import Cli
from tests.report.conftest import (
    frames_of,
    material_documents,
    perovskite,
    thermal_documents,
)

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
every_property = pytest.mark.parametrize(
    "kind", property_kinds().values(), ids=list(property_kinds())
)


@job(data=[Blob])
def keep(document: Document) -> Document:
    return document


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """At least one Document of each kind, all of one crystal."""
    crystal = perovskite()
    found = material_documents(crystal, strategies=("lora", "equitrain"))
    found += thermal_documents(crystal, [d.source for d in found if d.kind == "phonon"])
    frames = frames_of(crystal, 2, np.random.default_rng(0))
    structures = [Candidate(f.structure, f.group, "rattled", score=0.5) for f in frames]
    steps = RelaxationSummary(
        group="0", steps=9, converged=True, energy_first=-1.0, energy_last=-2.0, max_force=0.01
    )
    return [
        StructureSet.from_candidates(structures, recipe='2 of 9, {"budget": 2}'),
        TrajectoryDocument(model_id="a1" * 32, relaxations=[steps], data=pack_frames(frames)),
        *found,
    ]


@pytest.fixture(scope="module")
def store(documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds them, as one flow left them."""
    folder = tmp_path_factory.mktemp("store")
    fill(folder, documents)
    return folder


def fill(folder: Path, documents: list[Document]) -> None:
    flow = Flow([keep(document) for document in documents])
    run_locally(flow, store=open_store(folder), log=False, root_dir=folder, raise_immediately=True)


def one(documents: list[Document], kind: Kind) -> Document:
    return next(document for document in documents if document.kind == kind.name)


def classes_with_a_kind() -> Iterator[type[Document]]:
    for module in pkgutil.iter_modules(phonotune.schemas.__path__):
        importlib.import_module(f"phonotune.schemas.{module.name}")
    queue: list[type[Document]] = [Document]
    while queue:
        for child in queue.pop().__subclasses__():
            queue.append(child)
            ours = child.__module__.startswith("phonotune.schemas.")
            if ours and isinstance(child.model_fields["kind"].default, str):
                yield child


def test_every_document_has_a_row() -> None:
    assert set(classes_with_a_kind()) == {kind.document_class for kind in KINDS.values()}


@every_kind
def test_a_row_names_what_is_there(kind: Kind) -> None:
    assert kind.document_class.model_fields["kind"].default == kind.name
    compared = () if kind.comparison is None else kind.comparison.columns
    for column in (*kind.columns, *compared):
        assert isinstance(column.unit, str)
    paths = [kind.table, kind.sections, kind.command, kind.maker]
    paths += [] if kind.comparison is None else [kind.comparison.deviations]
    assert all(callable(load(path)) for path in paths if path)
    assert issubclass(kind.document_class, PropertyDocument) == kind.is_property
    assert bool(kind.file) == bool(kind.command) == kind.is_property
    assert set(kind.needs.values()) <= set(property_kinds())


def test_units_come_from_the_fields() -> None:
    headings = {column.heading for kind in KINDS.values() for column in kind.columns}
    assert {"bulk modulus, GPa", "volume expansion at 300 K, 1e-6/K"} <= headings
    assert "volume at 300 K, Å³" in headings
    with pytest.raises(AttributeError):
        unit_at(find_kind("well").document_class, "nothing")


def test_an_unknown_kind_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'phonon'"):
        find_kind("phonons")


def test_the_table_of_results_shows_every_kind_in_words(store: Path) -> None:
    text = Cli().plain("results", "--store", store)
    assert text.exit_code == 0, text.output
    for kind in KINDS:
        assert f" {kind} " in text.stdout
    assert "expansion 60.0 1e-6/K" in text.stdout
    assert "14.00 W/m/K at 300 K" in text.stdout
    assert "2 structures in 1 groups, selected" in text.stdout
    assert "{" not in text.stdout


def test_the_help_of_kind_names_every_kind() -> None:
    text = " ".join(Cli().plain("results", "--help").stdout.replace("│", " ").split())
    assert ", ".join(KINDS) in text


@every_kind
def test_a_headline_is_a_sentence_of_the_document(kind: Kind, documents: list[Document]) -> None:
    document = one(documents, kind)
    words = kind.words(document)
    assert words
    assert not set("{}") & set(words)
    assert ABSENT not in words
    assert kind_of(document) is kind


@every_kind
def test_show_prints_every_kind(kind: Kind, store: Path) -> None:
    with ResultStore(store) as results:
        entry = next(results.entries(Wanted(kind=kind.name)))
    shown = Cli().plain("show", entry.uuid, "--store", store)
    assert shown.exit_code == 0, shown.output
    assert f"{kind.name} {entry.uuid}" in shown.stdout


@every_kind
def test_a_table_of_data_holds_every_kind(kind: Kind, store: Path) -> None:
    with ResultStore(store) as results:
        table = results.to_dataframe(kind=kind.name)
    assert set(table["kind"]) == {kind.name}
    for column in kind.columns:
        if column.path in kind.document_class.model_fields:
            assert column.path in table.columns


def test_an_archive_holds_every_kind(
    documents: list[Document], store: Path, tmp_path: Path
) -> None:
    with ResultStore(store) as results:
        save_archive(results, tmp_path / "all.tar.gz")
    with ResultStore(tmp_path / "other") as other:
        load_archive(other, tmp_path / "all.tar.gz")
        assert sorted(d.kind for d in other.query()) == sorted(d.kind for d in documents)


@every_property
def test_an_archive_of_a_reference_holds_its_labels(
    kind: Kind, documents: list[Document], tmp_path: Path
) -> None:
    labels = one(documents, find_kind("labels"))
    reference = one(documents, kind).model_copy(
        update={"source": Source(role="reference", evaluator="teacher")}
    )
    fill(tmp_path / "store", [labels, reference])
    with ResultStore(tmp_path / "store") as results:
        save_archive(results, tmp_path / "one.tar.gz", Wanted(kind=kind.name))
    with ResultStore(tmp_path / "other") as other:
        load_archive(other, tmp_path / "one.tar.gz")
        assert {d.kind for d in other.query()} == {kind.name, "labels"}


@every_property
def test_a_property_comes_back_from_its_file(
    kind: Kind, documents: list[Document], tmp_path: Path
) -> None:
    document = one(documents, kind)
    assert write_property(document, tmp_path) == kind.file
    back = read_document(tmp_path / kind.file)
    assert type(back) is kind.document_class
    assert summary_of(back) == summary_of(document)


def test_the_report_has_every_property(documents: list[Document]) -> None:
    page = render_report(bundle_documents(documents))
    for kind in property_kinds().values():
        assert f"<summary><b>{kind.title}</b>" in page
    for row in ("Volume expansion at 300 K", "Thermal conductivity at 300 K", "Lowest phase"):
        assert f'<th scope="row">{row}' in page


def test_all_properties_are_compared_but_those_that_models_lack() -> None:
    lacking = {name for name, kind in property_kinds().items() if kind.comparison is None}
    assert lacking == {name for name, kind in KINDS.items() if kind.reference == "only"}


@pytest.mark.parametrize("kind", compared_kinds().values(), ids=list(compared_kinds()))
def test_a_property_is_compared(kind: Kind, documents: list[Document]) -> None:
    document = one(documents, kind)
    other = document.model_copy(update={"source": Source(role="lora", evaluator="mini")})
    found = CompareMaker().make.original(CompareMaker(), [document], [[other]])
    assert kind.comparison is not None
    values = [column.value(found.rows[0]) for column in kind.comparison.columns]
    assert any(value is not None for value in values)
    for column in kind.columns:
        path = column.field or f"others.{kind.name}.{column.path}"
        assert column.value(document) == value_at(found.reference_properties, path)
