"""Labelled frames from finished calculations of other programs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from phonotune.data.ase_files import ASE_FILES, iter_ase_images
from phonotune.data.checks import check_frame
from phonotune.data.extxyz import frame_of, right_handed
from phonotune.data.extxyz_labels import check_keys, keys_among, no_label, values_of
from phonotune.data.extxyz_reader import Block, header_keys, iter_blocks
from phonotune.data.extxyz_text import REF_KEYS, LabelKeys
from phonotune.data.isolated import IsolatedAtoms
from phonotune.data.ml_ab import read_ml_ab
from phonotune.data.notes import Notes
from phonotune.data.outcar import read_outcar
from phonotune.data.protocols import ProtocolGuard
from phonotune.data.vasp import IonicStep, read_vasprun
from phonotune.data.vasp_settings import protocol_of, settings_text
from phonotune.data.vaspout import read_vaspout
from phonotune.errors import FramesError
from phonotune.physics.phonon.calculation import (
    PHONOPY_FILES,
    find_calculations,
    read_calculation,
)
from phonotune.physics.phonon.frames import displacement_frames
from phonotune.progress import Progress
from phonotune.schemas.dataset import Frame

if TYPE_CHECKING:
    from ase import Atoms

_KINDS: Final = (
    "vasprun.xml[.gz], OUTCAR[.gz], vaspout.h5, ML_AB, extxyz, ASE's .traj or .db, a phonopy yaml[.xz] "
    "or FORCE_SETS, or a folder of VASP runs or of a phonopy calculation"
)
_OF_VASP: Final = {
    re.compile(r"vaspout.*\.h5"): read_vaspout,
    re.compile(r"(^|[^a-z])ml_abn?([^a-z]|$)"): read_ml_ab,
    re.compile(r"outcar"): read_outcar,
    re.compile(r"vasprun|\.xml"): read_vasprun,
}
_RUNS: Final = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"vasprun.*\.xml.*",
        r"vaspout.*\.h5.*",
        r"outcar.*",
        r"ml_abn(\..*)?",
        r"ml_ab(\..*)?",
    )
]
"""Files of a run that is found in a folder; the first kind that is there is taken."""
_ARCHIVE: Final = re.compile(r"\.(tar|tgz|tbz2?|txz|zip|7z|rar)(\.|$)")


@dataclass(frozen=True)
class Refusal:
    """A file, or a step of one, that gave no frame, and why."""

    origin: str
    reason: str

    def __str__(self) -> str:
        named = self.reason.startswith(self.origin)
        return self.reason if named else f"{self.origin}: {self.reason}"


def import_frames(
    paths: Iterable[str | Path], keys: LabelKeys | None = None, *, allow_mixed: bool = False
) -> list[Frame]:
    """Return the labelled frames of finished calculations; parameters and errors as :class:`Importer`."""
    return list(Importer(paths, keys, allow_mixed=allow_mixed))


class Importer:
    """Reads labelled frames from finished calculations one by one; memory does not grow with them.

    Every converged ionic step is a frame (a static run has one step). Energies of VASP are free
    energies, the ones that forces derive from; stresses come in eV/Å^3 and ASE's sign. Each VASP
    file is a group; see :func:`~phonotune.data.extxyz.read_frames` and
    :func:`~phonotune.physics.phonon.frames.displacement_frames` for the others. A file, or a
    frame of one, that cannot be used is listed in ``refused`` with the reason, and the others are read.
    ``notes`` says, once per kind, what was left behind or changed in the frames that were taken.
    Isolated atoms come as frames of one atom; ``isolated`` has their energies. Their protocol, which differs
    in k-points and spin by nature, is not compared.

    Parameters
    ----------
    paths
        vasprun.xml, vaspout.h5, OUTCAR, ML_AB, extxyz, phonopy yaml, plain or compressed, .traj and .db of
        ASE, and folders: in
        each folder below that holds runs of VASP the first of vasprun.xml, vaspout.h5, OUTCAR, ML_ABN and
        ML_AB; where no folder does, phonopy's yaml with the FORCE_SETS beside it. Links to folders are
        followed, each folder once.
    keys
        Names of the labels in extxyz files. By default, frame by frame and label by label, the ``REF_``
        name, else ASE's own (``free_energy`` before ``energy``, ``forces``, ``stress``). A mapping from
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
        protocols, two energies of one isolated atom, or at the end, that no file gave a frame.
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
        self.refused: list[Refusal] = []
        self.notes = Notes()
        self.files = _files(paths, self.notes)
        self._keys = keys
        self._protocol = protocol
        self.progress = progress or Progress()
        self.guard = ProtocolGuard(allow_mixed)
        self.isolated = IsolatedAtoms()

    def __iter__(self) -> Iterator[Frame]:
        """Read the files in order."""
        found = False
        absolute = [path.absolute() for path in self.files]
        shared = Path(os.path.commonpath([path.parent for path in absolute]))
        for number, (path, full) in enumerate(zip(self.files, absolute, strict=True)):
            name = full.relative_to(shared).as_posix()
            self.progress.advance(number, name)
            for frame in self._usable(path, name):
                known = frame if frame.protocol else replace(frame, protocol=self._protocol)
                if not self.isolated.take(known):
                    self.guard.add(known)
                found = True
                yield known
        self.progress.advance(len(self.files), "")
        if not found:
            reasons = "; ".join(str(refusal) for refusal in self.refused[:3])
            more = f"; and {len(self.refused) - 3} more" if len(self.refused) > 3 else ""
            raise FramesError(f"No frame could be imported. {reasons}{more}")

    def _usable(self, path: Path, name: str) -> Iterator[Frame]:
        """Yield the frames of a file that pass their checks; the others are added to ``refused``."""
        try:
            for frame in self._read(path, name):
                try:
                    check_frame(frame, frame.origin)
                except FramesError as error:
                    self.refused.append(Refusal(frame.origin, str(error)))
                else:
                    yield frame
        except FramesError as error:
            self.refused.append(Refusal(name, str(error)))

    def _read(self, path: Path, name: str) -> Iterator[Frame]:
        """Yield the frames of a file, read by what its name says it is."""
        lower = path.name.lower()
        if _ARCHIVE.search(lower):
            raise FramesError("an archive, not a file of a calculation; unpack it")
        read = next((read for pattern, read in _OF_VASP.items() if pattern.search(lower)), None)
        if ".extxyz" in lower or ".xyz" in lower:  # also outcar.extxyz
            try:
                check_keys(header_keys(path, name), self._keys)
            except FramesError:
                if any(block.n_atoms > 1 for block in iter_blocks(path, name)):
                    raise  # isolated atoms need no forces
            yield from self._own_frames(iter_blocks(path, name), name)
        elif path.suffix.lower() in ASE_FILES:
            images = iter_ase_images(path)
            check_keys(set().union(*map(values_of, images)), self._keys)
            yield from self._own_frames(iter_ase_images(path), name)
        elif read:
            yield from self._vasp_frames(read(path, partial(self.notes.add, origin=name)), name)
        elif ".yaml" in lower or ".yml" in lower or path.name in PHONOPY_FILES:
            calculation = read_calculation(path)
            for note in calculation.notes:
                self.notes.add(note, name)
            yield from displacement_frames(calculation, name)
        else:
            raise FramesError(f"unknown kind of file; allowed: {_KINDS}")

    def _own_frames(self, images: Iterable[Block | Atoms], name: str) -> Iterator[Frame]:
        """Yield the frames of a file, each with its own names of the labels."""
        used: dict[str, str] = {}
        for number, image in enumerate(images, start=1):
            where = f"{name}, frame {number}"
            try:
                atoms = image.image() if isinstance(image, Block) else image
                found = values_of(atoms)
                keys = keys_among(found, self._keys)
                frame = frame_of(atoms, name, number, keys, self.notes)
                if frame.energy is None and frame.forces is None and frame.stress is None:
                    raise no_label(found, where)
            except FramesError as error:
                self.refused.append(Refusal(where, str(error)))
                continue
            if "masses" in atoms.arrays:
                self.notes.add("Masses are left behind; labels do not depend on them", where)
            names = {label: key for label, key in vars(keys).items() if key in found}
            for label, key in names.items():
                if used.setdefault(label, key) != key:
                    what = f"The label {label} comes from {key}, in other frames from {used[label]}"
                    self.notes.add(what, where)
            if (
                len({key in vars(REF_KEYS).values() for key in names.values()}) > 1
                and not self._keys
            ):
                self.notes.add(
                    f"Labels have names of two kinds ({', '.join(names.values())})", where
                )
            if isinstance(image, Block) and (extra := image.extra_columns()):
                what = f"{extra} columns that Properties does not name are left behind"
                self.notes.add(what, where)
            yield frame

    def _vasp_frames(self, steps: Sequence[IonicStep], name: str) -> Iterator[Frame]:
        settings = steps[0].settings
        protocol = protocol_of(settings) if settings else ""
        known = {"protocol": protocol, "settings": settings_text(settings)}
        for number, step in enumerate(steps, start=1):
            origin = name if len(steps) == 1 else f"{name} step {number}"
            if step.converged:
                yield Frame(
                    right_handed(step.structure, origin, self.notes),
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


def _files(paths: Iterable[str | Path], notes: Notes) -> list[Path]:
    """Return the files; in place of a folder, those of the VASP runs in it and below, or else phonopy's."""
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_file():
            files.append(path)
            continue
        if not path.is_dir():
            raise FramesError(f"{path} does not exist; give {_KINDS}.")
        before, folders = len(files), sorted(_folders(path))
        for place, names in folders:
            for broken in sorted(name for name in names if not Path(place, name).exists()):
                notes.add("A link leads nowhere", str(Path(place, broken)))
                names.remove(broken)
            kinds = [sorted(filter(kind.fullmatch, names)) for kind in _RUNS]
            files += [Path(place, name) for name in next(filter(None, kinds), [])]
        phonopy = find_calculations(Path(place) for place, _ in folders)
        if len(files) == before:
            files += phonopy
        elif phonopy:
            shown = ", ".join(str(file) for file in phonopy[:3])
            more = f" and {len(phonopy) - 3} more" if len(phonopy) > 3 else ""
            notes.add(
                "phonopy's files left aside, since the folder holds runs of VASP, which have energies and "
                f"stresses, too. To import their forces instead, name them: {shown}{more}",
                str(path),
            )
        if len(files) == before:
            raise FramesError(
                f"{path} is a folder without vasprun.xml or OUTCAR, vaspout.h5 or ML_AB in it or below, and "
                f"without phonopy's files (those beside a phonons.json are phonotune's own); give {_KINDS}."
            )
    if not files:
        raise FramesError(f"Nothing to import; give at least one {_KINDS}.")
    return list(dict.fromkeys(files))


def _folders(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and all below with the names of their files; links are followed, none twice."""
    seen = set()
    for place, folders, names in os.walk(path, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort(key=lambda name: (Path(place, name).is_symlink(), name))
        yield place, names
