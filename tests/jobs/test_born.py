"""Born charges by VASP: a single point tells metals, a linear response gives the charges."""

import json

import numpy as np
import pytest
from jobflow import Flow
from monty.json import MontyDecoder
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError, InputError, LabelError
from phonotune.flows.identity import stable_flow
from phonotune.flows.local import run_flow
from phonotune.jobs.born import BornMaker
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.vasp.protocol import LabelProtocol, VaspMonitoring
from phonotune.physics.phonon.born import symmetric_charges
from phonotune.schemas.born import BornDocument
from phonotune.store import open_store

pytestmark = [
    pytest.mark.filterwarnings("ignore:POTCAR data with symbol:UserWarning"),
    pytest.mark.filterwarnings("ignore:No POTCAR file with matching TITEL:UserWarning"),
]

LABELLER = LabelMaker(
    vasp=LabelProtocol(kspacing=0.5),
    monitoring=VaspMonitoring(polling_seconds=0.05, monitor_every=4),
)
PLANTED = {"charges": {"Cu": -1.20003, "Au": 3.60021}, "dielectric": 5.25}
"""Of Cu3Au, which is no insulator but that EMT knows it; the sum of the charges is not quite zero."""


def cubic() -> Structure:
    """Cu3Au, its elements not in the order of POSCAR."""
    sites = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    return Structure(Lattice.cubic(3.75), ["Au", "Cu", "Cu", "Cu"], sites)


def run_born(folder, maker, structure):
    """Run the Maker; returns the summary and the Document, if any."""
    store = open_store(folder / "store")
    flow = Flow([maker.make(structure)])
    summary = run_flow(flow, store, root_dir=folder)
    (made, _), *_ = list(stable_flow(flow).iterflow())
    row = store.query_one(
        {"uuid": made.uuid, "output": {"$ne": None}}, {"output": 1}, {"index": -1}
    )
    return summary, row and MontyDecoder().process_decoded(row["output"])


def test_the_charges_come_back_symmetric_and_neutral_in_the_order_of_the_sites(
    vasp, tmp_path, monkeypatch
):
    monkeypatch.setenv("VASP_EMULATOR_BORN", json.dumps(PLANTED))
    _, document = run_born(tmp_path, BornMaker(labeller=LABELLER), cubic())
    assert isinstance(document, BornDocument)
    total = PLANTED["charges"]["Au"] + 3 * PLANTED["charges"]["Cu"]
    expected = [PLANTED["charges"][e] - total / 4 for e in ("Au", "Cu", "Cu", "Cu")]
    assert document.primitive.species == cubic().species
    assert np.allclose(document.born.charges, np.array(expected)[:, None, None] * np.eye(3))
    assert np.allclose(document.born.dielectric, 5.25 * np.eye(3))
    assert document.sum_rule == pytest.approx(total, abs=1e-8)
    assert document.asymmetry < 1e-10
    assert document.band_gap == pytest.approx(9.0)
    assert document.protocol == LABELLER.protocol()


def test_a_metal_has_none_and_no_linear_response_is_run(vasp, tmp_path):
    summary, document = run_born(tmp_path, BornMaker(labeller=LABELLER), cubic())
    assert document.born is None
    assert document.band_gap == pytest.approx(0.02)
    assert not summary.failed
    assert document.in_words == "none: no band gap (0.02 eV)"


def test_a_failed_run_is_told_with_what_to_do(vasp, tmp_path, monkeypatch):
    monkeypatch.setenv("VASP_EMULATOR_MODE", "wrong-algo")
    summary, document = run_born(tmp_path, BornMaker(labeller=LABELLER), cubic())
    assert document is None
    (error,) = (job.error for job in summary.failed)
    assert "The single point behind the Born charges of Cu3Au cannot be used" in error
    assert "ALGO = All instead of Normal" in error
    assert "`--born off`" in error


def test_a_labeller_without_charges_is_refused():
    with pytest.raises(ConfigError, match="Labeller 'teacher' gives no Born charges"):
        BornMaker(labeller=LabelMaker(labeller="teacher")).response()
    for changed in ({"preset": "matpes-r2scan"}, {"user_incar_settings": {"LHFCALC": True}}):
        labeller = LabelMaker(vasp=LabelProtocol(**changed))
        with pytest.raises(ConfigError, match="Labeller 'vasp' gives no Born charges"):
            BornMaker(labeller=labeller).response()


def test_charges_of_another_crystal_are_refused():
    with pytest.raises(InputError, match="neutrality"):
        symmetric_charges(cubic(), np.tile(np.eye(3), (4, 1, 1)), 5.0 * np.eye(3))
    with pytest.raises(InputError, match="off by inf"):
        symmetric_charges(cubic(), np.zeros((4, 3, 3)), -np.eye(3))


def test_what_little_breaks_the_symmetry_is_stated():
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=1e-3, size=(4, 3, 3))
    charges = np.array([3.6, -1.2, -1.2, -1.2])[:, None, None] * np.eye(3) + noise
    found = symmetric_charges(cubic(), charges, 5.0 * np.eye(3))
    assert 1e-4 < found.asymmetry < 5e-3
    assert found.sum_rule == pytest.approx(np.abs(noise.sum(axis=0)).max())
    assert np.allclose(np.sum(found.born.charges, axis=0), 0.0, atol=1e-10)


def test_a_document_without_charges_is_a_label_error(vasp, tmp_path):
    from phonotune.jobs.label_reader import read_band_gap, read_response

    with pytest.raises(LabelError, match="no band gap"):
        read_band_gap({"output": {}})
    with pytest.raises(LabelError, match="no Born charges"):
        read_response({"calcs_reversed": [{"output": {"epsilon_static": None}}]}, cubic())
