"""Assemble labelled frames into a dataset: checked, without duplicates, split, hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from phonotune.data.checks import check_frame
from phonotune.data.split import split_by_group
from phonotune.errors import FramesError
from phonotune.schemas.base import hash_json, structure_hash
from phonotune.schemas.dataset import DatasetDocument, Frame, pack_frames

if TYPE_CHECKING:
    from phonotune.ports import FloatArray

SAME_ENERGY: Final = 1e-4
"""eV/atom: labels of one structure that differ by more contradict each other."""
SAME_FORCE: Final = 1e-3
"""eV/Å: as SAME_ENERGY, for any force component."""
SAME_STRESS: Final = 1e-4
"""eV/Å^3: as SAME_ENERGY, for any stress component."""


def frame_hash(frame: Frame) -> str:
    """Return the sha256 of one frame: its structure_hash and the exact float64 bytes of its labels.

    ``group`` and ``origin`` do not enter: they say where a frame came from, not what it is.
    """
    return hash_json(
        {
            "structure": structure_hash(frame.structure),
            "energy": None if frame.energy is None else _bytes_hash(np.array(frame.energy)),
            "forces": None if frame.forces is None else _bytes_hash(frame.forces),
            "stress": None if frame.stress is None else _bytes_hash(frame.stress),
        }
    )


def dataset_hash(train: Sequence[Frame], valid: Sequence[Frame], labeller: str) -> str:
    """Return the sha256 of a dataset: which frames train, which validate, and who labelled them.

    The order of the frames and the file they were kept in do not matter; every bit of a label does.

    Parameters
    ----------
    train, valid
        Frames of the two sides.
    labeller
        Name of the labeller; the same numbers by another name are another dataset.
    """
    return hash_json(
        {
            "train": sorted(frame_hash(frame) for frame in train),
            "valid": sorted(frame_hash(frame) for frame in valid),
            "labeller": labeller,
        }
    )


def assemble(
    frames: Sequence[Frame],
    *,
    labeller: str,
    valid_groups: Sequence[str] | None = None,
    valid_fraction: float | None = None,
    rng: np.random.Generator | None = None,
) -> DatasetDocument:
    """Make a dataset from labelled frames and split it by group.

    A structure that occurs twice is kept once, with the more complete labels. Missing labels stay
    missing; at least one frame on each side must have forces.

    Parameters
    ----------
    frames
        Labelled frames of one labeller.
    labeller
        Name of the labeller.
    valid_groups, valid_fraction, rng
        As in :func:`phonotune.data.split.split_by_group`.

    Raises
    ------
    FramesError
        Bad frames (:func:`phonotune.data.checks.check_frame`), a frame without any label,
        contradicting labels of one structure, a side without forces, or a split that is not
        possible.
    ConfigError
        Contradicting split settings.
    """
    kept = _without_duplicates(_checked(frames, "Frame"))
    train, valid = split_by_group(
        [frame.group for frame in kept],
        valid_groups=valid_groups,
        valid_fraction=valid_fraction,
        rng=rng,
    )
    return _document(kept, train, valid, labeller, n_duplicates=len(frames) - len(kept))


def assemble_given(
    train_frames: Sequence[Frame], valid_frames: Sequence[Frame], *, labeller: str
) -> DatasetDocument:
    """Make a dataset from frames that somebody has split already.

    Parameters
    ----------
    train_frames, valid_frames
        Labelled frames of the two sides; within a side duplicates are dropped.
    labeller
        Name of the labeller.

    Raises
    ------
    FramesError
        As :func:`assemble`; also a structure that is on both sides (a leak).
    """
    train = _without_duplicates(_checked(train_frames, "Training frame"))
    valid = _without_duplicates(_checked(valid_frames, "Validation frame"))
    leaks = {structure_hash(f.structure): f for f in train}
    for number, frame in enumerate(valid, start=1):
        twin = leaks.get(structure_hash(frame.structure))
        if twin is not None:
            raise FramesError(
                f"A leak: validation frame {number} ({frame.origin}) is also a training frame "
                f"({twin.origin}); remove it from one of the two files."
            )
    return _document(
        [*train, *valid],
        list(range(len(train))),
        list(range(len(train), len(train) + len(valid))),
        labeller,
        n_duplicates=len(train_frames) + len(valid_frames) - len(train) - len(valid),
    )


def _checked(frames: Sequence[Frame], what: str) -> Sequence[Frame]:
    if not frames:
        raise FramesError(f"{what}s are needed and none was given; label at least one.")
    for number, frame in enumerate(frames, start=1):
        where = f"{what} {number} ({frame.origin or 'no origin given'})"
        check_frame(frame, where)
        if frame.energy is None and frame.forces is None and frame.stress is None:
            raise FramesError(f"{where} has no label; label it or leave it out.")
    return frames


def _without_duplicates(frames: Sequence[Frame]) -> list[Frame]:
    kept: dict[str, Frame] = {}
    for frame in frames:
        key = structure_hash(frame.structure)
        known = kept.get(key)
        if known is None:
            kept[key] = frame
            continue
        _check_agreement(known, frame)
        if _n_labels(frame) > _n_labels(known):
            kept[key] = frame
    return list(kept.values())


def _n_labels(frame: Frame) -> int:
    return sum(label is not None for label in (frame.energy, frame.forces, frame.stress))


def _check_agreement(first: Frame, second: Frame) -> None:
    off = {}
    if first.energy is not None and second.energy is not None:
        per_atom = abs(first.energy - second.energy) / len(first.structure)
        off["energies"] = (per_atom, SAME_ENERGY, "eV/atom")
    if first.forces is not None and second.forces is not None:
        off["forces"] = (_largest(first.forces - second.forces), SAME_FORCE, "eV/Å")
    if first.stress is not None and second.stress is not None:
        off["stresses"] = (_largest(first.stress - second.stress), SAME_STRESS, "eV/Å^3")
    for name, (difference, allowed, unit) in off.items():
        if difference > allowed:
            raise FramesError(
                f"One structure has two labels: the {name} of {first.origin or 'one frame'} and "
                f"{second.origin or 'another'} differ by {difference:.3g} {unit} (at most "
                f"{allowed:g}). Keep the frames of one labeller and one set-up."
            )


def _document(
    frames: Sequence[Frame],
    train: list[int],
    valid: list[int],
    labeller: str,
    n_duplicates: int,
) -> DatasetDocument:
    for side, indices in (("training", train), ("validation", valid)):
        if all(frames[i].forces is None for i in indices):
            raise FramesError(
                f"No {side} frame has forces ({len(indices)} frames); phonons need forces on both "
                "sides of the split. Label at least one frame with forces."
            )
    formulas = sorted({f.structure.composition.reduced_formula for f in frames})
    with_stress = sum(f.stress is not None for f in frames)
    return DatasetDocument(
        formula=", ".join(formulas),
        dataset_hash=dataset_hash([frames[i] for i in train], [frames[i] for i in valid], labeller),
        labeller=labeller,
        train=train,
        valid=valid,
        n_duplicates=n_duplicates,
        has_stress=100.0 * with_stress / len(frames),
        data=pack_frames(frames),
    )


def _largest(difference: FloatArray) -> float:
    return float(np.abs(difference).max())


def _bytes_hash(values: FloatArray) -> str:
    """Return the sha256 of little-endian float64 bytes; minus zero counts as zero."""
    plain = np.ascontiguousarray(values, dtype="<f8") + 0.0
    return hashlib.sha256(plain.tobytes()).hexdigest()
