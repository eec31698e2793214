"""One training with its phonons, and its errors as a JSON line."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from resumable import Result

from phonotune.training.config import parse_overrides


@dataclass(frozen=True)
class Experiment:
    """One training.

    Parameters
    ----------
    n_train, n_valid
        Frames on both sides; which ones is drawn by `seed`, which also seeds the training.
    overrides
        ``KEY=VALUE`` on top of the strategy's defaults.
    """

    case: str
    strategy: str
    n_train: int
    n_valid: int
    seed: int
    overrides: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Name of the experiment in the file of results; other defaults are another experiment."""
        resolved = parse_overrides(self.strategy, self.overrides).resolved()
        text = json.dumps([asdict(self), resolved], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """Everything that tells it from others, in words."""
        return " ".join(map(str, asdict(self).values()))


def run_experiment(experiment: Experiment) -> Result:
    """Train, compute phonons, compare with the reference; one thread."""
    import torch
    from common import FOUNDATION, labeller_of, split, zone_mae

    from phonotune.data.assemble import assemble_given
    from phonotune.training.finetune import finetune

    torch.set_num_threads(1)
    case, seed = experiment.case, experiment.seed
    sides = split(case, experiment.n_train, experiment.n_valid, seed)
    dataset = assemble_given(*sides, labeller=labeller_of(case))
    options = parse_overrides(experiment.strategy, [*experiment.overrides, f"seed={seed}"])
    document = finetune(dataset, FOUNDATION, options, "cpu")
    return asdict(experiment) | {
        "key": experiment.key,
        "zone_mae": zone_mae(case, document.model, experiment.strategy),
        "valid_forces": document.metrics.valid_after.forces_mae,
        "valid_forces_before": document.metrics.valid_before.forces_mae,
        "train_forces": document.metrics.train_after.forces_mae,
        "best_epoch": document.best_epoch,
        "epochs": document.epochs,
        "seconds": document.seconds,
        "plan": document.plan.text,
        "config": document.model.config,
    }
