from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phonotune.data.assemble import assemble, assemble_given
from phonotune.data.versions import append
from phonotune.errors import FramesError
from phonotune.schemas.dataset import DatasetDocument, Frame

MakeFrame = Callable[..., Frame]


@pytest.fixture
def dataset(make_frame: MakeFrame) -> DatasetDocument:
    frames = [make_frame(group=f"g{i // 2}") for i in range(8)]
    return assemble(frames, labeller="teacher", valid_groups=["g1"])


def groups_of(frames: list[Frame]) -> set[str]:
    return {frame.group for frame in frames}


def test_a_new_version_names_its_parent_and_leaves_it_as_it_was(
    dataset: DatasetDocument, make_frame: MakeFrame
) -> None:
    before = deepcopy(dataset.model_dump())
    new = append(dataset, [make_frame(group="new"), make_frame(group="g1")])
    assert dataset.model_dump() == before
    assert (new.version, new.parent_hash) == (2, dataset.dataset_hash)
    assert new.dataset_hash != dataset.dataset_hash
    assert groups_of(new.valid_frames()) == {"g1"}
    assert groups_of(new.train_frames()) == {"g0", "g2", "g3", "new"}
    assert new.split is not None
    assert (new.split.how, new.split.train_groups, new.split.valid_groups) == ("inherited", 4, 1)
    third = append(new, [make_frame(group="more")])
    assert (third.version, third.parent_hash) == (3, new.dataset_hash)


def test_new_groups_validate_where_they_are_named(
    dataset: DatasetDocument, make_frame: MakeFrame
) -> None:
    new = append(dataset, [make_frame(group="new")], valid_groups=["new"])
    assert groups_of(new.valid_frames()) == {"g1", "new"}


@pytest.mark.parametrize(("group", "why"), [("g0", "trains already"), ("typo", "has no frame")])
def test_a_group_that_cannot_validate_is_refused(
    dataset: DatasetDocument, make_frame: MakeFrame, group: str, why: str
) -> None:
    with pytest.raises(FramesError, match=f"'{group}' cannot validate: it {why}"):
        append(dataset, [make_frame(group="new")], valid_groups=[group])


def test_frames_that_are_there_already_make_no_version(dataset: DatasetDocument) -> None:
    assert append(dataset, dataset.frames()[:3]) is dataset


def test_a_copy_in_another_group_stays_on_the_side_of_the_first(dataset: DatasetDocument) -> None:
    bare = dataset.model_copy()
    old = bare.valid_frames()[0]
    richer = replace(old, group="elsewhere", magmoms=np.ones(8))
    new = append(bare, [richer])
    assert len(new.frames()) == 8
    assert groups_of(new.valid_frames()) == {"g1"}
    assert sum(frame.magmoms is not None for frame in new.valid_frames()) == 1
    assert new.n_duplicates == 1


def test_another_protocol_is_refused_unless_allowed(
    dataset: DatasetDocument, make_frame: MakeFrame
) -> None:
    other = make_frame(group="new", labeller="vasp", protocol="b")
    with pytest.raises(FramesError, match="Mixed protocols"):
        append(dataset, [other])
    assert append(dataset, [other], allow_mixed=True).mixed


def test_a_split_that_somebody_tore_stays_torn_and_says_so(make_frame: MakeFrame) -> None:
    frames = [make_frame(group="one") for _ in range(4)]
    given_split = assemble_given(frames[:3], frames[3:], labeller="t")
    new = append(given_split, [make_frame(group="one"), make_frame(group="two")])
    assert new.split is not None
    assert new.split.torn_groups == ["one"]
    assert len(new.valid) == 1


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(groups=st.lists(st.sampled_from(["g0", "g1", "g4", "g5"]), min_size=1, max_size=6))
def test_no_append_moves_a_group_to_the_other_side(
    dataset: DatasetDocument, make_frame: MakeFrame, groups: list[str]
) -> None:
    new = append(dataset, [make_frame(group=group) for group in groups])
    assert groups_of(new.valid_frames()) == {"g1"}
    assert groups_of(new.train_frames()).isdisjoint({"g1"})
    assert sorted(new.train + new.valid) == list(range(8 + len(groups)))
