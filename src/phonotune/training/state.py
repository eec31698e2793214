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

from phonotune.models.weight_updates import Tensors
from phonotune.training.options import Options
from phonotune.training.plan import TuningPlan
from phonotune.training.schedule import best_epoch

FORMAT: Final = 2
REPLAY: Final = "replay:"
"""Prefix of the names of the replay head's tensors."""

Row = dict[str, float]
"""One epoch: epoch, seconds, loss, valid_loss, valid_energy, ... (keys as in history.csv)."""


@dataclass(eq=False)
class TrainState:
    """Everything that changes while a training runs.

    Attributes
    ----------
    tensors
        The change that is trained, by name; leaves that require a gradient. Names of the replay
        head begin with :data:`REPLAY`.
    optimizer
        AdamW over `tensors`, without decay.
    average
        Exponential moving average of `tensors`, or None; never written back to them.
    best
        Tensors of the epoch with the lowest validation loss.
    history
        One row per epoch; row 0 is the foundation.
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

    def snapshot(self) -> Snapshot:
        """Return a copy of all that a step changes, to :meth:`rewind` an epoch that was cut."""
        live = {**self._moving(), **self._moments()}
        return Snapshot({name: t.detach().clone() for name, t in live.items()}, self.steps)

    def rewind(self, snapshot: Snapshot) -> None:
        """Take back every step since the snapshot."""
        self._take(snapshot.tensors)
        self.steps = snapshot.steps

    def to_bytes(self) -> bytes:
        """Return the state as safetensors."""
        kept = {f"best/{name}": t for name, t in self.best.items()}
        tensors = {**self._moving(), **self._moments(), **kept}
        content = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        header = {"format": FORMAT, "steps": self.steps, "history": self.history}
        return save(content, metadata={"state": json.dumps(header)})

    def restore(self, content: bytes) -> None:
        """Take over a state that :meth:`to_bytes` wrote for the same plan and options."""
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["state"])
        stored = load(content)
        self._take(stored)
        self.best = {n: stored[f"best/{n}"].to(t.detach()) for n, t in self.tensors.items()}
        self.steps, self.history = header["steps"], header["history"]

    def _moving(self) -> dict[str, torch.Tensor]:
        groups = {"live": self.tensors, "average": self.average or {}}
        return {f"{g}/{name}": t for g, members in groups.items() for name, t in members.items()}

    def _moments(self) -> dict[str, torch.Tensor]:
        return {
            f"adam.{entry}/{name}": value
            for name, tensor in self.tensors.items()
            for entry, value in self.optimizer.state.get(tensor, {}).items()
        }

    @torch.no_grad()
    def _take(self, stored: Tensors) -> None:
        for name, tensor in self._moving().items():
            tensor.copy_(stored[name])
        self.optimizer.state.clear()
        for key, value in stored.items():
            group, _, name = key.partition("/")
            if group.startswith("adam."):
                entry = group.removeprefix("adam.")
                tensor = self.tensors[name]
                kind = value.dtype if entry == "step" else tensor.dtype
                moved = value.to(device=tensor.device, dtype=kind, copy=True)
                self.optimizer.state[tensor][entry] = moved


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A copy of what an optimiser step changes."""

    tensors: dict[str, torch.Tensor]
    steps: int


def start_state(
    plan: TuningPlan, options: Options, base: torch.nn.Module, like: torch.Tensor
) -> TrainState:
    """Return the state of epoch 0; the model is exactly the foundation, or the plan's origin.

    Parameters
    ----------
    base
        The foundation, float64.
    like
        A tensor with the dtype and device of the training.
    """
    rng = torch.Generator().manual_seed(options.seed)
    start = {name: t for term in plan.terms for name, t in term.initial(rng).items()}
    if plan.origin is not None:
        for term in plan.terms:  # full changes, which lead from the foundation to the origin
            parameter, read = term.block.parameter, term.block.values
            change = read(plan.origin.get_parameter(parameter)) - read(
                base.get_parameter(parameter)
            )
            start |= dict.fromkeys(term.shapes(), change)
    for term in plan.replay_head:
        start |= {REPLAY + name: t for name, t in term.initial(rng).items()}
    tensors = {name: value.to(like).requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.AdamW(
        list(tensors.values()), lr=options.lr, weight_decay=0.0, fused=True
    )
    first = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    average = None if options.ema is None else {n: t.clone() for n, t in first.items()}
    return TrainState(tensors, optimizer, average, first)
