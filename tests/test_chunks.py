"""Chunks hold every item once, in order, and no more than they may."""

from itertools import chain, count, islice

import pytest

from phonotune.chunks import chunked


@pytest.mark.parametrize(
    ("most", "limit", "expected"),
    [
        (2, None, [[3, 1], [4, 1], [5]]),
        (None, 4, [[3, 1], [4], [1], [5]]),
        (None, 5, [[3, 1], [4, 1], [5]]),
        (1, 5, [[3], [1], [4], [1], [5]]),
        (None, 2, [[3], [1], [4], [1], [5]]),
        (None, None, [[3, 1, 4, 1, 5]]),
    ],
)
def test_chunks_are_bounded_by_number_and_by_size(
    most: int | None, limit: float | None, expected: list[list[int]]
) -> None:
    found = list(chunked([3, 1, 4, 1, 5], most, size=float, limit=limit))
    assert found == expected
    assert list(chain(*found)) == [3, 1, 4, 1, 5]


def test_nothing_makes_no_chunk() -> None:
    assert list(chunked([], 3)) == []


def test_items_are_taken_no_earlier_than_needed() -> None:
    endless = count()
    assert list(islice(chunked(endless, 10), 2)) == [list(range(10)), list(range(10, 20))]
    assert next(endless) <= 21
