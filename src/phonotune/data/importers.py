"""Labelled frames from finished calculations of other programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from phonotune.data.checks import check_frame
from phonotune.data.extxyz import REF_KEYS, LabelKeys, found_keys, frames_of, read_images
from phonotune.data.vasp import IonicStep, read_outcar, read_vasprun
from phonotune.errors import FramesError
from phonotune.physics.phonon_frames import read_displacement_frames
from phonotune.schemas.dataset import Frame

_KINDS = "vasprun.xml[.gz], OUTCAR, extxyz, or a phonopy yaml[.xz] with forces"


@dataclass(frozen=True)
class Refusal:
    """A file, or a step of one, that gave no frame, and why."""

    origin: str
    reason: str

    def __str__(self) -> str:
        named = self.reason.startswith(self.origin)
        return self.reason if named else f"{self.origin}: {self.reason}"


@dataclass(frozen=True, eq=False)
class ImportedFrames(Sequence[Frame]):
    """Frames in the order of the files, and what was refused."""

    frames: tuple[Frame, ...]
    refused: tuple[Refusal, ...]

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | Sequence[Frame]:
        return self.frames[index]

    def __len__(self) -> int:
        return len(self.frames)


def import_frames(paths: Iterable[str | Path], keys: LabelKeys | None = None) -> ImportedFrames:
    """Gather labelled frames from finished calculations.

    Every converged ionic step is a frame (a static run has one). Energies of VASP are free
    energies, the ones that forces derive from; stresses come in eV/Å^3 and ASE's sign. Each VASP
    file is a group; see :func:`~phonotune.data.extxyz.read_frames` and
    :func:`~phonotune.physics.phonon_frames.read_displacement_frames` for the others. A file that
    cannot be used is refused with its reason, and the others go on.

    Parameters
    ----------
    paths
        vasprun.xml, OUTCAR, extxyz, phonopy yaml; plain or compressed.
    keys
        Names of the labels in extxyz files. By default, label by label, the ``REF_`` name, else
        ASE's own (``free_energy`` before ``energy``, ``forces``, ``stress``).

    Returns
    -------
    ImportedFrames
        A sequence of frames with ``refused``.

    Raises
    ------
    FramesError
        A path that does not exist, no path at all, or every file refused.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise FramesError(f"Nothing to import; give at least one {_KINDS}.")
    for path in files:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise FramesError(f"{path} {what}; give files: {_KINDS}.")
    frames: list[Frame] = []
    refused: list[Refusal] = []
    for path, name in zip(files, _short_names(files), strict=True):
        try:
            good, bad = _import_file(path, name, keys)
        except FramesError as error:
            good, bad = [], [Refusal(name, str(error))]
        frames += good
        refused += bad
    if not frames:
        reasons = "; ".join(str(refusal) for refusal in refused[:3])
        more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
        raise FramesError(f"No frame could be imported. {reasons}{more}")
    return ImportedFrames(tuple(frames), tuple(refused))


def _import_file(
    path: Path, name: str, keys: LabelKeys | None
) -> tuple[list[Frame], list[Refusal]]:
    lower = path.name.lower()
    if "outcar" in lower:
        return _from_steps(read_outcar, path, name)
    if "vasprun" in lower or ".xml" in lower:
        return _from_steps(read_vasprun, path, name)
    if ".extxyz" in lower or ".xyz" in lower:
        return _from_extxyz(path, name, keys), []
    if ".yaml" in lower or ".yml" in lower:
        frames = read_displacement_frames(path, name)
        for frame in frames:
            check_frame(frame, frame.origin)
        return frames, []
    raise FramesError(f"unknown kind of file; allowed: {_KINDS}")


def _from_steps(
    read: Callable[[Path], list[IonicStep]], path: Path, name: str
) -> tuple[list[Frame], list[Refusal]]:
    steps = read(path)
    frames, refused = [], []
    for number, step in enumerate(steps, start=1):
        origin = name if len(steps) == 1 else f"{name} step {number}"
        if not step.converged:
            refused.append(
                Refusal(
                    origin,
                    f"electronically not converged ({step.n_electronic} steps taken, "
                    f"{step.max_electronic} allowed); its forces are not to be trusted",
                )
            )
            continue
        frame = Frame(step.structure, step.energy, step.forces, step.stress, name, origin)
        try:
            check_frame(frame, origin)
        except FramesError as error:
            refused.append(Refusal(origin, str(error)))
        else:
            frames.append(frame)
    return frames, refused


def _from_extxyz(path: Path, name: str, keys: LabelKeys | None) -> list[Frame]:
    images = read_images(path)
    found = found_keys(images)
    if keys is None:
        keys = LabelKeys(
            energy=_first_of(found, REF_KEYS.energy, "free_energy", "energy"),
            forces=_first_of(found, REF_KEYS.forces, "forces"),
            stress=_first_of(found, REF_KEYS.stress, "stress"),
        )
    frames = frames_of(images, name, keys)
    if all(frame.forces is None for frame in frames):
        raise FramesError(
            f"no frame has forces under the key {keys.forces}; keys found: "
            f"{', '.join(sorted(found)) or 'none'}"
        )
    return frames


def _first_of(found: set[str], *names: str) -> str:
    return next((name for name in names if name in found), names[0])


def _short_names(files: Sequence[Path]) -> list[str]:
    """Name files by what tells them apart: their paths below the folder that all share."""
    absolute = [path.absolute() for path in files]
    shared = Path(os.path.commonpath([path.parent for path in absolute]))
    return [path.relative_to(shared).as_posix() for path in absolute]
