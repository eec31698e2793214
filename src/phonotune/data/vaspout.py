"""Ionic steps of VASP from vaspout.h5 (VASP 6.2 and later).

Names of groups as VASP's own reader, py4vasp, has them. INCAR is all that the file tells of the settings;
what it leaves out are VASP's defaults.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pymatgen.core import Lattice, Structure

from phonotune.data.vasp import (
    KILOBAR,
    NEB,
    NO_FULL_STRESS,
    UNREADABLE,
    VECTORS,
    DamagedError,
    IonicStep,
    Say,
    first_line,
    silent,
    tell,
)
from phonotune.data.vasp_settings import KEYS, plain, settings_of
from phonotune.errors import FramesError
from phonotune.files import uncompressed

if TYPE_CHECKING:
    import h5py

    from phonotune.ports import FloatArray

CONVERGENCE: Final = "This vaspout.h5 does not tell whether its electronic steps converged"
PRESSURE: Final = "No energy: vaspout.h5 does not tell whether it holds P V of PSTRESS"
ML: Final = (
    "vaspout.h5 of a run with ML_LMLFF, which does not tell DFT steps from machine-learned ones; "
    "give its OUTCAR or ML_ABN"
)

_DEFAULTS: Final = {"PREC": "normal", "ISMEAR": 1, "SIGMA": 0.2}
_LOGICAL: Final = {key for key in KEYS if key[0] == "L" and key[:4] != "LDAU"} | {"ADDGRID", "LDAU"}


def read_vaspout(path: Path, say: Say = silent) -> list[IonicStep]:
    """Read every ionic step of a vaspout.h5.

    Parameters
    ----------
    path
        The file, plain or compressed.
    say
        Told what is left behind: vector moments, a stress that is not a full tensor, energies that may hold
        P V; and that nothing is known of the convergence (VASP before 6.5).

    Raises
    ------
    FramesError
        Not a vaspout.h5 with forces, a run with a machine-learned force field, an image of a nudged elastic
        band.
    """
    import h5py

    left: list[str] = []
    try:
        with uncompressed(path, DamagedError) as stream, h5py.File(stream, "r") as file:
            return tell(_read_steps(file, left), left, say)
    except UNREADABLE as error:
        raise FramesError(f"not a vaspout.h5 with forces ({first_line(error)})") from error


def _read_steps(file: h5py.File, left: list[str]) -> list[IonicStep]:
    incar = {key.upper(): _value(entry[()]) for key, entry in file["input/incar"].items()}
    for key in _LOGICAL & incar.keys():
        incar[key] = bool(incar[key]) if not isinstance(incar[key], str) else incar[key]
    if plain(incar.get("IMAGES")):
        raise FramesError(NEB)
    if plain(incar.get("ML_LMLFF")):
        raise FramesError(ML)
    content = _value(file["input/potcar/content"][()]) if "input/potcar/content" in file else ""
    titles = re.findall(r"TITEL\s*=\s*(.*\S)", content)
    cutoffs = [float(x) for x in re.findall(r"ENMAX\s*=\s*([\d.]+)", content)]
    used = _DEFAULTS | {"ENMAX": max(cutoffs, default=None)} | incar
    used |= {"ENMAX": incar["ENCUT"]} if "ENCUT" in incar else {}
    if plain(incar.get("LHFCALC")):
        used = {"AEXX": 0.25} | used
    settings = settings_of(used, {}, titles)

    counts = [int(n) for n in file["results/positions/number_ion_types"][()]]
    types = [_value(name).split("_")[0] for name in file["results/positions/ion_types"][()]]
    steps = file["intermediate/ion_dynamics"]
    n_atoms = steps["position_ions"].shape[1]
    if sum(counts) != n_atoms or min(counts) < 0:
        raise ValueError(f"positions of {n_atoms} atoms, elements of {sum(counts)}")
    species = [name for name, n in zip(types, counts, strict=True) for _ in range(n)]
    tags = [_value(tag) for tag in steps["energies_tags"][()]]
    energies = steps["energies"][()][:, next(i for i, tag in enumerate(tags) if "TOTEN" in tag)]
    forces, positions = steps["forces"][()], steps["position_ions"][()]
    cells = steps["lattice_vectors"][()] * _scale(file)
    stress = steps["stress"][()] if "stress" in steps else None
    isif = plain(incar.get("ISIF", 0 if plain(incar.get("IBRION")) == 0.0 else 2))
    taken, limit = _electronic(steps, len(energies)), int(plain(incar.get("NELM")) or 60)
    moments = _moments(steps, len(species), left)
    found = []
    for i, free in enumerate(energies):
        energy: float | None = float(free)
        if plain(incar.get("PSTRESS")):
            energy = None
            left.append(PRESSURE)
        own = None if stress is None or isif in (0.0, 1.0) else KILOBAR * stress[i]
        left += [NO_FULL_STRESS] if own is None else []
        left += [CONVERGENCE] if taken is None else []
        found.append(
            IonicStep(
                structure=Structure(Lattice(cells[i]), species, positions[i]),
                energy=energy,
                forces=np.asarray(forces[i], dtype=np.float64),
                stress=None if own is None else (own + own.T) / 2.0,
                n_electronic=None if taken is None else taken[i],
                max_electronic=limit,
                settings=settings,
                magmoms=None if moments is None else moments[i],
            )
        )
    return found


def _value(value: Any) -> Any:
    """Return a value of the file as a text, a number or a list of numbers."""
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _scale(file: h5py.File) -> float:
    """Return what the cells of the ionic steps are to be multiplied by: 1, or the scale of POSCAR.

    The cell at the end, which is without the scale, tells which.
    """
    place = file["results/positions"]
    scale, end = float(place["scale"][()]), place["lattice_vectors"][()]
    last = file["intermediate/ion_dynamics/lattice_vectors"][-1]
    return scale if np.abs(last - end).max() <= np.abs(last - scale * end).max() else 1.0


def _electronic(steps: h5py.Group, n_steps: int) -> list[int] | None:
    """Return the electronic steps that each ionic step took, from the rows of OSZICAR; None if not told."""
    if "oszicar" not in steps:
        return None
    numbers = steps["oszicar"][()][:, 0]
    starts = np.flatnonzero(numbers == 1)
    if len(starts) != n_steps:
        return None
    return [int(n) for n in np.diff([*starts, len(numbers)])]


def _moments(steps: h5py.Group, n_atoms: int, left: list[str]) -> FloatArray | None:
    """Return the magnetic moments of all steps, shape (n_steps, n_atoms), µB; None without collinear ones."""
    group: Mapping[str, Any] | None = steps.get("magnetism")
    if group is None:
        return None
    new = "spin_moments" in group
    group = group["spin_moments"] if new else group
    names = ("components", "values") if new else ("component_tags", "moments")
    if not all(name in group for name in names):
        return None
    components = [_value(tag) for tag in group[names[0]][()]]
    axes = [tag for tag in components if tag in {"x", "y", "z"} or "magnetization" in tag]
    values = group[names[1]][()]
    if len(axes) > 1:
        left += [VECTORS] * len(values)
    if len(axes) != 1 or values.shape[2] != n_atoms:
        return None
    return np.asarray(values[:, components.index(axes[0])].sum(axis=-1), dtype=np.float64)
