"""``phonotune store migrate``, on the store of an earlier version that tests/flows keeps."""

import gzip
import json
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.flows.migrate import HINT
from phonotune.store import open_store

MADE = Path(__file__).parents[1] / "flows" / "store_0_1_0.json.gz"
CONFIG = """
foundation: mini
labeller: emt
options: {lora: {max_epochs: 2}}
rattle: {n_cells: 2, volumes: [0.0, 2.5], min_length: 5.0}
relaxation: {max_steps: 20}
phonon: {supercell_matrix: [[2, 0, 0], [0, 2, 0], [0, 0, 2]]}
"""


@pytest.fixture
def made(tmp_path):
    """Fill a folder with the store of the earlier version; return the options that name its flow."""
    store = open_store(tmp_path / "store")
    content = json.loads(gzip.decompress(MADE.read_bytes()))
    store.docs_store.update(content["documents"], key=["uuid", "index"])
    store.additional_stores["data"].update(content["arrays"], key="blob_uuid")
    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])
    crystal.to(filename=str(tmp_path / "al.cif"))
    (tmp_path / "run.yaml").write_text(CONFIG)
    return tmp_path / "al.cif", "--config", tmp_path / "run.yaml", "--store", tmp_path / "store"


def test_a_dry_run_says_what_would_be_found(cli, made):
    found = cli("store", "migrate", *made, "--dry-run")
    assert found["dry_run"]
    (crystal,) = found["migrated"]
    assert (crystal["renamed"], crystal["there"], crystal["missing"]) == (61, 57, [])


def test_a_run_says_in_one_sentence_that_results_are_there(cli, made, monkeypatch, tmp_path):
    def no_flow(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("phonotune.flows.run.run_flows", no_flow)
    result = cli.plain("run", *made, "--out", tmp_path / "out")
    assert HINT in " ".join(result.stderr.split())
    assert HINT.count(".") == 1


def test_a_structure_that_is_not_there_is_refused(cli, tmp_path):
    assert "none.cif" in cli.error("store", "migrate", tmp_path / "none.cif")
