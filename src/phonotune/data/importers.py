"""Labelled frames from finished calculations of other programs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, overload

from phonotune.data.checks import check_frame
from phonotune.data.extxyz import frame_of, header_keys, iter_images
from phonotune.data.extxyz_text import REF_KEYS, LabelKeys
from phonotune.data.protocols import ProtocolGuard
from phonotune.data.vasp import IonicStep, read_outcar, read_vasprun
from phonotune.data.vasp_settings import protocol_of, settings_text
from phonotune.errors import FramesError
from phonotune.physics.phonon.frames import read_displacement_frames
from phonotune.progress import Progress
from phonotune.schemas.dataset import Frame

_KINDS: Final = (
    "vasprun.xml[.gz], OUTCAR[.gz], a folder of VASP runs, extxyz, "
    "or a phonopy yaml[.xz] with forces"
)
_VASPRUN: Final = re.compile(r"vasprun.*\.xml.*", re.IGNORECASE)
_OUTCAR: Final = re.compile(r"outcar.*", re.IGNORECASE)


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


def import_frames(
    paths: Iterable[str | Path], keys: LabelKeys | None = None, *, allow_mixed: bool = False
) -> ImportedFrames:
    """Gather labelled frames from finished calculations; see :class:`Importer`.

    Returns
    -------
    ImportedFrames
        A sequence of frames with ``refused``.

    Raises
    ------
    FramesError
        As :class:`Importer`.
    """
    importer = Importer(paths, keys, allow_mixed=allow_mixed)
    return ImportedFrames(tuple(importer), tuple(importer.refused))


class Importer:
    """Reads labelled frames from finished calculations one by one; memory does not grow with them.

    Every converged ionic step is a frame (a static run has one). Energies of VASP are free
    energies, the ones that forces derive from; stresses come in eV/Å^3 and ASE's sign. Each VASP
    file is a group; see :func:`~phonotune.data.extxyz.read_frames` and
    :func:`~phonotune.physics.phonon.frames.read_displacement_frames` for the others. A file, or a
    frame of one, that cannot be used is refused with its reason, and the others go on.

    Parameters
    ----------
    paths
        vasprun.xml, OUTCAR, extxyz, phonopy yaml, plain or compressed, and folders: in each folder
        below that holds runs of VASP its vasprun.xml, or else its OUTCAR.
    keys
        Names of the labels in extxyz files. By default, label by label, the ``REF_`` name, else
        ASE's own (``free_energy`` before ``energy``, ``forces``, ``stress``). A mapping from
        ``energy``, ``forces`` or ``stress`` to a name replaces these defaults one by one; what it
        names must be in the file.
    protocol
        Name of the set-up, for frames of files that do not tell it.
    allow_mixed
        Take frames of several protocols.
    progress
        Called before each file.

    Raises
    ------
    FramesError
        A path that does not exist, a folder without runs, no path at all; while iterating, mixed
        protocols, or at the end, that no file gave a frame.
    """

    def __init__(
        self,
        paths: Iterable[str | Path],
        keys: LabelKeys | Mapping[str, str] | None = None,
        *,
        protocol: str = "",
        allow_mixed: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.files = _files(paths)
        self.refused: list[Refusal] = []
        self._keys = keys
        self._protocol = protocol
        self.progress = progress or Progress()
        self.guard = ProtocolGuard(allow_mixed)

    def __iter__(self) -> Iterator[Frame]:
        """Read the files in order."""
        found = False
        for number, (path, name) in enumerate(
            zip(self.files, _short_names(self.files), strict=True)
        ):
            self.progress.advance(number, name)
            for frame in self._frames(path, name):
                known = frame if frame.protocol else replace(frame, protocol=self._protocol)
                self.guard.add(known)
                found = True
                yield known
        self.progress.advance(len(self.files), "")
        if not found:
            reasons = "; ".join(str(refusal) for refusal in self.refused[:3])
            more = f"; and {len(self.refused) - 3} more" if len(self.refused) > 3 else ""
            raise FramesError(f"No frame could be imported. {reasons}{more}")

    def _frames(self, path: Path, name: str) -> Iterator[Frame]:
        """Read one file; what cannot be used is added to ``refused``."""
        try:
            for frame in _reader(path)(self, path, name):
                try:
                    check_frame(frame, frame.origin)
                except FramesError as error:
                    self.refused.append(Refusal(frame.origin, str(error)))
                else:
                    yield frame
        except FramesError as error:
            self.refused.append(Refusal(name, str(error)))

    def _from_vasp(
        self, read: Callable[[Path], list[IonicStep]], path: Path, name: str
    ) -> Iterator[Frame]:
        steps = read(path)
        settings = steps[0].settings
        known = {"protocol": protocol_of(settings), "settings": settings_text(settings)}
        for number, step in enumerate(steps, start=1):
            origin = name if len(steps) == 1 else f"{name} step {number}"
            if step.converged:
                yield Frame(
                    step.structure,
                    step.energy,
                    step.forces,
                    step.stress,
                    group=name,
                    origin=origin,
                    labeller="vasp",
                    magmoms=step.magmoms,
                    **known,
                )
                continue
            reason = (
                f"electronically not converged ({step.n_electronic} steps taken, "
                f"{step.max_electronic} allowed); its forces are not to be trusted"
            )
            self.refused.append(Refusal(origin, reason))

    def _from_vasprun(self, path: Path, name: str) -> Iterator[Frame]:
        yield from self._from_vasp(read_vasprun, path, name)

    def _from_outcar(self, path: Path, name: str) -> Iterator[Frame]:
        yield from self._from_vasp(read_outcar, path, name)

    def _from_phonopy(self, path: Path, name: str) -> Iterator[Frame]:
        yield from read_displacement_frames(path, name)

    def _from_unknown(self, path: Path, name: str) -> Iterator[Frame]:
        raise FramesError(f"unknown kind of file; allowed: {_KINDS}")

    def _from_extxyz(self, path: Path, name: str) -> Iterator[Frame]:
        found = header_keys(path)
        keys = _keys_for(found, self._keys)
        for number, atoms in enumerate(iter_images(path), start=1):
            try:
                frame = frame_of(atoms, name, number, keys)
            except FramesError as error:
                self.refused.append(Refusal(f"{name}, frame {number}", str(error)))
            else:
                yield frame


_Reader = Callable[[Importer, Path, str], Iterator[Frame]]


def _reader(path: Path) -> _Reader:
    """Return what reads a file of this name."""
    lower = path.name.lower()
    if "outcar" in lower:
        return Importer._from_outcar
    if "vasprun" in lower or ".xml" in lower:
        return Importer._from_vasprun
    if ".extxyz" in lower or ".xyz" in lower:
        return Importer._from_extxyz
    if ".yaml" in lower or ".yml" in lower:
        return Importer._from_phonopy
    return Importer._from_unknown


def _files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files, with those of VASP for a folder."""
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            runs = _runs_below(path)
            if not runs:
                raise FramesError(
                    f"{path} is a folder without vasprun.xml or OUTCAR in it or below; give {_KINDS}."
                )
            files += runs
        elif path.is_file():
            files.append(path)
        else:
            raise FramesError(f"{path} does not exist; give {_KINDS}.")
    if not files:
        raise FramesError(f"Nothing to import; give at least one {_KINDS}.")
    return list(dict.fromkeys(files))


def _runs_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place, _, names in sorted(os.walk(folder)):
        for pattern in (_VASPRUN, _OUTCAR):
            matching = sorted(name for name in names if pattern.fullmatch(name))
            if matching:
                found += [Path(place, name) for name in matching]
                break
    return found


def _keys_for(found: set[str], given: LabelKeys | Mapping[str, str] | None) -> LabelKeys:
    """Return the names of the labels of a file; FramesError where one that is needed is not there."""
    if isinstance(given, LabelKeys):
        keys, needed = given, {"forces": given.forces}
    else:
        keys = LabelKeys(
            energy=_first_of(found, REF_KEYS.energy, "free_energy", "energy"),
            forces=_first_of(found, REF_KEYS.forces, "forces"),
            stress=_first_of(found, REF_KEYS.stress, "stress"),
        )
        keys = replace(keys, **(given or {}))
        needed = {"forces": keys.forces} | dict(given or {})
    for label, key in needed.items():
        if key not in found:
            raise FramesError(
                f"no frame has {label} under the key {key}; keys found: "
                f"{', '.join(sorted(found)) or 'none'}"
            )
    return keys


def _first_of(found: set[str], *names: str) -> str:
    return next((name for name in names if name in found), names[0])


def _short_names(files: Sequence[Path]) -> list[str]:
    """Name files by what tells them apart: their paths below the folder that all share."""
    absolute = [path.absolute() for path in files]
    shared = Path(os.path.commonpath([path.parent for path in absolute]))
    return [path.relative_to(shared).as_posix() for path in absolute]
