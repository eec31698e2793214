from collections.abc import Callable

import pytest

from phonotune.data.mixing import ProtocolGuard, check_one_protocol
from phonotune.errors import FramesError
from phonotune.schemas.dataset import Frame

MakeFrame = Callable[..., Frame]


def test_one_protocol_or_none_at_all_passes(make_frame: MakeFrame) -> None:
    assert not check_one_protocol([make_frame(), make_frame()])
    assert not check_one_protocol([make_frame(labeller="vasp", protocol="a")] * 2)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"labeller": "vasp", "protocol": "b"}, "'vasp b'"),
        ({"labeller": "teacher", "protocol": "a"}, "'teacher a'"),
        ({}, "an unknown protocol"),
    ],
)
def test_a_second_protocol_is_refused_by_name_unless_allowed(
    make_frame: MakeFrame, other: dict[str, str], message: str
) -> None:
    frames = [make_frame(labeller="vasp", protocol="a"), make_frame(**other)]
    with pytest.raises(FramesError, match=f"Mixed protocols: .*'vasp a'.*{message}.*--allow-mixed"):
        check_one_protocol(frames)
    assert check_one_protocol(frames, allow_mixed=True)


def test_the_message_names_the_settings_that_differ(make_frame: MakeFrame) -> None:
    settings = {
        "a": {"ENMAX": "300", "PREC": "a"},
        "b": {"ENMAX": "520", "PREC": "a", "IVDW": "11"},
    }
    guard = ProtocolGuard(settings=settings)
    guard.add(make_frame(labeller="vasp", protocol="a"))
    with pytest.raises(FramesError, match=r"\(ENMAX 300 and 520, IVDW unset and 11\)"):
        guard.add(make_frame(labeller="vasp", protocol="b"))
