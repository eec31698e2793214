"""A file is replaced as a whole or not at all; a lock ends with its holder; text is read in any packing."""

import bz2
import gzip
import lzma
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from phonotune.errors import InputError
from phonotune.files import (
    compressing,
    read_text,
    replacing,
    text_lines,
    try_lock,
    unlock,
    write_atomically,
)

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


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_what_is_written_under_a_name_of_compressed_files_is_compressed(
    tmp_path: Path, suffix: str, opener: Any
) -> None:
    path = tmp_path / f"a.txt{suffix}"
    with replacing(path) as plain, compressing(plain, path.name) as file:
        file.write("one\nÅ\n".encode())
    assert opener.open(path, "rt", encoding="utf-8").read() == "one\nÅ\n"
    assert list(text_lines(path, InputError)) == ["one", "Å"]
    again = tmp_path / f"b.txt{suffix}"
    with replacing(again) as plain, compressing(plain, again.name) as file:
        file.write("one\nÅ\n".encode())
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        "eins\nzwölf".encode(),
        b"\xef\xbb\xbf" + "eins\r\nzwölf\r\n".encode(),
        "eins\nzwölf\n".encode("latin-1"),
        "eins\r\nzwölf\r\n".encode("utf-16"),
        gzip.compress("eins\nzwölf\n".encode("latin-1")),
    ],
    ids=["utf-8", "utf-8 with BOM", "latin-1", "utf-16", "latin-1, compressed"],
)
def test_text_of_any_encoding_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert read_text(tmp_path / "a.txt", InputError) == "eins\nzwölf"


TEXT = random.Random(1).randbytes(3000).hex().encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(TEXT)[:-100], "is cut off or damaged"),
        (bz2.compress(TEXT)[:-100], "is cut off or damaged"),
        (lzma.compress(TEXT)[:-100], "is cut off or damaged"),
        (gzip.compress(TEXT)[:100] + b"junk" + gzip.compress(TEXT)[104:], "is cut off or damaged"),
        (bz2.compress(TEXT)[:100] + b"junk" + bz2.compress(TEXT)[104:], "cannot be read"),
        (lzma.compress(TEXT)[:100] + b"junk" + lzma.compress(TEXT)[104:], "is cut off or damaged"),
        (b"\xff\xfea", "is cut off or damaged"),
        (b"PK\x03\x04" + TEXT, "unpack it"),
        (gzip.compress(b"a.txt".ljust(257, b"\0") + b"ustar" + TEXT), "unpack it"),
        (None, "does not exist"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_no_text_is_refused_in_a_sentence(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "a.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path} .*{message}"):
        read_text(path, InputError)


def test_a_folder_in_place_of_a_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path, InputError)
