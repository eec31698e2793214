"""Energies of isolated atoms, by VASP's whole path with an emulator."""

import pytest
from ase.calculators.emt import EMT
from jobflow import Flow
from monty.json import MontyDecoder

from phonotune.errors import ConfigError
from phonotune.flows.identity import stable_flow
from phonotune.flows.local import run_flow
from phonotune.jobs.isolated import IsolatedAtomMaker, hund_moment, isolated_atom
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.vasp.protocol import LabelProtocol, VaspMonitoring
from phonotune.store import open_store

QUICK = VaspMonitoring(polling_seconds=0.05, monitor_every=4)
MAKER = IsolatedAtomMaker(label=LabelMaker(vasp=LabelProtocol(encut=600), monitoring=QUICK))


@pytest.mark.filterwarnings("ignore:POTCAR data with symbol:UserWarning")
def test_an_atom_is_computed_once_and_carries_the_protocol_of_its_frames(vasp, tmp_path):
    store = open_store(tmp_path / "store")
    flow = Flow([MAKER.make("Cu")])
    assert run_flow(flow, store, root_dir=tmp_path).failed == []
    (made, _), *_ = list(stable_flow(flow).iterflow())
    row = store.query_one({"uuid": made.uuid, "output": {"$ne": None}})
    document = MontyDecoder().process_decoded(row["output"])
    atoms = isolated_atom("Cu").to_ase_atoms(msonable=False)
    atoms.calc = EMT()
    energy = atoms.get_potential_energy() - 4.0  # EMT_ZERO of the emulator
    assert document.energy == pytest.approx(energy, abs=1e-7)
    assert document.protocol == MAKER.label.protocol()
    assert document.starting_moment == 1.0
    again = run_flow(Flow([MAKER.make("Cu")]), store, root_dir=tmp_path)
    assert (again.finished, again.reused) == (1, 2)  # the generator plans again


def test_the_atom_has_one_k_point_and_hunds_moment_and_else_the_protocol_of_the_frames():
    atom = isolated_atom("Fe")
    protocol = MAKER.atom_label("Fe").vasp
    changed = {
        key
        for key, value in protocol.incar(atom).items()
        if value != MAKER.label.vasp.incar(atom)[key]
    }
    assert changed == {"KSPACING", "MAGMOM"}
    assert protocol.incar(atom)["MAGMOM"] == [4.0]
    assert max(atom.lattice.reciprocal_lattice.abc) < protocol.kspacing


def test_no_two_edges_of_the_box_are_equal_and_the_atom_is_off_its_centre():
    atom = isolated_atom("O")
    assert len(set(atom.lattice.abc)) == 3
    assert all(abs(x - 0.5) > 0.005 for x in atom.frac_coords[0])


def test_an_element_without_a_known_moment_is_refused():
    with pytest.raises(ConfigError, match="'Xx'"):
        hund_moment("Xx")


def test_any_labeller_gives_atoms(tmp_path):
    store = open_store(tmp_path / "store")
    maker = IsolatedAtomMaker(label=LabelMaker(labeller="emt"))
    assert run_flow(Flow([maker.make("Al")]), store, root_dir=tmp_path).failed == []
