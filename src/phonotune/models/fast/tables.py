"""Constants of the fast forward, read off the modules of a plain MACE model.

Each table says in plain numbers what generated code of e3nn 0.4 and mace-torch 0.3 computes: the
blocks of a flat weight, Clebsch-Gordan coefficients with their normalisation, spherical harmonics
and symmetric contractions as polynomials. A form that is not known raises :class:`NotCovered`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement, groupby
from math import prod, sqrt
from typing import Any

import torch

from phonotune.models.mace_parts import SymmetricContraction, o3


class NotCovered(Exception):  # noqa: N818  (an answer, not an error: the plain model is used instead)
    """A module has a form that the fast forward does not know."""


def require(condition: bool, what: str) -> None:
    """Raise :class:`NotCovered` unless the condition holds."""
    if not condition:
        raise NotCovered(what)


def common_mul(irreps: o3.Irreps) -> int:
    """Return the multiplicity that all irreps share."""
    muls = {mul for mul, _ in irreps}
    require(len(muls) == 1, f"unequal multiplicities in {irreps}")
    return int(muls.pop())


@dataclass(frozen=True)
class Path:
    """A matrix (rows, cols) in a flat weight, from one irrep to another; `scale` multiplies it."""

    i_in: int
    i_out: int
    rows: int
    cols: int
    scale: float


def linear_paths(linear: Any) -> tuple[Path, ...]:
    """Return the paths of an ``o3.Linear`` without biases, in the order of its flat weight."""
    require(isinstance(linear, o3.Linear) and linear.bias_numel == 0, "a linear map with biases")
    require(linear.weight.shape == (linear.weight_numel,), "a linear map without own weights")
    return tuple(
        Path(i.i_in, i.i_out, i.path_shape[0], i.path_shape[1], float(i.path_weight))
        for i in linear.instructions
        if 0 not in i.path_shape
    )


def mixing_paths(linear: Any, mul: int) -> tuple[Path, ...]:
    """Return one path for each output irrep, its rows running over all channels that end there.

    The input irreps of `linear` are those of a convolution, `mul` channels a path; older models
    store them simplified, which is the same flat layout.
    """
    merged = []
    for i_out, group in groupby(linear_paths(linear), key=lambda p: p.i_out):
        paths = list(group)
        require(len({(p.cols, p.scale) for p in paths}) == 1, "uneven paths of a linear map")
        rows = sum(p.rows for p in paths)
        require(rows % mul == 0, "channels that do not fill a path")
        merged.append(Path(paths[0].i_in, i_out, rows, paths[0].cols, paths[0].scale))
    outs = [p.i_out for p in merged]
    require(outs == list(range(len(linear.irreps_out))), "outputs of a linear map out of order")
    return tuple(merged)


def element_paths(product: Any, n_elements: int) -> tuple[Path, ...]:
    """Return the paths of a product with the one-hot elements; a path's rows are (mul, element)."""
    require(isinstance(product, o3.TensorProduct), "an unknown product with the elements")
    require(
        product.irreps_in2 == o3.Irreps([(n_elements, (0, 1))]), "elements that are not one-hot"
    )
    paths = []
    for i in product.instructions:
        require(i.connection_mode == "uvw" and i.has_weight, "an unknown product with the elements")
        mul, _, mul_out = i.path_shape
        dim = product.irreps_out[i.i_out].ir.dim
        paths.append(Path(i.i_in1, i.i_out, mul, mul_out, float(i.path_weight) / sqrt(dim)))
    require(all(prod((p.rows, p.cols)) for p in paths), "an empty product with the elements")
    require(len({p.i_out for p in paths}) == len(paths), "several paths to one irrep")
    return tuple(paths)


@dataclass(frozen=True)
class Group:
    """Convolution paths of one pair of irreps: node irrep `i_node` with harmonics `i_edge`."""

    i_node: int
    i_edge: int
    n_paths: int


@dataclass(frozen=True)
class ConvTable:
    """A convolution's paths.

    Attributes
    ----------
    mul
        Number of channels of every irrep.
    groups
        Paths by pair of irreps.
    order
        Position in the flat weight of every path, in the order of `groups`.
    coupling
        shape (n_rows, n_columns): rows run over output irreps and their components, columns over
        groups, their paths, node components and harmonics; Clebsch-Gordan coefficients.
    """

    mul: int
    groups: tuple[Group, ...]
    order: tuple[int, ...]
    coupling: torch.Tensor


def conv_table(product: Any) -> ConvTable:
    """Read the channel-wise (``uvu``) product of node features and spherical harmonics."""
    require(isinstance(product, o3.TensorProduct), "an unknown convolution")
    mul = common_mul(product.irreps_in1)
    instructions = list(product.instructions)
    for i in instructions:
        known = i.connection_mode == "uvu" and i.has_weight and tuple(i.path_shape) == (mul, 1)
        require(known, "an unknown path of a convolution")
    ends = [i.i_out for i in instructions]
    require(
        sorted(ends) == list(range(len(product.irreps_out))), "convolution paths that share an end"
    )
    order = sorted(range(len(ends)), key=lambda k: (instructions[k].i_in1, instructions[k].i_in2))
    pairs = [(instructions[k].i_in1, instructions[k].i_in2) for k in order]
    groups = tuple(Group(*pair, len(list(same))) for pair, same in groupby(pairs))
    first_row = [s.start // mul for s in product.irreps_out.slices()]
    n_rows = product.irreps_out.dim // mul
    columns = []
    for k in order:
        i = instructions[k]
        block = _coupling(product, i)
        column = torch.zeros(n_rows, block.shape[1], dtype=torch.float64)
        column[first_row[i.i_out] : first_row[i.i_out] + block.shape[0]] = block
        columns.append(column)
    return ConvTable(mul, groups, tuple(order), torch.cat(columns, dim=1))


def _coupling(product: Any, instruction: Any) -> torch.Tensor:
    irreps = (product.irreps_in1, product.irreps_in2, product.irreps_out)
    places = (instruction.i_in1, instruction.i_in2, instruction.i_out)
    l1, l2, l3 = (x[i].ir.l for x, i in zip(irreps, places, strict=True))
    cg: torch.Tensor = o3.wigner_3j(l1, l2, l3, dtype=torch.float64) * instruction.path_weight
    return cg.reshape(-1, 2 * l3 + 1).T


def harmonics_table(harmonics: Any) -> torch.Tensor:
    """Return the spherical harmonics as polynomials of a unit vector n.

    shape (n_harmonics, 1 + 3 + 9 + ...): columns run over the components of 1, n, n⊗n, ...
    """
    require(isinstance(harmonics, o3.SphericalHarmonics), "unknown spherical harmonics")
    require(bool(harmonics.normalize), "harmonics of vectors that are not normalised")
    orders = [ir.l for _, ir in harmonics.irreps_out]
    require(orders == list(range(len(orders))), "spherical harmonics out of order")
    points = torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(points, dim=1)
    powers = [torch.ones(500, 1, dtype=torch.float64)]
    for _ in orders[1:]:
        powers.append((powers[-1][:, :, None] * unit[:, None, :]).reshape(500, -1))
    blocks = []
    for order, power in zip(orders, powers, strict=True):
        values = o3.spherical_harmonics(order, unit, True, harmonics.normalization)
        solution = torch.linalg.lstsq(power, values, driver="gelsd").solution
        blocks.append(solution.T)
    table: torch.Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return table


@dataclass(frozen=True)
class ContractionTable:
    """The symmetric contraction of one output irrep as a polynomial of the node's features x.

    ``out[m] = sum_i x_i sum_t V[m, i, t] monomial_t`` with monomials of :func:`monomials`, where
    ``V = weights @ table`` and weights are concatenated from the highest degree down.

    Attributes
    ----------
    table
        shape (n_weights, (2l + 1) * n_components * n_monomials)
    """

    n_out: int
    correlation: int
    table: torch.Tensor


def monomials(n: int, correlation: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pairs (i <= j) of a product of degree two; none below correlation 3."""
    pairs = list(combinations_with_replacement(range(n), 2)) if correlation == 3 else []
    first, second = [i for i, _ in pairs], [j for _, j in pairs]
    return torch.tensor(first, dtype=torch.int64), torch.tensor(second, dtype=torch.int64)


def contraction_tables(contraction: Any, n_elements: int) -> list[ContractionTable]:
    """Read a symmetric contraction, one table for each output irrep."""
    require(type(contraction) is SymmetricContraction, "an unknown symmetric contraction")
    common_mul(contraction.irreps_in)
    tables = []
    for part in contraction.contractions:
        require(part.correlation <= 3, "a correlation above 3")
        require(part.weights_max.shape[0] == n_elements, "a contraction without elements")
        degrees = range(part.correlation, 0, -1)
        tensors = {d: getattr(part, f"U_matrix_{d}").double() for d in degrees}
        single = tensors[1].dim() == 2
        tables.append(_contraction_table({d: u[None] if single else u for d, u in tensors.items()}))
    require(len({t.correlation for t in tables}) == 1, "several correlations in one block")
    return tables


def _contraction_table(tensors: dict[int, torch.Tensor]) -> ContractionTable:
    top = max(tensors)
    n_out, n = tensors[1].shape[:2]
    first, second = (index.tolist() for index in monomials(n, top))
    n_pairs = len(first)
    widths = {3: (0, n_pairs), 2: (n_pairs, n if top > 1 else 0)}
    total = n_pairs + widths[2][1] + 1
    blocks = []
    for degree in sorted(tensors, reverse=True):
        u = tensors[degree]
        block = torch.zeros(u.shape[-1], n_out, n, total, dtype=torch.float64)
        if degree == 3:
            both = u + u.transpose(2, 3)
            same = torch.tensor([i == j for i, j in zip(first, second, strict=True)])
            picked = torch.where(same[:, None], 0.5, 1.0) * both[:, :, first, second]
            block[..., :n_pairs] = picked.permute(3, 0, 1, 2)
        elif degree == 2:
            block[..., n_pairs : n_pairs + n] = u.permute(3, 0, 1, 2)
        else:
            block[..., -1] = u.permute(2, 0, 1)
        blocks.append(block.reshape(u.shape[-1], -1))
    return ContractionTable(n_out, top, torch.cat(blocks))
