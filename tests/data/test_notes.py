from phonotune.data.notes import Notes


def test_a_kind_is_said_once_with_its_count_and_where_it_was_met_first() -> None:
    notes = Notes()
    notes.add("Virials are left behind", "a.extxyz, frame 1")
    notes.add("Moments are left behind", "b.extxyz, frame 3")
    notes.add("Virials are left behind", "a.extxyz, frame 2", 4)
    assert list(map(str, notes.values())) == [
        "Virials are left behind (5 times, first in a.extxyz, frame 1).",
        "Moments are left behind (b.extxyz, frame 3).",
    ]
