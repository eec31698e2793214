"""Settings of this machine and user, each also an environment variable ``PHONOTUNE_<NAME>``."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class PhonotuneSettings(BaseSettings):
    """Where things are kept and how much a machine can hold; nothing that changes a result.

    Read once per process by :func:`get_settings`.
    """

    model_config = SettingsConfigDict(env_prefix="PHONOTUNE_", extra="ignore", frozen=True)

    store: Path | None = Field(
        default=None,
        description="jobflow store: a yaml file or a folder; default is DATA_DIR/store",
    )
    data_dir: Path = Field(
        default=Path("~/.local/share/phonotune"), description="embedded store and reports"
    )
    cache_dir: Path = Field(
        default=Path("~/.cache/phonotune"),
        description="trusted models, things that can be made again",
    )
    checkpoint_dir: Path = Field(
        default=Path("~/.cache/phonotune/checkpoints"),
        description="training checkpoints, outside of run directories",
    )
    checkpoint_seconds: float = Field(
        default=30.0, gt=0, description="seconds between two checkpoints of a training"
    )
    walltime_margin: float = Field(
        default=120.0,
        ge=0,
        description="seconds before a Slurm job's end at which a training or evaluation stops",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="device, chosen inside the job"
    )
    jobs_per_gpu: int = Field(
        default=1, ge=1, description="jobs that share a GPU of this node; 1: each has its own"
    )
    lease_dir: Path = Field(
        default_factory=lambda: Path(f"/tmp/phonotune-{os.getuid()}"),
        description="lock files of the GPUs, local to the node and the same for all its jobs; "
        "default is /tmp/phonotune-UID",
    )
    lease_seconds: float = Field(
        default=3600.0, ge=0, description="seconds that a job waits for a free GPU"
    )
    atoms_per_batch: int | None = Field(
        default=None,
        gt=0,
        description="most atoms in one evaluation batch (memory, not physics); "
        "default is 160 on a CPU, 4096 on a GPU",
    )

    potentials: dict[str, Path] = Field(
        default_factory=dict,
        description="Python of a potential on this machine by the potential's name, as JSON, where it is not "
        "the one that its record names",
    )
    potential_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="seconds without an answer after which a potential in another environment is stopped",
    )

    @property
    def store_path(self) -> Path:
        """Folder or yaml file of the default job store."""
        chosen = self.store if self.store is not None else self.data_dir / "store"
        return chosen.expanduser()


@lru_cache(maxsize=1)
def get_settings() -> PhonotuneSettings:
    """Return the settings of this process (environment read at the first call)."""
    return PhonotuneSettings()
