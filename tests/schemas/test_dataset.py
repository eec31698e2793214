"""Structures and frames survive packing exactly."""

import numpy as np
from pymatgen.core import Lattice, Structure

from phonotune.ports import Evaluation
from phonotune.schemas.blob import MAX_BLOB_BYTES, Blob
from phonotune.schemas.dataset import (
    Candidate,
    Frame,
    LabelledSet,
    StructureSet,
    TrajectoryDocument,
    pack_frame_blobs,
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


def labelled_set(blobs: tuple[Blob, ...]) -> LabelledSet:
    return LabelledSet(
        labeller="t", protocol="p", requested=9, rejected=[], data=blobs[0], more=blobs[1:]
    )


def test_frames_that_do_not_fit_one_blob_go_on_in_more(monkeypatch):
    monkeypatch.setattr("phonotune.schemas.dataset.CHUNK_BYTES", 3000)
    frames = [Frame(random_structure(i, ["Na", "Cl"] * 4), float(i)) for i in range(5)]
    blobs = pack_frame_blobs(frames)
    assert [len(unpack_frames(blob)) for blob in blobs] == [2, 2, 1]
    labels = labelled_set(blobs)
    again = LabelledSet.model_validate(labels.model_dump())
    assert [frame.energy for frame in again.frames()] == [0.0, 1.0, 2.0, 3.0, 4.0]
    trajectories = TrajectoryDocument(model_id="m", relaxations=[], data=blobs[0], more=blobs[1:])
    assert len(trajectories.frames()) == 5
    candidates = [Candidate(f.structure, str(i), "why") for i, f in enumerate(frames * 4)]
    structures = StructureSet.from_candidates(candidates, "test")
    assert len(structures.more) == 2
    for one, other in zip(candidates, structures.candidates(), strict=True):
        assert one.group == other.group
        assert np.allclose(one.structure.cart_coords, other.structure.cart_coords, atol=1e-14)


def test_a_labelled_set_of_one_blob_is_read_as_before():
    frames = [Frame(random_structure(0, ["Na", "Cl"]), -1.0)]
    content = labelled_set((pack_frames(frames),)).model_dump()
    del content["more"]
    (frame,) = LabelledSet.model_validate(content).frames()
    assert frame.energy == -1.0


def test_three_thousand_frames_of_64_atoms_fit_the_store_blob_by_blob():
    rng = np.random.default_rng(0)
    structure = random_structure(0, ["Na", "Cl"] * 32)
    frames = [
        Frame(structure, rng.normal(), rng.normal(size=(64, 3)), rng.normal(size=(3, 3)))
        for _ in range(3000)
    ]
    blobs = pack_frame_blobs(frames)
    assert len(blobs) > 1
    assert max(len(blob.payload) for blob in blobs) <= MAX_BLOB_BYTES


def test_a_candidate_becomes_a_frame_with_the_labels_of_an_answer():
    candidate = Candidate(random_structure(0, ["Na", "Cl"]), "g", "why", score=1.0)
    bare = candidate.frame()
    assert (bare.group, bare.origin, bare.energy, bare.forces) == ("g", "why", None, None)
    answer = Evaluation(-1.0, np.ones((2, 3)), np.eye(3))
    frame = candidate.frame(answer)
    assert (frame.energy, frame.group, frame.magmoms) == (-1.0, "g", None)
    assert frame.forces is answer.forces
    assert frame.stress is answer.stress
