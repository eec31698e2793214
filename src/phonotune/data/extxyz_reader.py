"""Frames of an extxyz file as ASE sees them, in the dialects that other programs write.

Beyond what ASE reads: compressed files, any encoding, ``lattice`` and ``properties`` in lower case (NEP),
numbers in Fortran's notation (``1.0D-03``), six numbers of stress, blank lines between frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase.io.extxyz import XYZError, key_val_str_to_dict, read_xyz

from phonotune.errors import FramesError
from phonotune.files import text_lines
from phonotune.schemas.masses import ISOTOPES

if TYPE_CHECKING:
    from ase import Atoms

_UNREADABLE: Final = (
    *(XYZError, ValueError, ArithmeticError, AssertionError),
    *(LookupError, TypeError, AttributeError),
)
_COUNT: Final = re.compile(r"\s*\d{1,12}\s*")
_SPECIAL: Final = re.compile(
    r""" ("(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \{[^}]*\} | \[[^]]*\])
    | (?<!\S) (Lattice|stress|virial) (?=\s*=) """,
    re.VERBOSE,
)
"""A quoted value, or a key for which ASE takes nothing but nine numbers."""
_FORTRAN: Final = re.compile(r"(?<!\S)([-+]?(?:\d+\.?\d*|\.\d+))[dD]([-+]?\d+)(?!\S)")


@dataclass(frozen=True)
class Block:
    """The lines of one frame.

    Attributes
    ----------
    where
        File and number of the frame, for messages.
    number
        Of the frame, counted from 1.
    lines
        Number of atoms, header, atoms; after them lines ``VEC`` of a cell if there are any.
    """

    where: str
    number: int
    lines: tuple[str, ...]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.lines[0])

    @cached_property
    def header(self) -> dict[str, Any]:
        """What the header states, by name; FramesError if it cannot be read."""
        try:
            return _parse_header(self.lines[1])
        except _UNREADABLE as error:
            raise self._unreadable(error) from error

    def image(self) -> Atoms:
        """Return the frame as ASE sees it; FramesError if it cannot be read."""
        count, header, *atoms = self.lines
        try:
            if self.extra_columns() < 0:  # ASE would make any number of columns
                raise ValueError("Properties names more columns than the first atom has")
            try:
                return self._read(count, header, *atoms)
            except KeyError as error:
                if error.args[0] not in ISOTOPES:
                    raise
                return self._with_isotopes(count, header, atoms)
            except ValueError:
                return self._read(count, header, *(_FORTRAN.sub(r"\1e\2", row) for row in atoms))
        except _UNREADABLE as error:
            raise self._unreadable(error) from error

    def _with_isotopes(self, count: str, header: str, atoms: list[str]) -> Atoms:
        """Return a frame that names atoms D or T: H for ASE, with their masses."""
        names = str(self.header.get("Properties", "species:S:1:pos:R:3")).split(":")
        widths = dict(zip(names[::3], map(int, names[2::3]), strict=True))
        column = sum(list(widths.values())[: list(widths).index("species")])
        rows = [line.split() for line in atoms[: int(count)]]
        isotopes = [ISOTOPES.get(row[column]) for row in rows]
        for row, mass in zip(rows, isotopes, strict=True):
            row[column] = row[column] if mass is None else "H"
        image = self._read(count, header, *map(" ".join, rows), *atoms[int(count) :])
        masses = image.get_masses()
        image.set_masses([own or m for own, m in zip(isotopes, masses, strict=True)])
        return image

    def extra_columns(self) -> int:
        """Return how many columns of the first atom ``Properties`` does not name."""
        named = str(self.header.get("Properties", "species:S:1:pos:R:3")).split(":")[2::3]
        there = len(self.lines[2].split()) if self.n_atoms else 0
        return there - sum(map(int, named))

    def _read(self, *lines: str) -> Atoms:
        text = StringIO("\n".join(lines) + "\n")
        image: Atoms = next(read_xyz(text, 0, properties_parser=lambda _: dict(self.header)))
        return image

    def _unreadable(self, error: Exception) -> FramesError:
        kind = "" if isinstance(error, XYZError | ValueError) else f"{type(error).__name__}: "
        why = f"{kind}{error}".removeprefix("ase.io.extxyz: ").rstrip(".")
        return FramesError(f"{self.where} cannot be read as extxyz ({why}).")


def iter_blocks(path: Path, name: str | None = None) -> Iterator[Block]:
    """Yield the frames of an extxyz file as lines, one by one; memory does not grow with the file.

    Parameters
    ----------
    path
        The file.
    name
        What messages call it; None: its path.

    Raises
    ------
    FramesError
        No file, or none with frames; a number of atoms that is none; a file that is cut off or damaged, after
        the whole frames before the damage.
    """
    if path.is_dir():
        raise FramesError(f"{path} is a folder; an extxyz file is needed.")
    if not path.is_file():
        raise FramesError(f"{path} does not exist; an extxyz file is needed. Check the path.")
    lines = text_lines(path, FramesError)
    number = 0
    line = next(lines, None)
    while line is not None:
        if not line.strip():
            line = next(lines, None)
            continue
        number += 1
        where = f"{name or path}, frame {number}"
        if not _COUNT.fullmatch(line):
            raise FramesError(
                f"{where} cannot be read as extxyz (it begins with {line.strip()[:40]!r}, not with a number "
                "of atoms). Frames of VASP, phonopy or ASE are turned into extxyz by `phonotune import`."
            )
        count = int(line)
        body = list(islice(lines, 1 + count))
        if len(body) < 1 + count:
            raise FramesError(
                f"{where} cannot be read as extxyz (the file ends after {max(len(body) - 1, 0)} of "
                f"{count} atoms)."
            )
        line = next(lines, None)
        while line is not None and line.lstrip().startswith("VEC"):
            body.append(line)
            line = next(lines, None)
        yield Block(where, number, (str(count), *body))
    if not number:
        raise FramesError(f"{path} holds no frame; at least one is needed.")


def iter_images(path: Path) -> Iterator[Atoms]:
    """Read the frames of an extxyz file as ASE sees them, one by one; FramesError as :func:`iter_blocks`."""
    for block in iter_blocks(path):
        yield block.image()


def header_keys(path: Path, name: str | None = None) -> set[str]:
    """Return the names of everything in the headers of an extxyz file, without reading its atoms.

    Parameters
    ----------
    path, name
        As in :func:`iter_blocks`.

    Raises
    ------
    FramesError
        No header can be read.
    """
    found: set[str] = set()
    try:
        for block in iter_blocks(path, name):
            info = dict(block.header)
            found.update(str(info.pop("Properties", "")).split(":")[::3], info)
    except FramesError:
        if not found:
            raise
    return found - {"species", "pos", "Lattice", "pbc", ""}


def _parse_header(line: str) -> dict[str, Any]:
    """Parse a header with ASE's grammar, but for the keys that it wants nine numbers of."""
    hidden = key_val_str_to_dict(_SPECIAL.sub(lambda m: m[1] or f"_{m[2]}", line))
    info: dict[str, Any] = {}
    for key, value in hidden.items():
        name = key[1:] if key in ("_Lattice", "_stress", "_virial") else key
        name = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}.get(
            name.lower(), name
        )
        words = value.split() if isinstance(value, str) else []
        if any(map(_FORTRAN.fullmatch, words)):
            with suppress(ValueError):
                numbers = [float(_FORTRAN.sub(r"\1e\2", word)) for word in words]
                value = np.array(numbers) if len(words) > 1 else numbers[0]
        if name in ("stress", "virial") and not np.issubdtype(np.asarray(value).dtype, np.number):
            raise ValueError(f"{name} is {value!r}; numbers are needed")
        info[name] = value
    if "Lattice" in info:
        if np.shape(info["Lattice"]) not in ((9,), (3, 3)):
            raise ValueError(
                f"Lattice has shape {np.shape(info['Lattice'])}; nine numbers are needed"
            )
        rows = np.asarray(info["Lattice"], dtype=float).reshape(3, 3)
        info["Lattice"] = rows.T  # ASE takes the columns
    return info
