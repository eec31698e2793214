from collections.abc import Callable, Iterable

import pytest

from phonotune.data.protocols import ProtocolGuard
from phonotune.data.vasp_settings import protocol_of, settings_text
from phonotune.errors import FramesError
from phonotune.schemas.dataset import Frame

MakeFrame = Callable[..., Frame]


def check_one_protocol(frames: Iterable[Frame], allow_mixed: bool = False) -> bool:
    guard = ProtocolGuard(allow_mixed)
    for frame in frames:
        guard.add(frame)
    return guard.mixed


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
    one = settings_text({"ENMAX": "300", "PREC": "a"})
    other = settings_text({"ENMAX": "520", "PREC": "a", "IVDW": "11"})
    guard = ProtocolGuard()
    guard.add(make_frame(labeller="vasp", protocol="a", settings=one))
    with pytest.raises(FramesError, match=r"\(ENMAX 300 and 520, IVDW unset and 11\)"):
        guard.add(make_frame(labeller="vasp", protocol="b", settings=other))


def test_imported_frames_and_labelled_ones_of_equal_settings_are_of_one_protocol(
    make_frame: MakeFrame,
) -> None:
    settings = {"ENMAX": "520", "POTCAR Na": "PAW_PBE Na 08Apr2002"}
    text = settings_text(settings)
    imported = make_frame(labeller="vasp", protocol=protocol_of(settings), settings=text)
    labelled = make_frame(labeller="vasp", protocol="label", settings=text)
    assert not check_one_protocol([imported, labelled, imported])
    denser = make_frame(labeller="vasp", protocol="denser k-points", settings=text)
    for pair in ([labelled, denser], [imported, labelled, denser]):
        with pytest.raises(FramesError, match=r"'vasp label'.*'vasp denser k-points'"):
            check_one_protocol(pair)
    other = make_frame(labeller="vasp", protocol="label", settings=text + "; SIGMA = 0.2")
    with pytest.raises(FramesError, match=r"SIGMA unset and 0\.2"):
        check_one_protocol([imported, other])


def test_potcars_of_another_release_are_another_protocol(make_frame: MakeFrame) -> None:
    frames = [
        make_frame(labeller="vasp", protocol="a", settings=settings_text({"POTCAR Na": title}))
        for title in ("PAW_PBE Na 08Apr2002", "PAW_PBE Na 31Dec2022")
    ]
    with pytest.raises(FramesError, match="POTCAR Na PAW_PBE Na 08Apr2002 and PAW_PBE Na 31Dec"):
        check_one_protocol(frames)
    chlorine = make_frame(
        labeller="vasp", protocol="a", settings=settings_text({"POTCAR Cl": "PAW_PBE Cl 06Sep2000"})
    )
    assert not check_one_protocol([frames[0], chlorine])
