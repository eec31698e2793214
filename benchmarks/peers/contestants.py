"""Who runs against whom, by which command, and how the lines of an epoch look.

Frames, foundation model, batch size (2), loss (Huber where the program has it, energy : forces :
stress as 1 : 10 : 100) and dtype (float32) are the same for all; optimiser and schedule are the recipe
that each program or its paper recommends.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Job:
    """One case prepared for every program: files, device, number of epochs, Python of the peers."""

    folder: Path
    device: str
    epochs: int
    peers_python: str

    @property
    def frames(self) -> tuple[str, str]:
        """Training and validation frames, extxyz with REF_* keys."""
        return str(self.folder / "train.xyz"), str(self.folder / "valid.xyz")

    @property
    def foundation(self) -> str:
        """The foundation as a plain MACE pickle, float32."""
        return str(self.folder / "mini-float32.model")


@dataclass(frozen=True)
class Contestant:
    """A program with a recipe.

    Attributes
    ----------
    group
        ``early``, ``all`` or ``lora``: ratios are taken within a group.
    recipe
        What the program is to do: a strategy of phonotune, a wrapper of Equitrain.
    options
        Further options of its command.
    """

    name: str
    engine: str
    group: str
    recipe: str
    options: tuple[str, ...] = ()
    dtype: str = "float32"

    @property
    def peer(self) -> bool:
        """Whether this is somebody else's program."""
        return self.engine in ("equitrain", "mace")

    @property
    def pattern(self) -> str:
        """Regular expression of the line that ends an epoch; the first such line is the foundation."""
        return PATTERNS[self.engine][0]

    @property
    def unit(self) -> float:
        """meV/Å of one unit of the force MAE in that line."""
        return PATTERNS[self.engine][1]

    def command(self, job: Job, out: Path) -> list[str]:
        """Return the command line of one run; `out` is an empty folder."""
        return BUILDERS[self.engine](self, job, out)


_OURS: Final = (r"^epoch \d+ forces (?P<forces>\S+)", 1.0)
PATTERNS: Final = {
    "phonotune": _OURS,
    "floor": _OURS,
    "equitrain": (r"Epoch \[ *\d+\] -- +val \[mae\].* forces: (?P<forces>[\d.]+)", 1000.0),
    "mace": (r"(?:Initial|Epoch \d+): head: .*MAE_F= *(?P<forces>[\d.]+) meV", 1.0),
}


def _phonotune(who: Contestant, job: Job, out: Path) -> list[str]:
    script = str(HERE / "run_phonotune.py")
    given = [f"max_epochs={job.epochs}", "batch_size=2", f"dtype={who.dtype}", *who.options]
    return [sys.executable, script, *job.frames, who.recipe, job.device, *given]


def _floor(who: Contestant, job: Job, out: Path) -> list[str]:
    script = str(HERE / "run_floor.py")
    return [sys.executable, script, *job.frames, who.recipe, job.device, str(job.epochs)]


def _equitrain(who: Contestant, job: Job, out: Path) -> list[str]:
    given = {
        "train-file": job.folder / "train.h5",
        "valid-file": job.folder / "valid.h5",
        "model": job.foundation,
        "output-dir": out,
        "epochs": job.epochs,
        "batch-size": 2,
        "dtype": who.dtype,
        "num-workers": 0,
        "energy-weight": 10,
        "forces-weight": 100,
        "stress-weight": 1000,
        "loss-type": "huber",
        "loss-monitor": "mae",
        "keep-best-checkpoints": 1,
    }
    options = [part for key, value in given.items() for part in (f"--{key}", str(value))]
    script = str(HERE / "run_equitrain.py")
    return [job.peers_python, script, who.recipe, job.device, "-v", *options, *who.options]


def _mace(who: Contestant, job: Job, out: Path) -> list[str]:
    train, valid = job.frames
    given = {
        "name": "peer",
        "work_dir": out,
        "train_file": train,
        "valid_file": valid,
        "foundation_model": job.foundation,
        "multiheads_finetuning": False,
        "E0s": "foundation",
        "energy_key": "REF_energy",
        "forces_key": "REF_forces",
        "stress_key": "REF_stress",
        "loss": "universal",
        "energy_weight": 1,
        "forces_weight": 10,
        "stress_weight": 100,
        "batch_size": 2,
        "valid_batch_size": 2,
        "max_num_epochs": job.epochs,
        "default_dtype": who.dtype,
        "device": job.device,
        "error_table": "PerAtomMAEstressvirials",
        "num_workers": 0,
        "plot": False,
        "seed": 0,
    }
    options = [f"--{key}={value}" for key, value in given.items() if key != "device"]
    script = str(HERE / "run_mace.py")
    return [job.peers_python, script, "--device", job.device, *options, *who.options]


BUILDERS: Final = {
    "phonotune": _phonotune,
    "floor": _floor,
    "equitrain": _equitrain,
    "mace": _mace,
}

_PAPER: Final = ("--lr", "0.01", "--weight-decay", "10")
_DELTA: Final = ("--lr", "0.001", "--weight-decay", "1e-4")
_NAIVE: Final = ("--lr=0.001", "--weight_decay=0", "--clip_grad=1", "--ema", "--ema_decay=0.999")
_LORA: Final = ("--lora=True", "--lora_rank=4", "--lr=0.01", "--weight_decay=0", "--ema")

CONTESTANTS: Final = (
    Contestant("floor early", "floor", "early", "early"),
    Contestant("phonotune equitrain", "phonotune", "early", "equitrain"),
    Contestant("Equitrain early, decay 10", "equitrain", "early", "early", _PAPER),
    Contestant("floor all", "floor", "all", "all"),
    Contestant("phonotune delta", "phonotune", "all", "delta"),
    Contestant("phonotune transfer", "phonotune", "all", "transfer"),
    Contestant("Equitrain delta", "equitrain", "all", "delta", _DELTA),
    Contestant("mace_run_train naive", "mace", "all", "naive", _NAIVE),
    Contestant("floor all", "floor", "lora", "all"),
    Contestant("phonotune lora", "phonotune", "lora", "lora"),
    Contestant("Equitrain LoRA", "equitrain", "lora", "lora", ("--lr", "0.01")),
    Contestant("mace_run_train LoRA", "mace", "lora", "lora", _LORA),
)
