"""Images of ASE's own files: trajectories (``.traj``) and databases (``.db``)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from ase.io import iread as ase_iread
from ase.stress import voigt_6_to_full_3x3_stress

from phonotune.errors import FramesError

if TYPE_CHECKING:
    from ase import Atoms

ASE_FILES: Final = (".traj", ".db")
"""Endings of their names."""
_UNREADABLE: Final = (
    *(OSError, EOFError, ArithmeticError, AssertionError, AttributeError, LookupError),
    *(MemoryError, sqlite3.Error, SyntaxError, TypeError, ValueError),
)


def iter_ase_images(path: Path) -> Iterator[Atoms]:
    """Yield the images of a trajectory or a database; a stress, six numbers by ASE's rule, as nine.

    Key-value pairs and data of a database are in ``info``.

    Raises
    ------
    FramesError
        Not such a file, or a part of one, after the images before the damage; no image in it.
    """
    found = False
    try:
        for atoms in _rows(path) if path.suffix.lower() == ".db" else ase_iread(path, ":", "traj"):
            found = True
            results = {} if atoms.calc is None else atoms.calc.results
            if np.shape(results.get("stress", 0.0)) == (6,):
                results["stress"] = voigt_6_to_full_3x3_stress(results["stress"])
            yield atoms
    except _UNREADABLE as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise FramesError(
            f"{path.name} cannot be read as a {path.suffix[1:]} file of ASE ({why})"
        ) from error
    if not found:
        raise FramesError(f"{path.name} holds no image; at least one is needed")


def _rows(path: Path) -> Iterator[Atoms]:
    """Yield the rows of a database; nothing else than one is opened, since ASE would add its tables."""
    with sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    if "systems" not in names:
        raise ValueError("it has no table systems")
    from ase.db import connect  # sqlite and more, which few files need

    for row in connect(path, type="db", use_lock_file=False).select():
        atoms = row.toatoms()
        atoms.info |= row.key_value_pairs | row.data
        yield atoms
