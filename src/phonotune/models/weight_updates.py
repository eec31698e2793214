"""What an adapter may change: blocks of a MACE model's parameters, and the forms of the change.

e3nn 0.4 stores the weights of ``o3.Linear`` and of tensor products as one flat vector; each path
(input irrep to output irrep) is a matrix in it. :func:`weight_blocks` finds these matrices, leaves
out the rows of elements that a material does not hold, and so covers every weight that the material
uses. Changing the weights of a path never breaks equivariance; path normalisation stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from math import prod
from operator import attrgetter
from typing import Final

import torch
from ase.data import chemical_symbols
from pydantic import Field

from phonotune.errors import StructureError
from phonotune.models.mace_parts import Contraction, o3
from phonotune.schemas.base import Part
from phonotune.units import Dimensionless

Tensors = Mapping[str, torch.Tensor]

OF_ELEMENTS: Final = (
    "node_embedding.linear.weight",
    "source_embedding.weight",
    "target_embedding.weight",
)
"""How the names of linear maps of the one-hot elements end."""


class Block(Part):
    """A dense block of one parameter, restricted to the rows of some elements.

    The block is ``parameter.reshape(-1)[offset : offset + prod(shape)].reshape(shape)``. Where an
    axis runs over the foundation's elements, only `rows` of it are selected and it comes first.
    """

    parameter: str
    offset: int = Field(default=0, ge=0)
    shape: tuple[int, ...]
    element_axis: int | None = None
    rows: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """Name of the block, e.g. ``interactions.0.linear.weight:1024``."""
        return f"{self.parameter}:{self.offset}"

    @property
    def selected_shape(self) -> tuple[int, ...]:
        """Shape of the selected weights: (n_rows, ...) where an axis runs over elements."""
        if self.element_axis is None:
            return self.shape
        rest = [n for axis, n in enumerate(self.shape) if axis != self.element_axis]
        return (len(self.rows), *rest)

    @property
    def size(self) -> int:
        """Number of selected weights."""
        return prod(self.selected_shape)

    @property
    def matrix_shape(self) -> tuple[int, int] | None:
        """(mul_in, mul_out) if the block is a matrix, or one matrix per element; else None."""
        rest = self.selected_shape[0 if self.element_axis is None else 1 :]
        return (rest[0], rest[1]) if len(rest) == 2 else None

    def values(self, parameter: torch.Tensor) -> torch.Tensor:
        """Return the selected weights of the parameter, shape `selected_shape`; a copy."""
        flat = parameter.detach().reshape(-1)
        return flat[self.positions().to(flat.device)].reshape(self.selected_shape)

    def positions(self) -> torch.Tensor:
        """Return flat positions of the selected weights in the parameter, shape (size,), int64."""
        index = self.offset + torch.arange(prod(self.shape)).reshape(self.shape)
        if self.element_axis is not None:
            index = index.movedim(self.element_axis, 0)[list(self.rows)]
        return index.reshape(-1)


class WeightUpdate(Part):
    """The change of one block: a full Δ, or ``scale * A @ B`` of a given rank."""

    block: Block
    rank: int | None = Field(default=None, ge=1, description="None: full Δ")
    scale: Dimensionless = 1.0

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the trained tensors by name: ``key.delta``, or ``key.A`` and ``key.B``."""
        key = self.block.key
        if self.rank is None:
            return {f"{key}.delta": self.block.selected_shape}
        *batch, mul_in, mul_out = self.block.selected_shape
        return {
            f"{key}.A": (*batch, mul_in, self.rank),
            f"{key}.B": (*batch, self.rank, mul_out),
        }

    def initial(self, rng: torch.Generator) -> dict[str, torch.Tensor]:
        """Return first values (float64) for which the change is exactly zero.

        A is normal with variance 1/rank, so that a step of B moves the weights of every path, whose
        natural scale in e3nn is 1, equally far; B and a full Δ are zero.
        """
        return {
            name: torch.randn(shape, generator=rng, dtype=torch.float64) / shape[-1] ** 0.5
            if name.endswith(".A")
            else torch.zeros(shape, dtype=torch.float64)
            for name, shape in self.shapes().items()
        }

    def change(self, tensors: Tensors) -> torch.Tensor:
        """Return the change of the selected weights, shape (size,)."""
        key = self.block.key
        if self.rank is None:
            return tensors[f"{key}.delta"].reshape(-1)
        return self.scale * (tensors[f"{key}.A"] @ tensors[f"{key}.B"]).reshape(-1)


def low_rank(block: Block, rank: int, scale: float = 1.0) -> WeightUpdate:
    """Return a low-rank update, or a full Δ if that has no more numbers or the block is not a matrix."""
    if block.matrix_shape is None or rank * sum(block.matrix_shape) >= prod(block.matrix_shape):
        return WeightUpdate(block=block)
    return WeightUpdate(block=block, rank=rank, scale=scale)


def element_rows(model: torch.nn.Module, elements: Iterable[int]) -> tuple[int, ...]:
    """Return the positions of atomic numbers in the model's element list, ascending.

    Raises
    ------
    StructureError
        An element is unknown to the model; the message names it.
    """
    known = _known_elements(model)
    wanted = sorted(set(elements))
    if missing := [z for z in wanted if z not in known]:
        raise StructureError(
            f"The foundation model does not know the elements {_symbols(missing)}; it knows "
            f"{_symbols(known)}. Choose a foundation model that holds them."
        )
    return tuple(sorted(known.index(z) for z in wanted))


def _known_elements(model: torch.nn.Module) -> list[int]:
    numbers: list[int] = model.get_buffer("atomic_numbers").tolist()
    return numbers


def weight_blocks(model: torch.nn.Module, elements: Iterable[int]) -> list[Block]:
    """Return the blocks of every weight that a material of these elements uses, without overlap.

    Parameters
    ----------
    model
        A plain MACE model (e3nn layout).
    elements
        Atomic numbers of the material.
    """
    rows = element_rows(model, elements)
    return [
        block
        for name, parameter in model.named_parameters()
        for block in _parameter_blocks(model, name, parameter, rows)
    ]


def _parameter_blocks(
    model: torch.nn.Module, name: str, parameter: torch.Tensor, rows: tuple[int, ...]
) -> Iterator[Block]:
    owner = _owner(model, name)
    n_elements = len(_known_elements(model))
    if isinstance(owner, o3.Linear) and name.endswith(".weight"):
        shapes = [tuple(i.path_shape) for i in owner.instructions if i.i_in != -1]
        resolved = 0 if name.endswith(OF_ELEMENTS) else None
        yield from _paths(name, shapes, resolved, rows)
    elif isinstance(owner, o3.TensorProduct) and name.endswith(".weight"):
        shapes = [tuple(i.path_shape) for i in owner.instructions if i.has_weight]
        resolved = 1 if owner.irreps_in2 == o3.Irreps([(n_elements, (0, 1))]) else None
        yield from _paths(name, shapes, resolved, rows)
    elif isinstance(owner, Contraction) and parameter.shape[0] == n_elements:
        yield from _paths(name, [tuple(parameter.shape)], 0, rows)
    else:
        yield Block(parameter=name, shape=tuple(parameter.shape))


def _paths(
    name: str, shapes: Sequence[tuple[int, ...]], axis: int | None, rows: tuple[int, ...]
) -> Iterator[Block]:
    offset = 0
    for shape in shapes:
        if 0 not in shape:
            yield Block(
                parameter=name,
                offset=offset,
                shape=shape,
                element_axis=axis,
                rows=() if axis is None else rows,
            )
        offset += prod(shape)


def _owner(model: torch.nn.Module, parameter: str) -> torch.nn.Module:
    path = parameter.rpartition(".")[0]
    owner = model.get_submodule(path)
    if isinstance(owner, torch.nn.ParameterList):
        return model.get_submodule(path.rpartition(".")[0])
    return owner


def _symbols(numbers: Iterable[int]) -> str:
    return ", ".join(chemical_symbols[z] for z in numbers)


class EffectiveWeights:
    """Foundation weights plus the changes of the updates; only touched parameters.

    Parameters
    ----------
    model
        The foundation; its parameters are taken as constants.
    updates
        What changes.

    Notes
    -----
    Use with ``torch.func.functional_call(model, weights(tensors), ...)``. Untouched numbers of a
    touched parameter stay bit-identical.
    """

    def __init__(self, model: torch.nn.Module, updates: Iterable[WeightUpdate]) -> None:
        ordered = sorted(updates, key=lambda u: (u.block.parameter, u.block.offset))
        self._groups = [
            (name, list(group))
            for name, group in groupby(ordered, key=attrgetter("block.parameter"))
        ]
        self._base = {name: model.get_parameter(name).detach() for name, _ in self._groups}
        self._positions = {
            name: torch.cat([u.block.positions() for u in group]).to(self._base[name].device)
            for name, group in self._groups
        }

    def __call__(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        """Return the effective parameters by name, differentiable in `tensors`."""
        effective = {}
        for name, updates in self._groups:
            base = self._base[name]
            change = torch.cat([update.change(tensors) for update in updates])
            flat = base.reshape(-1).index_add(0, self._positions[name], change)
            effective[name] = flat.reshape(base.shape)
        return effective
