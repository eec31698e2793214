"""Replay frames: perturbed prototype crystals with the foundation's own labels.

Trained along with a material's frames they hold the foundation where the material says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pymatgen.core import Structure
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from phonotune.chunks import chunked
from phonotune.data.extxyz import read_frames
from phonotune.data.isolated import IsolatedAtoms
from phonotune.data.notes import Notes
from phonotune.errors import InputError, StructureError, TrainingError
from phonotune.progress import Progress
from phonotune.sampling.prototypes import prototypes
from phonotune.sampling.rattle import rattle
from phonotune.sampling.settings import RattleSettings
from phonotune.schemas.dataset import Frame

if TYPE_CHECKING:
    from phonotune.ports import Evaluator, FloatArray

DEFAULT_COUNT: Final = 100
"""Replay frames of the paper's multihead training (arXiv 2604.01017)."""

SCAN: Final[FloatArray] = np.linspace(0.80, 1.36, 9)
"""Lengths of the volume scan, in those of :func:`phonotune.sampling.prototypes.prototypes`."""

MAX_FORCE: Final = 15.0
"""Frames with a larger force on an atom, eV/Å, are drawn again."""

_STREAM: Final = 0x7265706C
_STRAIN: Final = 3.0
_AMPLITUDES: Final = (0.05, 0.15)
_MIN_ATOMS: Final = 4
_MAX_ROUNDS: Final = 40
_AT_ONCE: Final = 32
"""Crystals that are scanned between two reports of progress."""


@dataclass(frozen=True)
class Recipe:
    """What one frame is drawn from.

    Attributes
    ----------
    elements
        Chemical symbols to draw from.
    holding
        The frame holds at least one of these; empty for no such wish.
    seed
        Numbers that seed this frame's own generator: it does not depend on the other frames.
    """

    elements: tuple[str, ...] = field(repr=False)
    holding: tuple[str, ...]
    seed: tuple[int, ...]


def replay_frames(
    evaluator: Evaluator,
    elements: Sequence[str],
    material: Sequence[str],
    count: int = DEFAULT_COUNT,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Frame]:
    """Draw prototype crystals near the foundation's equilibrium and label them with the foundation.

    Of four frames one holds elements of the material only, one holds at least one of them, two are
    drawn from all elements. Each is a prototype crystal at the volume where the foundation's energy
    is lowest (a crystal without such a volume is drawn again), a small multiple of its primitive
    cell, strained by up to 3 % in each length and angle (volume ±9 %) and rattled by 0.05-0.15 Å.

    Parameters
    ----------
    evaluator
        The foundation.
    elements
        Chemical symbols that the foundation knows; order does not matter.
    material
        Chemical symbols of the material that is tuned.
    count
        Number of frames.
    seed
        Same seed, elements, material and foundation: same frames.
    progress
        Told how many frames are made.

    Returns
    -------
    list of Frame
        `count` frames of 4 to 6 atoms with the evaluator's energy (eV), forces (eV/Å) and stress
        (eV/Å^3), none with a force above 15 eV/Å.

    Raises
    ------
    StructureError
        The material holds an element that is not among `elements`.
    InputError
        A negative count; no element at all.
    TrainingError
        40 draws of a frame found no crystal that the foundation holds together.
    """
    known, own = check_elements(elements, material)
    if count < 0:
        raise InputError(f"{count} replay frames were asked for; give a number from 0 on.")
    kinds = ((own, ()), (known, ()), (known, own), (known, ()))
    recipes = [Recipe(*kinds[i % 4], (_STREAM, seed, i)) for i in range(count)]
    frames = [
        frame for frame in pseudolabel(evaluator, recipes, "replay", progress) if frame is not None
    ]
    if len(frames) < count:
        raise TrainingError(
            f"Only {len(frames)} of {count} replay frames could be made: for the others "
            f"{_MAX_ROUNDS} draws found no prototype crystal that the foundation holds together. "
            "Give your own frames (replay.file)."
        )
    return frames


def read_replay(path: str | Path, notes: Notes | None = None) -> list[Frame]:
    """Read replay frames from an extxyz file (``--set replay.file=``); isolated atoms in it are left out.

    The labels should be the foundation's own, or of the method that the foundation was trained on.

    Parameters
    ----------
    path
        The file.
    notes
        Gets what was left behind or changed.

    Raises
    ------
    FramesError
        As :func:`phonotune.data.extxyz.read_frames`; no frame has ``REF_forces``.
    """
    return list(IsolatedAtoms().left_out(read_frames(path, ("forces",), notes)))


def check_elements(
    elements: Sequence[str], material: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the foundation's and the material's elements, sorted, each once.

    Raises
    ------
    StructureError
        The material holds an element that the foundation does not know, or none.
    """
    known, own = tuple(sorted(set(elements))), tuple(sorted(set(material)))
    if unknown := [symbol for symbol in own if symbol not in known]:
        raise StructureError(
            f"The foundation does not know {', '.join(unknown)} of the material; it knows "
            f"{', '.join(known) or 'no element'}. Choose another foundation."
        )
    if not own:
        raise StructureError("The material has no element; give at least one chemical symbol.")
    return known, own


def pseudolabel(
    evaluator: Evaluator,
    recipes: Sequence[Recipe],
    purpose: str,
    progress: Progress | None = None,
) -> list[Frame | None]:
    """Make one frame for each recipe, in batched calls of the evaluator.

    Parameters
    ----------
    evaluator
        Gives the labels.
    recipes
        What the frames are drawn from.
    purpose
        First word of ``group`` and ``origin``.
    progress
        Told how many frames are made.

    Returns
    -------
    list
        In the order of the recipes; None where 40 draws gave no frame.
    """
    progress = progress or Progress()
    made: list[Frame | None] = [None] * len(recipes)
    for attempt in range(_MAX_ROUNDS):
        for missing in chunked([i for i, frame in enumerate(made) if frame is None], _AT_ONCE):
            found = len(made) - made.count(None)
            text = f"the foundation labels its own crystals, {found} of {len(made)} done"
            progress.advance(progress.done, text)
            rngs = [np.random.default_rng((*recipes[i].seed, attempt)) for i in missing]
            starts = [
                prototypes(recipes[i].elements, 1, rng, recipes[i].holding)[0]
                for i, rng in zip(missing, rngs, strict=True)
            ]
            crystals = equilibrium(evaluator, starts)
            drawn = {
                i: structure
                for i, crystal, rng in zip(missing, crystals, rngs, strict=True)
                if crystal is not None and (structure := _perturbed(crystal, rng)) is not None
            }
            for i, answer in zip(drawn, evaluator(list(drawn.values())), strict=True):
                if np.linalg.norm(answer.forces, axis=1).max() <= MAX_FORCE:
                    cell = drawn[i]
                    name = f"{cell.properties['prototype']} {cell.composition.reduced_formula}"
                    origin = f"{purpose}: {name}, strained and rattled, labelled by the foundation"
                    made[i] = Frame(
                        cell,
                        answer.energy,
                        answer.forces,
                        answer.stress,
                        group=f"{purpose} {name}",
                        origin=origin,
                    )
    return made


def equilibrium(evaluator: Evaluator, crystals: Sequence[Structure]) -> list[Structure | None]:
    """Scale each crystal to the volume where its energy is lowest; one batched call.

    Energies (and, where given, stresses: dE/dln(length) = volume * trace) at nine lengths from 0.80
    to 1.36 of the given one are joined by a cubic spline.

    Returns
    -------
    list
        The scaled crystals in order; None where no minimum lies inside the scan.
    """
    scanned = [_scaled(crystal, factor) for crystal in crystals for factor in SCAN]
    scans = chunked(zip(scanned, evaluator(scanned), strict=True), len(SCAN))
    steps = np.log(SCAN)
    fine = np.linspace(steps[0], steps[-1], 561)
    best: list[Structure | None] = []
    for crystal, scan in zip(crystals, scans, strict=True):
        energies = [answer.energy for _, answer in scan]
        slopes = [c.volume * np.trace(a.stress) for c, a in scan if a.stress is not None]
        complete = len(slopes) == len(scan)
        curve = (
            CubicHermiteSpline(steps, energies, slopes)
            if complete
            else CubicSpline(steps, energies)
        )
        values = curve(fine)
        inside = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:])) + 1
        if len(inside) == 0:
            best.append(None)
        else:
            lowest = inside[np.argmin(values[inside])]
            best.append(_scaled(crystal, float(np.exp(fine[lowest]))))
    return best


def _scaled(crystal: Structure, factor: float) -> Structure:
    return Structure(
        crystal.lattice.matrix * factor,
        crystal.species,
        crystal.frac_coords,
        properties=crystal.properties,
    )


def _perturbed(crystal: Structure, rng: np.random.Generator) -> Structure | None:
    """Multiply, strain and rattle; None if no draw keeps the atoms apart."""
    repeats = [1, 1, 1]
    while len(crystal) * np.prod(repeats) < _MIN_ATOMS:
        free = np.flatnonzero(np.array(repeats) == min(repeats))
        repeats[int(rng.choice(free))] += 1
    volume = float(rng.uniform(-3.0 * _STRAIN, 3.0 * _STRAIN))
    settings = RattleSettings(
        n_cells=1,
        volumes=(round(volume, 2),),
        amplitude=float(rng.uniform(*_AMPLITUDES)),
        strain=_STRAIN,
        min_distance=0.5,
    )
    try:
        (candidate,) = rattle(crystal * repeats, settings, rng)
    except InputError:
        return None
    candidate.structure.properties = dict(crystal.properties)
    return candidate.structure
