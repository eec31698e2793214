"""Structures and frames survive packing exactly."""

import numpy as np
from pymatgen.core import Lattice, Structure

from phonotune.schemas.blob import Blob
from phonotune.schemas.dataset import (
    Candidate,
    Frame,
    StructureSet,
    pack_frames,
    unpack_frames,
)


def random_structure(seed, species):
    rng = np.random.default_rng(seed)
    cell = np.eye(3) * 5 + rng.normal(scale=0.1, size=(3, 3))
    return Structure(Lattice(cell), species, rng.random((len(species), 3)))


def test_frames_keep_labels_masks_groups_and_order():
    rng = np.random.default_rng(1)
    first, second = random_structure(0, ["Na", "Cl"]), random_structure(1, ["Na", "Cl", "Cl"])
    frames = [
        Frame(first, -1.5, rng.normal(size=(2, 3)), rng.normal(size=(3, 3)), "a", "one"),
        Frame(second, None, rng.normal(size=(3, 3)), None, "b", "two"),
    ]
    back = unpack_frames(pack_frames(frames))
    for old, new in zip(frames, back, strict=True):
        assert np.array_equal(new.structure.lattice.matrix, old.structure.lattice.matrix)
        assert np.allclose(new.structure.cart_coords, old.structure.cart_coords, rtol=0, atol=1e-14)
        assert new.structure.species == old.structure.species
        assert np.array_equal(new.forces, old.forces)
        assert (new.group, new.origin, new.energy) == (old.group, old.origin, old.energy)
    assert back[1].stress is None
    assert np.array_equal(back[0].stress, frames[0].stress)


def test_labeller_protocol_and_moments_survive_and_old_blobs_are_read():
    structure = random_structure(0, ["Fe", "O"])
    frame = Frame(structure, -1.0, labeller="vasp", protocol="p", magmoms=np.array([2.5, -0.1]))
    bare = Frame(structure, -2.0)
    first, second = unpack_frames(pack_frames([frame, bare]))
    assert (first.labeller, first.protocol) == ("vasp", "p")
    assert np.array_equal(first.magmoms, frame.magmoms)
    assert second.magmoms is None
    arrays = pack_frames([frame]).arrays()
    for name in ("labeller", "protocol", "magmoms", "has_magmoms"):
        del arrays[name]
    (old,) = unpack_frames(Blob.pack(**arrays))
    assert (old.energy, old.labeller, old.protocol, old.magmoms) == (-1.0, "", "", None)


def test_a_structure_set_returns_its_candidates():
    candidates = [Candidate(random_structure(i, ["Mg", "O"]), f"g{i}", f"r{i}") for i in range(3)]
    back = StructureSet.from_candidates(candidates, "test").candidates()
    assert [(c.group, c.reason) for c in back] == [("g0", "r0"), ("g1", "r1"), ("g2", "r2")]
