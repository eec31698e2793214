"""What a model sees in a structure: invariant descriptors of its atoms, derivatives of its forces."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from phonotune.errors import FoundationError
from phonotune.models.batching import Batching
from phonotune.models.evaluate import choose_device, readout_head, torch_dtype
from phonotune.models.graphs import Batch, GraphSpec
from phonotune.models.mace_parts import o3
from phonotune.ports import FloatArray

if TYPE_CHECKING:
    from pymatgen.core import Structure


class FeatureExtractor:
    """Computes per-structure features of a MACE model, in batches of atoms.

    Parameters
    ----------
    model
        A plain MACE module; it is copied.
    device
        ``"auto"`` or a torch device.
    dtype
        ``"float64"`` or ``"float32"``.
    atoms_per_batch
        Most atoms in one batch; see :class:`phonotune.models.batching.Batching`.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        device: str = "auto",
        dtype: str = "float64",
        atoms_per_batch: int | None = None,
    ) -> None:
        self.device = choose_device(device)
        self._model: Any = copy.deepcopy(model).to(self.device, torch_dtype(dtype)).eval()
        self._model.requires_grad_(requires_grad=False)
        self._head = readout_head(self._model)
        spec = GraphSpec.of(self._model)
        self._batching = Batching(spec, self.device, self._head, atoms_per_batch)

    def descriptors(self, structures: Sequence[Structure]) -> list[FloatArray]:
        """Return the invariant node features after every interaction, side by side.

        Returns
        -------
        list of FloatArray
            One per structure, shape (n_atoms, n_features), without unit; unchanged by rotation,
            translation and exchange of like atoms.

        Raises
        ------
        StructureError
            An element is unknown to the model.
        PhonotuneError
            One structure alone does not fit the memory.
        """
        return self._batching.map(self._descriptors, structures)

    def force_features(self, structures: Sequence[Structure]) -> list[FloatArray]:
        """Return the derivatives of the forces with respect to the last-layer weights.

        The energy is linear in the weights of the last linear map of each readout, E = Σ w_k φ_k; so
        the derivative of the forces with respect to w_k is -∂φ_k/∂x, exactly, whatever the weights
        are. One backward pass per weight.

        Returns
        -------
        list of FloatArray
            One per structure, shape (3 n_atoms, n_weights), 1/Å times eV: the change of each force
            component (atom by atom, x y z) for a unit change of a weight.

        Raises
        ------
        StructureError
            An element is unknown to the model.
        FoundationError
            A readout whose last linear map is not known.
        PhonotuneError
            One structure alone does not fit the memory.
        """
        return self._batching.map(self._force_features, structures)

    def _descriptors(self, batch: Batch) -> list[FloatArray]:
        with torch.no_grad(), _outputs_of(self._model.products) as captured:
            self._forward(batch)
        columns = [
            _scalars(values, product.linear.irreps_out)
            for values, product in zip(captured, self._model.products, strict=True)
        ]
        return _split(torch.cat(columns, dim=1), batch)

    def _force_features(self, batch: Batch) -> list[FloatArray]:
        batch["positions"].requires_grad_(True)
        last = [_last_linear(readout) for readout in self._model.readouts]
        with _inputs_of(last) as captured:
            self._forward(batch)
        scale = self._scale()
        columns = [
            _scalars(values, linear.irreps_in)
            for values, linear in zip(captured, last, strict=True)
        ]
        total = scale * torch.cat(columns, dim=1).sum(dim=0)
        gradients = [
            -torch.autograd.grad(value, batch["positions"], retain_graph=True)[0] for value in total
        ]
        per_atom = torch.stack(gradients, dim=-1)
        return [rows.reshape(-1, len(total)) for rows in _split(per_atom, batch)]

    def _scale(self) -> float:
        """Return what the model multiplies the readout with, eV."""
        if not hasattr(self._model, "scale_shift"):
            return 1.0
        return float(torch.as_tensor(self._model.scale_shift.scale).reshape(-1)[self._head])

    def _forward(self, batch: Batch) -> None:
        self._model(batch, training=False, compute_force=False)


def _last_linear(readout: Any) -> Any:
    """Return the linear map that a readout ends with."""
    for name in ("linear_2", "linear"):
        linear = getattr(readout, name, None)
        if isinstance(linear, o3.Linear):
            return linear
    raise FoundationError(
        f"The last layer of a {type(readout).__name__} is not known, so the model gives no force "
        "features. Choose another selection method: energy, fps or random."
    )


@contextmanager
def _outputs_of(modules: Sequence[torch.nn.Module]) -> Iterator[list[torch.Tensor]]:
    captured: list[torch.Tensor] = []
    hooks = [m.register_forward_hook(lambda _, __, out: captured.append(out)) for m in modules]
    try:
        yield captured
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _inputs_of(modules: Sequence[torch.nn.Module]) -> Iterator[list[torch.Tensor]]:
    captured: list[torch.Tensor] = []
    hooks = [m.register_forward_pre_hook(lambda _, args: captured.append(args[0])) for m in modules]
    try:
        yield captured
    finally:
        for hook in hooks:
            hook.remove()


def _scalars(values: torch.Tensor, irreps: o3.Irreps) -> torch.Tensor:
    """Return the columns of the even scalars, shape (n_atoms, n_scalars)."""
    parts = [
        values[:, s] for s, (_, ir) in zip(irreps.slices(), irreps, strict=True) if ir.is_scalar()
    ]
    return torch.cat(parts, dim=1)


def _split(values: torch.Tensor, batch: Batch) -> list[FloatArray]:
    bounds = batch["ptr"].tolist()[1:-1]
    array = values.detach().to("cpu", torch.float64).numpy()
    return [np.ascontiguousarray(part) for part in np.split(array, bounds)]


def pool_features(
    model: torch.nn.Module, needs: str | None, structures: Sequence[Structure], device: str = "auto"
) -> list[FloatArray] | None:
    """Return what a selection method needs of a model (float32), one array per structure, or None.

    Parameters
    ----------
    model
        A plain MACE module.
    needs
        ``"descriptors"``, ``"force features"`` or None.
    structures
        What to describe.
    device
        ``"auto"`` or a torch device.

    Raises
    ------
    PhonotuneError
        As :class:`FeatureExtractor`.
    """
    if needs is None:
        return None
    extractor = FeatureExtractor(model, device, dtype="float32")
    found = extractor.descriptors if needs == "descriptors" else extractor.force_features
    return found(structures)
