from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from phonotune.data.duplicates import SAME_POSITION, DuplicateSearch, match_atoms
from phonotune.data.identity import Snapshot, dataset_hash, frame_hash, frame_key
from phonotune.schemas.dataset import Frame

MakeFrame = Callable[..., Frame]


def hash_of(train: Iterable[Frame], valid: Iterable[Frame], labeller: str) -> str:
    return dataset_hash(map(frame_hash, train), map(frame_hash, valid), labeller)


def rattled(seed: int, atoms: int = 6) -> Snapshot:
    rng = np.random.default_rng(seed)
    cell = np.eye(3) * 6 + rng.normal(scale=0.3, size=(3, 3))
    return Snapshot(np.repeat([11, 17], atoms // 2), cell, rng.random((atoms, 3)))


def disguised(snapshot: Snapshot, rng: np.random.Generator, noise: float = 0.0) -> Snapshot:
    """The same crystal: atoms in another order, moved by whole cells, shaken by ``noise`` Å."""
    order = rng.permutation(len(snapshot.numbers))
    images = rng.integers(-3, 4, size=snapshot.positions.shape)
    shake = rng.uniform(-1, 1, size=snapshot.positions.shape)
    shake *= noise / np.linalg.norm(shake, axis=1, keepdims=True).max()
    positions = snapshot.positions + images + shake @ np.linalg.inv(snapshot.cell)
    return Snapshot(snapshot.numbers[order], snapshot.cell, positions[order])


def find_duplicates(snapshots: Sequence[Snapshot]) -> list[int]:
    search = DuplicateSearch()
    for snapshot in snapshots:
        search.add(snapshot)
    return search.first_equal(lambda wanted: {i: snapshots[i] for i in wanted})


def as_frame(snapshot: Snapshot, seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    structure = Structure(
        Lattice(snapshot.cell), list(map(int, snapshot.numbers)), snapshot.positions
    )
    return Frame(structure, 1.0 / 3, rng.normal(size=snapshot.positions.shape), np.eye(3) / 7)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_key_does_not_see_periodic_images_nor_the_order_of_atoms(seed: int) -> None:
    one = rattled(seed)
    other = disguised(one, np.random.default_rng(seed))
    assert frame_key(as_frame(one).structure) == frame_key(as_frame(other).structure)


def test_a_key_sees_structure_cell_elements_and_protocol() -> None:
    one = rattled(0)
    moved = replace(one, positions=one.positions + np.eye(6, 3) * 1e-5)
    keys = {
        frame_key(as_frame(snapshot).structure, protocol)
        for snapshot, protocol in (
            (one, ""),
            (one, "a"),
            (moved, ""),
            (replace(one, cell=one.cell * 1.000001), ""),
            (replace(one, numbers=one.numbers[::-1].copy()), ""),
        )
    }
    assert len(keys) == 5


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1 / 3, 1 / 64, 1 / 512, 0.12345, 0.999999999])
def test_a_key_survives_the_last_bits_of_a_position(fraction: float) -> None:
    structures = [
        Structure(Lattice.cubic(4), ["Cs"], [[fraction + shift, 0.25, 0.75]])
        for shift in (-1e-15, 0.0, 1e-15, 1.0)
    ]
    assert len(set(map(frame_key, structures))) == 1


def test_the_hash_of_a_dataset_does_not_see_the_order_of_frames_or_atoms(
    make_frame: MakeFrame,
) -> None:
    frames = [make_frame() for _ in range(4)]
    order = np.random.default_rng(1).permutation(8)
    turned = [
        replace(
            frame,
            structure=Structure.from_sites([frame.structure[int(i)] for i in order]),
            forces=None if frame.forces is None else frame.forces[order],
        )
        for frame in frames
    ]
    assert hash_of(frames[:3], frames[3:], "t") == hash_of(turned[2::-1], turned[3:], "t")
    wrong = replace(turned[0], forces=frames[0].forces)
    assert frame_hash(wrong) != frame_hash(frames[0])


def test_the_hash_of_a_frame_sees_protocol_and_moments_where_there_are_any(
    make_frame: MakeFrame,
) -> None:
    frame = make_frame()
    others = (
        replace(frame, protocol="a"),
        replace(frame, magmoms=np.zeros(8)),
        replace(frame, magmoms=np.arange(8.0)),
    )
    assert len({frame_hash(f) for f in (frame, *others)}) == 4
    assert frame_hash(replace(frame, group="x", origin="y")) == frame_hash(frame)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.sampled_from([0.0, 0.5, 0.9]))
def test_duplicates_are_found_in_any_disguise_and_nothing_else_is(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    different = [rattled(seed + i) for i in range(6)]
    copied = rng.integers(0, 6, size=5)
    copies = [disguised(different[i], rng, noise * SAME_POSITION) for i in copied]
    assert find_duplicates([*different, *copies]) == [*range(6), *copied.tolist()]


def test_atoms_further_apart_than_the_tolerance_are_two_frames() -> None:
    one = rattled(3)
    for shift, first in ((0.9, 0), (1.1, 1)):
        positions = one.positions.copy()
        positions[2] += shift * SAME_POSITION * np.linalg.inv(one.cell)[0]
        assert find_duplicates([one, replace(one, positions=positions)]) == [0, first]


def test_two_cells_of_equal_positions_are_two_frames() -> None:
    one = rattled(4)
    assert find_duplicates([one, replace(one, cell=one.cell + 1e-3)]) == [0, 1]


def test_matching_atoms_gives_the_order_that_undoes_a_shuffle() -> None:
    one = rattled(5)
    other = disguised(one, np.random.default_rng(5))
    order = match_atoms(one, other)
    assert order is not None
    apart = one.positions - other.positions[order]
    np.testing.assert_allclose(apart, np.rint(apart), atol=1e-12)
    assert match_atoms(one, rattled(6)) is None


def test_many_copies_of_one_frame_have_one_first() -> None:
    one = rattled(7)
    assert find_duplicates([rattled(8), one, one, rattled(9), one]) == [0, 1, 1, 3, 1]
