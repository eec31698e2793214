"""Everything that changes while a training runs, and how it is written down.

Batches are drawn from (seed, epoch) and rates from the history, so this state is all there is.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Final

import torch
from safetensors.torch import load, save

from phonotune.training.options import Options
from phonotune.training.plan import TuningPlan
from phonotune.training.schedule import best_epoch

FORMAT: Final = 1
Row = dict[str, float]
"""One epoch: epoch, seconds, loss, valid_loss, valid_energy, ... (keys as in history.csv)."""


@dataclass(eq=False)
class TrainState:
    """Everything that changes while a training runs.

    Attributes
    ----------
    tensors
        The change that is trained, by name; leaves that require a gradient.
    optimizer
        AdamW over `tensors`.
    average
        Exponential moving average of `tensors`, or None; never written back to them.
    best
        Tensors of the epoch with the lowest validation loss.
    history
        One row an epoch; row 0 is the foundation.
    steps
        Optimiser steps done.
    """

    tensors: dict[str, torch.Tensor]
    optimizer: torch.optim.AdamW
    average: dict[str, torch.Tensor] | None
    best: dict[str, torch.Tensor]
    history: list[Row] = field(default_factory=list)
    steps: int = 0

    @property
    def valid_losses(self) -> list[float]:
        """Validation losses, epoch 0 first."""
        return [row["valid_loss"] for row in self.history]

    @property
    def seconds(self) -> float:
        """Time spent, over all interrupted runs."""
        return self.history[-1]["seconds"] if self.history else 0.0

    @property
    def judged(self) -> dict[str, torch.Tensor]:
        """The tensors that are validated and kept: the average if there is one."""
        return self.tensors if self.average is None else self.average

    def record(self, row: Row) -> None:
        """Append an epoch, and keep its tensors if it is the best so far."""
        self.history.append(row)
        if best_epoch(self.valid_losses) == len(self.history) - 1:
            self.best = {name: t.detach().clone() for name, t in self.judged.items()}

    def to_bytes(self) -> bytes:
        """Return the state as safetensors."""
        groups = {"live": self.tensors, "average": self.average or {}, "best": self.best}
        tensors = {f"{g}/{name}": t for g, members in groups.items() for name, t in members.items()}
        for name, tensor in self.tensors.items():
            for entry, value in self.optimizer.state.get(tensor, {}).items():
                tensors[f"adam.{entry}/{name}"] = value
        content = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        header = {"format": FORMAT, "steps": self.steps, "history": self.history}
        return save(content, metadata={"state": json.dumps(header)})

    def restore(self, content: bytes) -> None:
        """Take over a state that :meth:`to_bytes` wrote for the same plan and options."""
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["state"])
        stored = load(content)
        self.steps, self.history = header["steps"], header["history"]
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(stored[f"live/{name}"])
                self.best[name] = stored[f"best/{name}"].to(tensor)
                if self.average is not None:
                    self.average[name].copy_(stored[f"average/{name}"])
                adam = {
                    key.partition("/")[0].removeprefix("adam."): value
                    for key, value in stored.items()
                    if key.startswith("adam.") and key.partition("/")[2] == name
                }
                if adam:
                    self.optimizer.state[tensor] = {
                        entry: value if entry == "step" else value.to(tensor)
                        for entry, value in adam.items()
                    }


def start_state(plan: TuningPlan, options: Options, like: torch.Tensor) -> TrainState:
    """Return the state of epoch 0, in which the model is exactly the foundation.

    Parameters
    ----------
    like
        A tensor with the dtype and device of the training.
    """
    rng = torch.Generator().manual_seed(options.seed)
    tensors = {
        name: value.to(like).requires_grad_()
        for term in plan.terms
        for name, value in term.initial(rng).items()
    }
    optimizer = torch.optim.AdamW(
        list(tensors.values()), lr=options.lr, weight_decay=options.weight_decay
    )
    start = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    average = None if options.ema is None else {n: t.clone() for n, t in start.items()}
    return TrainState(tensors, optimizer, average, start)
