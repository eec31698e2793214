from collections.abc import Callable

import numpy as np
import pytest

from phonotune.data.checks import check_frame
from phonotune.errors import FramesError
from phonotune.schemas.dataset import Frame

MakeFrame = Callable[..., Frame]


def test_a_sound_frame_passes_with_and_without_labels(make_frame: MakeFrame) -> None:
    check_frame(make_frame(), "here")
    check_frame(make_frame(energy=None, forces=None, stress=None), "here")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy": np.inf}, "energy is inf"),
        ({"forces": np.zeros((7, 3))}, r"shape \(7, 3\); \(8, 3\)"),
        ({"forces": np.full((8, 3), np.nan)}, "24 of 24 numbers"),
        ({"stress": np.zeros(6)}, r"shape \(6,\); \(3, 3\)"),
        ({"stress": np.full((3, 3), np.inf)}, "stress hold NaN"),
        ({"stress": np.arange(9.0).reshape(3, 3)}, "not symmetric"),
    ],
)
def test_a_bad_label_is_named_with_its_place(
    make_frame: MakeFrame, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(FramesError, match=f"here: .*{message}"):
        check_frame(make_frame(**changes), "here")
