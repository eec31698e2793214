"""Training data of VASP's machine-learned force fields: ML_AB, ML_ABN.

The file holds the DFT labels of configurations, of one or several systems, and no settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pymatgen.core import Lattice, Structure

from phonotune.data.vasp import (
    CUT_OFF,
    KILOBAR,
    UNREADABLE,
    DamagedError,
    IonicStep,
    Say,
    first_line,
    silent,
    tell,
)
from phonotune.errors import FramesError
from phonotune.files import text_lines

if TYPE_CHECKING:
    from phonotune.ports import FloatArray

BROKEN: Final = "A configuration of ML_AB that cannot be read is left out"
_START: Final = "configuration num."


def read_ml_ab(path: Path, say: Say = silent) -> list[IonicStep]:
    """Read every configuration of an ML_AB or ML_ABN, plain or compressed.

    Positions are Cartesian; the stress is in kB and VASP's sign, xx yy zz, then xy yz zx.

    Parameters
    ----------
    path
        The file.
    say
        Told of configurations that cannot be read, and of a file that ends early.

    Raises
    ------
    FramesError
        Not an ML_AB with forces.
    """
    steps: list[IonicStep] = []
    left: list[str] = []
    wanted = 0
    try:
        sections: dict[str, list[str]] = {}
        for title, rows in _sections(text_lines(path, DamagedError)):
            if title == "the number of configurations":
                wanted = int(rows[0])
            if title.startswith(_START):
                sections = {}
            sections[title] = rows
            if title == "xy yz zx":  # the last part of a configuration
                try:
                    steps.append(_configuration(sections))
                except (ValueError, LookupError):
                    left.append(BROKEN)
    except DamagedError:
        if not steps:
            raise
    except UNREADABLE as error:
        if not steps:
            raise FramesError(f"not an ML_AB with forces ({first_line(error)})") from error
    if steps and len(steps) + left.count(BROKEN) < wanted:
        left.append(CUT_OFF)
    return tell(steps, left, say)


def _sections(lines: Iterator[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield title and rows of each part; rules of asterisks, equals signs and minus signs stand between."""
    title, rows, rule = "", list[str](), ""
    for line in filter(None, map(str.strip, lines)):
        if set(line) <= set("*=-") and len(line) > 2:
            rule = line[0]
        elif rule in ("*", "=") or line.upper() in ("XX YY ZZ", "XY YZ ZX"):
            if title:
                yield title, rows
            title, rows, rule = line.lower(), [], ""
        else:
            rows.append(line)
    if title:
        yield title, rows


def _configuration(sections: dict[str, list[str]]) -> IonicStep:
    """Return one configuration from its parts; ValueError or LookupError where a part is wrong."""
    kinds = [row.split()[:2] for row in sections["atom types and atom numbers"]]
    species = [symbol for symbol, count in kinds for _ in range(int(count))]
    stress = np.zeros((3, 3))
    stress[[0, 1, 2], [0, 1, 2]] = _numbers(sections["xx yy zz"], 1)[0]
    stress[[0, 1, 2], [1, 2, 0]] = stress[[1, 2, 0], [0, 1, 2]] = _numbers(sections["xy yz zx"], 1)[
        0
    ]
    return IonicStep(
        structure=Structure(
            Lattice(_numbers(sections["primitive lattice vectors (ang.)"], 3)),
            species,
            _numbers(sections["atomic positions (ang.)"], len(species)),
            coords_are_cartesian=True,
        ),
        energy=float(sections["total energy (ev)"][0]),
        forces=_numbers(sections["forces (ev ang.^-1)"], len(species)),
        stress=KILOBAR * stress,
        n_electronic=None,
        max_electronic=0,
    )


def _numbers(rows: list[str], n_rows: int) -> FloatArray:
    """Return rows of three numbers, shape (n_rows, 3); ValueError if they are not that many, or infinite."""
    numbers = np.array([row.split() for row in rows], dtype=np.float64).reshape(n_rows, 3)
    if not np.isfinite(numbers).all():
        raise ValueError("a number is not finite")
    return numbers
