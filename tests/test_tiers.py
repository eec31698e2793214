"""The two tiers of the tests: `make test`, and the rest."""

import tomllib
from pathlib import Path

TESTS = Path(__file__).parent


def test_every_file_of_the_table_of_seconds_is_there():
    seconds = tomllib.loads((TESTS / "seconds.toml").read_text())
    assert [name for name in seconds if not (TESTS / name).is_file()] == []
    assert list(seconds.values()) == sorted(seconds.values(), reverse=True)
