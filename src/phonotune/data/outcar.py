"""Ionic steps of VASP from an OUTCAR, read line by line in one pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pymatgen.core import Lattice, Structure

from phonotune.data.vasp import (
    BROKEN,
    CUT_OFF,
    KILOBAR,
    ML_STEPS,
    NEB,
    NO_FULL_STRESS,
    NO_P_V,
    VECTORS,
    DamagedError,
    IonicStep,
    Say,
    number,
    silent,
    tell,
    whole_steps,
)
from phonotune.data.vasp_settings import OutcarHead, read_outcar_head
from phonotune.errors import FramesError
from phonotune.files import text_lines

if TYPE_CHECKING:
    from phonotune.ports import FloatArray

_ITERATION: Final = re.compile(r" Iteration\s+\d+\(\s*(\d+)\)")
_CELL: Final = re.compile(r"-?\d+\.\d{9}")
_ROW: Final = re.compile(r"\s*(-?\d+\.\d+\s*){6}")
_STRESS: Final = re.compile(r"-?\d+\.\d{1,5}")


def read_outcar(path: Path, say: Say = silent) -> list[IonicStep]:
    """Read every ionic step of an OUTCAR, plain or compressed.

    An OUTCAR has five decimals of positions; vasprun.xml, with eight, is the better source. A step is
    whole when its energy is printed, which VASP does last.

    Parameters
    ----------
    path
        The file.
    say
        Told what is left behind: steps of a machine-learned force field, vector moments, a stress that is
        not a full tensor, the end of a file that was cut off.

    Raises
    ------
    FramesError
        Not an OUTCAR with forces, or an image of a nudged elastic band.
    """
    steps: list[IonicStep] = []
    left: list[str] = []
    with whole_steps(steps, left, "an OUTCAR with forces"):
        lines = text_lines(path, DamagedError)
        head, cell, first = _read_head(lines)
        steps.extend(_read_steps(chain([first], lines), head, cell, left))
    return tell(steps, left, say)


def _read_head(lines: Iterable[str]) -> tuple[OutcarHead, FloatArray | None, str]:
    """Return the head, the cell it ends with, and the first line of the ionic steps."""
    head: list[str] = []
    line = ""
    for line in lines:
        if " Iteration " in line or "TOTAL-FORCE" in line or "ML FORCE on cell" in line:
            break
        head.append(line)
    known = read_outcar_head("\n".join(head))
    if known.value("NELM") is None or not known.counts:
        raise ValueError("its head does not tell NELM and the ions per type")
    if len(known.elements) != len(known.counts):
        raise ValueError(f"{len(known.elements)} POTCARs for {len(known.counts)} types of ions")
    if known.value("IMAGES"):
        raise FramesError(NEB)
    cells = [number for number, text in enumerate(head) if "direct lattice vectors" in text]
    return known, _cell(iter(head[cells[-1] + 1 :])) if cells else None, line


def _read_steps(
    lines: Iterator[str], head: OutcarHead, cell: FloatArray | None, left: list[str]
) -> Iterator[IonicStep]:
    """Yield the ionic steps; what is left behind is added to ``left``."""
    species = [e for e, n in zip(head.elements, head.counts, strict=True) for _ in range(n)]
    settings = head.settings
    limit = int(float(head.value("NELM") or 0))
    taken = 0
    table: list[str] = []
    stress: FloatArray | None = None
    moments: dict[str, list[float]] = {}
    of_ml = found = ended = False
    for line in lines:
        try:
            if " Iteration " in line:
                counted = _ITERATION.search(line)
                taken = int(counted[1]) if counted else taken + 1
                table, stress, moments, of_ml = [], None, {}, False
            elif "direct lattice vectors" in line:
                cell = _cell(lines)
            elif "TOTAL-FORCE" in line:
                next(lines)
                rows = list(islice(lines, len(species)))
                if _ROW.fullmatch(next(lines)):  # more rows than atoms
                    left.append(BROKEN)
                elif "(ML)" in line:
                    left.append(ML_STEPS)
                else:
                    table = rows
            elif "ML FORCE on cell" in line:
                of_ml = True
            elif line.lstrip().startswith("in kB"):
                if not of_ml:
                    xx, yy, zz, xy, yz, zx = map(float, _STRESS.findall(line))
                    stress = KILOBAR * np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
                of_ml = False
            elif line.startswith(" magnetization ("):
                moments[line[16]] = _moments(lines, len(species))
            elif "Edisp" in line and "IVDW" not in settings:
                settings["IVDW"] = "unnamed"
            elif "CHAIN + TOTAL" in line or "NEB: projections" in line:
                raise FramesError(NEB)
            elif "free  energy   TOTEN" in line and table:
                numbers = _numbers(table)
                if taken == 0 or cell is None:
                    left.append(BROKEN)
                    table = []
                    continue
                if head.value("ISIF") in (0.0, 1.0):
                    stress = None
                    left.append(NO_FULL_STRESS)
                if len(moments) > 1:
                    left.append(VECTORS)
                if head.value("PSTRESS"):
                    left.append(NO_P_V)
                found = True
                yield IonicStep(
                    structure=Structure(
                        Lattice(cell), species, numbers[:, :3], coords_are_cartesian=True
                    ),
                    energy=float(line.split("=")[1].split()[0]),
                    forces=numbers[:, 3:],
                    stress=stress,
                    n_electronic=taken,
                    max_electronic=limit,
                    settings=settings,
                    magmoms=np.array(moments["x"]) if moments.keys() == {"x"} else None,
                )
                taken, table = 0, []
            elif "General timing and accounting" in line:
                ended = True
        except StopIteration:  # the text ends within a table
            break
        except (ValueError, LookupError):
            left.append(BROKEN)
            taken, table, stress, moments, cell = 0, [], None, {}, None
    if found and not ended:
        left.append(CUT_OFF)


def _cell(lines: Iterator[str]) -> FloatArray:
    """Return the cell, rows in Å, of the three lines that follow its title."""
    return np.array([[float(x) for x in _CELL.findall(next(lines))[:3]] for _ in range(3)])


def _moments(lines: Iterator[str], n_atoms: int) -> list[float]:
    """Return the total moments of a table, µB; its title is read already."""
    for line in lines:
        if line.lstrip().startswith("---"):
            break
    return [float(next(lines).split()[-1]) for _ in range(n_atoms)]


def _numbers(table: list[str]) -> FloatArray:
    """Return positions and forces, shape (n_atoms, 6), Å and eV/Å; asterisks become NaN."""
    rows = []
    for line in table:
        words = line.split()
        if len(words) != 6:  # numbers that touch stand in columns: 3F13.5, 3X, 3F14.6
            ends = [13, 26, 39, 56, 70, 84]
            words = [line[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        rows.append([number(word) for word in words])
    return np.array(rows, dtype=np.float64)
