import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonotune.data.split import check_whole_groups, split_by_group, torn_groups
from phonotune.errors import ConfigError, FramesError, PhonotuneError

LAYOUTS = st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=40).filter(
    lambda groups: len(set(groups)) > 1
)


@settings(max_examples=1000, deadline=None)
@given(groups=LAYOUTS, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**32 - 1))
def test_groups_are_never_torn_apart_and_every_frame_is_used_once(
    groups: list[str], fraction: float, seed: int
) -> None:
    train, valid = split_by_group(groups, valid_fraction=fraction, rng=np.random.default_rng(seed))
    assert train
    assert valid
    assert sorted(train + valid) == list(range(len(groups)))
    assert {groups[i] for i in train}.isdisjoint({groups[i] for i in valid})


@settings(max_examples=50, deadline=None)
@given(groups=LAYOUTS, data=st.data())
def test_named_groups_validate_and_no_other(groups: list[str], data: st.DataObject) -> None:
    names = sorted(set(groups))
    chosen = data.draw(
        st.lists(st.sampled_from(names), min_size=1, max_size=len(names) - 1, unique=True)
    )
    train, valid = split_by_group(groups, valid_groups=chosen)
    assert {groups[i] for i in valid} == set(chosen)
    assert {groups[i] for i in train} == set(names) - set(chosen)


@pytest.mark.parametrize("n_valid", [1, 2, 5, 9])
def test_groups_of_one_frame_give_exactly_the_fraction(n_valid: int) -> None:
    groups = [str(i) for i in range(10)]
    _, valid = split_by_group(groups, valid_fraction=n_valid / 10, rng=np.random.default_rng(0))
    assert len(valid) == n_valid


def test_the_generator_alone_decides_the_split() -> None:
    groups = [str(i // 2) for i in range(20)]
    splits = [
        split_by_group(groups, valid_fraction=0.3, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    assert splits[0] == splits[1]
    assert splits[0] != splits[2]


@pytest.mark.parametrize(
    ("groups", "how", "error", "message"),
    [
        (["a", "a"], {"valid_groups": ["a"]}, FramesError, "at least two groups"),
        ([], {"valid_groups": ["a"]}, FramesError, "at least two groups"),
        (["a", "b"], {"valid_groups": ["c"]}, FramesError, "groups found: a, b"),
        (["a", "b"], {"valid_groups": ["a", "b"]}, FramesError, "left to train"),
        (["a", "b"], {"valid_groups": []}, FramesError, "left to validate"),
        (["a", "b"], {}, ConfigError, "exactly one"),
        (["a", "b"], {"valid_groups": ["a"], "valid_fraction": 0.5}, ConfigError, "exactly one"),
        (["a", "b"], {"valid_fraction": 1.0}, ConfigError, "between 0 and 1"),
        (["a", "b"], {"valid_fraction": 0.5}, ConfigError, "numpy Generator"),
    ],
)
def test_a_split_that_is_not_possible_is_refused(
    groups: list[str], how: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        split_by_group(groups, **how)


def test_a_torn_group_is_named_and_never_passes() -> None:
    groups = ["a", "a", "b", "c"]
    assert torn_groups(groups, [0, 3], [1, 2]) == ["a"]
    with pytest.raises(PhonotuneError, match=r"tore the groups \['a'\]"):
        check_whole_groups(groups, [0, 3], [1, 2])
    with pytest.raises(PhonotuneError, match="lost frames"):
        check_whole_groups(groups, [0, 1], [2])
    check_whole_groups(groups, [3, 0, 1], [2])


def test_an_unknown_group_among_very_many_names_only_some() -> None:
    with pytest.raises(FramesError, match=r"groups found: 0, 1, .*9 and 990 more\.") as error:
        split_by_group([str(i) for i in range(1000)], valid_groups=["x"])
    assert len(str(error.value)) < 200
