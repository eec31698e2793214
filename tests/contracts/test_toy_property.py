"""A property is its Document, physics, Maker, command, figure and one row: every table knows it from there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.cli.app import property_commands
from phonotune.data.document_files import read_properties, write_property
from phonotune.flows.campaign import write_tables
from phonotune.flows.local import run_flow
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings
from phonotune.report.bundle import bundle_documents
from phonotune.report.html import render_report
from phonotune.sampling.rattle import RattleSettings
from phonotune.sampling.select import SelectSettings
from phonotune.schemas.comparison import ComparisonDocument
from phonotune.schemas.kinds import KINDS
from phonotune.store import ResultStore, Wanted, load_archive, open_store, save_archive
from tests.cli.conftest import Cli
from tests.contracts.toy_property import ROW, CompressionDocument, squeeze

PATH = "compression.highest_pressure"
MAKER = PhonotuneMaker(
    foundation="mini",
    labeller="emt",
    strategies=["lora"],
    options={"lora": {"max_epochs": 1}},
    properties=["compression"],
    settings={"compression": {"scales": [0.99, 0.97]}},
    rattle=RattleSettings(n_cells=2, volumes=(0.0, 2.5), min_length=4.0, small=()),
    relaxation=RelaxSettings(max_steps=2),
    select=SelectSettings(budget=2, n_valid=1),
    phonon=PhononSettings(supercell_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1))),
)


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, ROW.name, ROW)
        yield


@pytest.fixture(scope="module")
def crystal() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])


@pytest.fixture(scope="module")
def store(_registered: None, crystal: Structure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store after the whole DAG with the new property."""
    folder = tmp_path_factory.mktemp("toy")
    summary = run_flow(MAKER.make(crystal), open_store(folder / "store"), root_dir=folder)
    assert summary.failed == []
    return folder / "store"


@pytest.fixture(scope="module")
def found(store: Path) -> dict[str, CompressionDocument]:
    """The new property by role."""
    with ResultStore(store) as results:
        return {d.source.role: d for d in results.query(kind="compression")}


def test_the_dag_computes_it_for_reference_and_models(
    found: dict[str, CompressionDocument],
) -> None:
    assert set(found) == {"reference", "untuned", "lora"}
    assert found["reference"].settings == {"scales": [0.99, 0.97]}
    assert found["reference"].highest_pressure > 1


def test_it_is_compared(store: Path, found: dict[str, CompressionDocument]) -> None:
    with ResultStore(store) as results:
        (comparison,) = results.query(kind="comparison")
    assert isinstance(comparison, ComparisonDocument)
    reference = found["reference"].highest_pressure
    assert comparison.reference_properties.others == {PATH: reference}
    for row in comparison.rows:
        ours = found[row.source.role].highest_pressure
        assert row.properties.others == {PATH: ours}
        assert row.deviations.others[PATH] == pytest.approx(100 * (ours / reference - 1))


def test_results_and_show_and_tables_know_it(
    store: Path, crystal: Structure, tmp_path: Path
) -> None:
    listed = Cli().plain("results", "--store", store, "--kind", "compression").stdout
    assert listed.count("up to ") == 3
    assert "GPa" in listed
    with ResultStore(store) as results:
        entry = next(results.entries(Wanted(kind="compression")))
        assert len(results.to_dataframe(where={"highest_pressure": (0.0, None)})) == 3
        documents = results.query()
        write_tables({"al": crystal}, {"al": documents}, results, tmp_path)
    assert "highest_pressure" in Cli().plain("show", entry.uuid, "--store", store).stdout
    assert len((tmp_path / "compression.csv").read_text().splitlines()) == 4


def test_the_report_shows_it(store: Path) -> None:
    with ResultStore(store) as results:
        page = render_report(bundle_documents(results.query()))
    assert "<summary><b>Compression</b>" in page
    assert page.count('<th scope="row">Highest pressure <small>GPa</small>') == 2


def test_an_archive_keeps_it_with_the_labels_of_its_reference(store: Path, tmp_path: Path) -> None:
    with ResultStore(store) as results:
        save_archive(results, tmp_path / "a.tar.gz", Wanted(kind="compression"))
    with ResultStore(tmp_path / "other") as other:
        load_archive(other, tmp_path / "a.tar.gz")
        kinds = [d.kind for d in other.query()]
    assert kinds.count("compression") == 3
    assert {"labels", "training", "dataset"} <= set(kinds)


def test_its_files_are_compared_by_the_command_line(
    found: dict[str, CompressionDocument], tmp_path: Path
) -> None:
    for role, document in found.items():
        (tmp_path / role).mkdir()
        assert write_property(document, tmp_path / role) == "compression.json"
    assert read_properties(tmp_path / "lora").documents == {"compression": found["lora"]}
    folders = [tmp_path / role for role in ("reference", "untuned", "lora")]
    text = Cli().plain("compare", *folders).stdout
    assert "highest pressure" in text
    assert "highest pressure, %" in text


def test_its_command_is_one_of_ours() -> None:
    assert property_commands()["squeeze"] is squeeze
