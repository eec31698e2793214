"""A file is replaced as a whole or not at all; a lock is free when its holder is gone."""

import subprocess
import sys
from pathlib import Path

import pytest

from phonotune.files import replacing, try_lock, unlock, write_atomically

HOLD = """
import sys, time
from phonotune.files import try_lock
file = open(sys.argv[1])
print(try_lock(file), flush=True)
time.sleep(60)
"""


def test_a_file_is_replaced_with_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, "old")
    write_atomically(path, "Å")
    assert path.read_text(encoding="utf-8") == "Å"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def stop_half_way() -> None:
        with replacing(path) as file:
            file.write(b"new")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        stop_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as first:
        first.write(b"first")
        write_atomically(path, "second")
    assert path.read_bytes() == b"first"


def test_one_holds_a_lock_alone_and_several_share_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as one, path.open() as two, path.open() as three:
        assert try_lock(one)
        assert not try_lock(two)
        assert not try_lock(two, shared=True)
        unlock(one)
        assert try_lock(two, shared=True)
        assert try_lock(three, shared=True)
        assert not try_lock(one)


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout, path.open() as file:
        assert holder.stdout.readline() == "True\n"
        assert not try_lock(file)
        holder.kill()
        holder.wait()
        assert try_lock(file)
