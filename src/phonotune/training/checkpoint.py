"""How a training survives a kill: its state in one file, replaced atomically.

The file lives outside of the run directory and is named by all that determines the training: the
same call finds it, and ends bit-identical (CPU) to a training that was never interrupted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from phonotune.errors import InputError, TrainingError
from phonotune.files import write_atomically
from phonotune.models.trust import sha256_of
from phonotune.physics.phonon.calculation import read_calculation
from phonotune.schemas.base import hash_json
from phonotune.schemas.training import counted_options
from phonotune.training.options import Options
from phonotune.training.state import FORMAT, TrainState


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of one training lives, keyed by all that determines it.

    Parameters
    ----------
    path
        The file.
    """

    path: Path

    @classmethod
    def of(
        cls,
        directory: Path,
        foundation_sha256: str,
        dataset_hash: str,
        options: Options,
        member: int = 0,
    ) -> Checkpoint:
        """Name the file by foundation, dataset, options and what their files hold.

        ``max_seconds`` changes no result and is left out, as is an option that came later and keeps its
        default: a training that was begun before goes on.

        Raises
        ------
        InputError
            A file that the options name does not exist.
        """
        lasting = counted_options(options.model_dump(mode="json", exclude={"max_seconds"}))
        given = [] if options.replay.file is None else [options.replay.file]
        if options.hessian.file is not None:
            found = read_calculation(options.hessian.file)
            given += [file for file in found.files if file != found.born_file]
        try:
            files = [sha256_of(file) for file in given]
        except OSError as error:
            raise InputError(
                f"{error.filename} cannot be read ({error.strerror}). Give an existing file."
            ) from error
        key = hash_json([FORMAT, foundation_sha256, dataset_hash, lasting, files, member])[:32]
        return cls(directory.expanduser() / f"{key}.safetensors")

    def write(self, state: TrainState) -> None:
        """Replace the file atomically: at any moment the old or the new state is whole on disk."""
        write_atomically(self.path, state.to_bytes())

    def read_into(self, state: TrainState) -> bool:
        """Restore the state if there is a file; return whether there was one.

        Raises
        ------
        TrainingError
            The file is damaged.
        """
        if not self.path.exists():
            return False
        try:
            state.restore(self.path.read_bytes())
        except (struct.error, ValueError, KeyError, SafetensorError, RuntimeError) as error:
            raise TrainingError(
                f"The checkpoint {self.path} cannot be read ({error}). Delete it to start anew."
            ) from error
        return True

    def remove(self) -> None:
        """Delete the file, if there is one."""
        self.path.unlink(missing_ok=True)
