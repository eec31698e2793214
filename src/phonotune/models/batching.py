"""Many structures through one model: in batches that fit, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import torch

from phonotune.errors import PhonotuneError
from phonotune.models.graphs import Batch, Graph, GraphSpec, build_graph, collate
from phonotune.settings import get_settings

if TYPE_CHECKING:
    from pymatgen.core import Structure

T = TypeVar("T")

ATOMS_PER_BATCH: Final = {"cpu": 160, "cuda": 4096}
"""Most atoms in one batch by device: on a CPU a larger batch leaves the caches and is slower."""

NEIGHBOURS_PER_ATOM: Final = 80
"""Neighbours of an atom up to which a batch may hold its most atoms; denser cells make it smaller."""

CHANNELS: Final = 32
"""Channels of a model up to which that holds on a CPU; a batch of a wider model is smaller in proportion,
which takes a third of the memory and three quarters of the time at 128 channels and dense cells."""

ELEMENTS_PER_BATCH: Final = {"cpu": 8, "cuda": 118}
"""Most elements in one batch by device: the fast forward keeps coefficients of every element present
and sums over neighbours element by element, so that memory and time grow with their number."""


def find_atoms_per_batch(device: torch.device) -> int:
    """Return the setting ``atoms_per_batch``, or what suits the device."""
    chosen = get_settings().atoms_per_batch
    return ATOMS_PER_BATCH.get(device.type, ATOMS_PER_BATCH["cpu"]) if chosen is None else chosen


class Batching:
    """Cuts structures into batches, and a batch in halves if it does not fit the memory of a GPU.

    Parameters
    ----------
    spec
        Elements, cutoff and dtype of the model.
    device
        Where the batches live.
    head
        Index of the readout head.
    atoms_per_batch
        Most atoms in one batch; None takes the setting ``atoms_per_batch``, or what suits the
        device. A larger structure is a batch of its own.
    channels
        Width of the model's features.
    """

    def __init__(
        self,
        spec: GraphSpec,
        device: torch.device,
        head: int,
        atoms_per_batch: int | None = None,
        channels: int = CHANNELS,
    ) -> None:
        self._spec, self._device, self._head = spec, device, head
        self._limit = atoms_per_batch or find_atoms_per_batch(device)
        wider = 1.0 if device.type == "cuda" else max(1.0, channels / CHANNELS)
        self._slots = self._limit * NEIGHBOURS_PER_ATOM / wider

    def map(self, action: Callable[[Batch], list[T]], structures: Sequence[Structure]) -> list[T]:
        """Return what `action` gives for every structure of its batch, in the order of `structures`.

        Raises
        ------
        StructureError
            An element is unknown to the model.
        PhonotuneError
            One structure alone does not fit the memory.
        """
        results: list[T] = []
        for part in self._batches(structures):
            results += self._halving(action, part)
        return results

    def _halving(
        self, action: Callable[[Batch], list[T]], part: Sequence[tuple[Structure, Graph]]
    ) -> list[T]:
        try:
            return action(collate([graph for _, graph in part], self._device, self._head))
        except torch.cuda.OutOfMemoryError as error:
            if len(part) == 1:
                ((structure, graph),) = part
                raise PhonotuneError(
                    f"{structure.composition.formula} ({graph.n_atoms} atoms, "
                    f"{graph.n_edges} neighbour pairs) does not fit the memory of "
                    f"{self._device}. Use a smaller supercell, float32 or PHONOTUNE_DEVICE=cpu."
                ) from error
        torch.cuda.empty_cache()
        half = len(part) // 2
        return self._halving(action, part[:half]) + self._halving(action, part[half:])

    def _batches(self, structures: Sequence[Structure]) -> Iterator[list[tuple[Structure, Graph]]]:
        """Yield structures with their graphs, bounded by atoms, neighbours and elements.

        The fast forward gives every atom of a batch as many slots as the atom with most neighbours
        has.
        """
        batch: list[tuple[Structure, Graph]] = []
        n_atoms, width = 0, 0
        elements: set[int] = set()
        most = ELEMENTS_PER_BATCH.get(self._device.type, ELEMENTS_PER_BATCH["cpu"])
        for structure in structures:
            graph = build_graph(structure, self._spec)
            own = {int(z) for z in structure.atomic_numbers}
            more, wider, held = n_atoms + graph.n_atoms, max(width, graph.width), elements | own
            full = more > self._limit or len(held) > most
            if batch and (full or more * wider > self._slots):
                yield batch
                batch, more, wider, held = [], graph.n_atoms, graph.width, own
            batch.append((structure, graph))
            n_atoms, width, elements = more, wider, held
        if batch:
            yield batch
