"""What tuning forgot: a fixed probe of foundation-labelled frames, and a scan for short-range holes.

Errors on the target do not show forgetting (arXiv 2606.12704).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Final

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from pymatgen.core import Lattice, Structure

from phonotune.errors import InputError, PhonotuneError, TrainingError
from phonotune.files import write_atomically
from phonotune.progress import Progress
from phonotune.schemas.base import hash_json
from phonotune.schemas.blob import Blob
from phonotune.schemas.dataset import Frame, pack_frames, unpack_frames
from phonotune.schemas.forgetting import ForgettingProbe, HoleScan, ProbeDeviation
from phonotune.settings import get_settings
from phonotune.training.replay import Recipe, check_elements, pseudolabel

if TYPE_CHECKING:
    from phonotune.ports import Evaluation, Evaluator

logger = logging.getLogger(__name__)

PROBE_VERSION: Final = 1
"""Counts up when the frames of the probe or the way to label them change: older ones are made anew."""

PROBE_SIZE: Final = 48
"""Frames of the probe; a foundation with more elements has one frame per element."""

SHORTEST: Final = 0.4
"""Shortest distance of the hole scan, Å."""
LONGEST: Final = 1.3
"""Longest distance of the hole scan, in sums of covalent radii."""
BOND: Final = 0.6
"""The pair's minimum is looked for from here outwards, in sums of covalent radii (Cr2, 1.68 Å)."""
SHIFT: Final = 0.1
"""How far tuning may move a pair's minimum, in sums of covalent radii."""
N_DISTANCES: Final = 40

_STREAM: Final = 0x70726F62
_labelled: dict[str, list[Frame]] = {}


def probe_frames(
    evaluator: Evaluator, elements: Sequence[str], progress: Progress | None = None
) -> list[Frame]:
    """Return the fixed probe of a foundation: it depends on nothing else.

    Prototype crystals near the foundation's equilibrium, strained and rattled as replay frames are
    (:func:`phonotune.training.replay.replay_frames`) but from another stream of random numbers.
    Every element is asked for in turn, so that none is missed.

    Parameters
    ----------
    evaluator
        The foundation; gives the labels.
    elements
        Chemical symbols that it knows; order does not matter.
    progress
        Told how many frames are still to be made.

    Returns
    -------
    list of Frame
        48 frames of 4 to 6 atoms (one per element if those are more); fewer where the foundation
        holds no crystal of an element together.

    Raises
    ------
    TrainingError
        Not half of the frames could be made.
    """
    known = tuple(sorted(set(elements)))
    count = max(PROBE_SIZE, len(known)) if known else 0
    recipes = [
        Recipe(known, (known[i % len(known)],), (_STREAM, PROBE_VERSION, i)) for i in range(count)
    ]
    made = pseudolabel(evaluator, recipes, "probe", progress)
    frames = [frame for frame in made if frame is not None]
    if not frames or 2 * len(frames) < count:
        raise TrainingError(
            f"Only {len(frames)} of {count} frames of the forgetting probe could be made: the model "
            "holds too few prototype crystals together. Check the foundation."
        )
    return frames


def labelled_probe(
    evaluator: Evaluator,
    elements: Sequence[str],
    sha256: str | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Frame]:
    """Return the probe of a foundation as :func:`probe_frames` makes it, from the cache if it is there.

    The file ``probes/<key>.json`` in the setting ``cache_dir`` holds the frames with the sha256 of their
    bytes; one that does not match is made anew. Processes that make it at the same time write the same.

    Parameters
    ----------
    evaluator
        The foundation, float64.
    elements
        Chemical symbols that it knows.
    sha256
        sha256 of the foundation; None: nothing is read or kept. The frames are the same bit by bit.
    device
        What the evaluator computes on.
    progress
        As of :func:`probe_frames`.

    Raises
    ------
    TrainingError
        As :func:`probe_frames`.
    """
    if sha256 is None:
        return unpack_frames(pack_frames(probe_frames(evaluator, elements, progress)))
    known = sorted(set(elements))
    key = hash_json([sha256, PROBE_VERSION, known, "float64", device.partition(":")[0]])[:32]
    if key in _labelled:
        return _labelled[key]
    path = get_settings().cache_dir.expanduser() / "probes" / f"{key}.json"
    try:
        _labelled[key] = unpack_frames(Blob(**json.loads(path.read_bytes())))
    except (OSError, ValueError, TypeError, KeyError, PhonotuneError) as error:
        if path.exists():
            logger.warning("%s is damaged (%s); the forgetting probe is made anew.", path, error)
        blob = pack_frames(probe_frames(evaluator, elements, progress))
        _labelled[key] = unpack_frames(blob)
        try:
            write_atomically(path, json.dumps({"payload": blob.payload, "sha256": blob.sha256}))
        except OSError as failure:
            logger.warning("The forgetting probe is not kept for other processes: %s.", failure)
    return _labelled[key]


def forgetting(
    before: Evaluator,
    after: Evaluator,
    elements: Sequence[str],
    material: Sequence[str],
    *,
    cutoff: float,
    energy_shifts: Mapping[int, float] | None = None,
    foundation_sha256: str | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> ForgettingProbe:
    """Compare a tuned model with its foundation away from the training frames.

    Only the deviation after tuning is reported: before it is zero by construction.

    Parameters
    ----------
    before, after
        The foundation and the tuned model (float64).
    elements
        Chemical symbols that the foundation knows.
    material
        Chemical symbols of the material.
    cutoff
        Cutoff radius of the models, Å: the hole scan keeps images out of its reach.
    energy_shifts
        Shifts of the atomic energies, eV by atomic number, that `after` has and `before` has not.
    foundation_sha256
        If given, the labelled probe is kept for the next model of this foundation: in this process,
        and in the setting ``cache_dir`` for others (:func:`labelled_probe`).
    device
        What `before` computes on; labels of a CPU and of a GPU, which differ by rounding, are kept apart.
    progress
        Told what is evaluated.

    Raises
    ------
    StructureError
        The material holds an element that the foundation does not know.
    TrainingError
        As :func:`probe_frames`.
    """
    known, own = check_elements(elements, material)
    frames = labelled_probe(before, known, foundation_sha256, device, progress)
    if progress is not None:
        progress.advance(progress.done, "what the model forgot")
    answers = after([frame.structure for frame in frames])
    touching = [not set(own).isdisjoint(frame.structure.symbol_set) for frame in frames]
    pairs = list(zip(frames, answers, strict=True))
    near = [pair for pair, touches in zip(pairs, touching, strict=True) if touches]
    far = [pair for pair, touches in zip(pairs, touching, strict=True) if not touches]
    shifts = energy_shifts or {}
    return ForgettingProbe(
        version=PROBE_VERSION,
        elements=own,
        overall=_deviation(pairs, shifts),
        touching=_deviation(near, shifts) if near else None,
        others=_deviation(far, shifts) if far else None,
        holes=hole_scan(before, after, own, cutoff),
    )


def hole_scan(
    before: Evaluator, after: Evaluator, elements: Sequence[str], cutoff: float
) -> HoleScan:
    """Look for holes inside the repulsive walls of all pairs of elements.

    Learned potentials have artificial minima at distances that no frame shows them; stretching and
    squeezing single bonds finds them (the idea: Liu et al., arXiv 2602.04861). Two atoms in a box
    whose images are out of reach, at 40 distances from 0.4 Å to 1.3 times the sum R of their
    covalent radii, in one call of each evaluator. With E(r) the energy on that grid (a depth is
    therefore a lower bound):

    * the pair's minimum r_0 is where the foundation is lowest at r >= 0.6 R; a curve's own minimum
      is its lowest point within 0.1 R of r_0;
    * the wall is all r up to the own minimum;
    * the depth of a hole is the largest E(r_j) - E(r_i) with r_i < r_j on the wall, 0 if there is no
      fall: how far the pair can slide on going inwards, from wherever it got to;
    * the pair is "below" if some E(r_i) on the wall is lower than at the own minimum.

    Parameters
    ----------
    before, after
        The foundation and the tuned model.
    elements
        Chemical symbols of the material.
    cutoff
        Cutoff radius of the models, Å.

    Raises
    ------
    InputError
        The cutoff is not positive.
    """
    if cutoff <= 0.0:
        raise InputError(f"The cutoff of the models is {cutoff:g} Å; a positive length is needed.")
    pairs = list(combinations_with_replacement(sorted(set(elements)), 2))
    sums = np.array([sum(covalent_radii[atomic_numbers[s]] for s in pair) for pair in pairs])
    distances = np.linspace(SHORTEST, LONGEST * sums, N_DISTANCES, axis=1)
    box = 2.0 * cutoff + float(distances.max())
    cells = [
        Structure(
            Lattice.cubic(box), list(pair), [[0, 0, 0], [float(r), 0, 0]], coords_are_cartesian=True
        )
        for pair, row in zip(pairs, distances, strict=True)
        for r in (*row, 0.5 * box)  # the last: two atoms out of each other's reach
    ]
    curves = []
    for evaluator in (before, after):
        energies = np.array([answer.energy for answer in evaluator(cells)]).reshape(len(pairs), -1)
        curves.append(energies[:, :-1] - energies[:, -1:])
    reduced = distances / sums[:, None]
    outer = np.where(reduced >= BOND, curves[0], np.inf)
    common = np.take_along_axis(reduced, outer.argmin(axis=1)[:, None], axis=1)
    depths, below = np.zeros((2, len(pairs))), np.zeros((2, len(pairs)), dtype=bool)
    for which, curve in enumerate(curves):
        minima = np.where(np.abs(reduced - common) <= SHIFT, curve, np.inf).argmin(axis=1)
        for i, minimum in enumerate(minima):
            inwards = curve[i, minimum::-1]
            depths[which, i] = (np.maximum.accumulate(inwards) - inwards).max()
            below[which, i] = inwards.min() < inwards[0]
    worst = int(np.argmax(depths[1]))
    return HoleScan(
        n_pairs=len(pairs),
        deepest_before=float(depths[0].max()),
        deepest_after=float(depths[1, worst]),
        worst_pair="-".join(pairs[worst]) if depths[1, worst] > 0.0 else None,
        pairs_below_before=int(below[0].sum()),
        pairs_below_after=int(below[1].sum()),
        data=Blob.pack(
            pairs=np.array(["-".join(pair) for pair in pairs]),
            distances=distances,
            energies_before=curves[0],
            energies_after=curves[1],
            depths_before=depths[0],
            depths_after=depths[1],
            below_before=below[0],
            below_after=below[1],
        ),
    )


def _deviation(
    pairs: Sequence[tuple[Frame, Evaluation]], shifts: Mapping[int, float]
) -> ProbeDeviation:
    energy, forces, labels, stress = [], [], [], []
    for frame, answer in pairs:
        if frame.energy is None or frame.forces is None:
            raise TrainingError(
                "A frame of the forgetting probe has no label. Check the foundation."
            )
        numbers = frame.structure.atomic_numbers
        added = sum(shifts.get(int(z), 0.0) for z in numbers)
        energy.append(abs(answer.energy - added - frame.energy) / len(numbers))
        forces.append(np.abs(answer.forces - frame.forces).ravel())
        labels.append(np.abs(frame.forces).ravel())
        if frame.stress is not None and answer.stress is not None:
            stress.append(np.abs(answer.stress - frame.stress).ravel())
    moved, size = float(np.concatenate(forces).mean()), float(np.concatenate(labels).mean())
    return ProbeDeviation(
        n_frames=len(pairs),
        energy=1000.0 * float(np.mean(energy)),
        forces=1000.0 * moved,
        forces_relative=100.0 * moved / size if size > 0.0 else 0.0,
        stress=1000.0 * float(np.concatenate(stress).mean()) if stress else None,
    )
