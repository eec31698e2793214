"""Energies, forces and stresses of many structures by one MACE model, in batches of atoms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import torch

from phonotune.errors import FoundationError, PhonotuneError
from phonotune.models.adapter import Adapter, merge_into
from phonotune.models.batching import Batching
from phonotune.models.fast import accelerate
from phonotune.models.graphs import Batch, GraphSpec
from phonotune.models.memory import reuse_memory
from phonotune.ports import Evaluation, Source
from phonotune.schemas.training import ModelRecord
from phonotune.settings import get_settings

if TYPE_CHECKING:
    from pymatgen.core import Structure

DTYPES: Final[dict[str, torch.dtype]] = {"float64": torch.float64, "float32": torch.float32}


def torch_dtype(name: str) -> torch.dtype:
    """Return the torch dtype of ``"float64"`` or ``"float32"``; refuse anything else."""
    if name not in DTYPES:
        raise PhonotuneError(f"Unknown dtype {name!r}. Allowed: {', '.join(DTYPES)}.")
    return DTYPES[name]


def choose_device(device: str = "auto") -> torch.device:
    """Return the device to compute on.

    Parameters
    ----------
    device
        ``"auto"`` asks the setting ``device`` (``PHONOTUNE_DEVICE``) and, if that is ``auto`` too,
        takes CUDA where there is one, else the CPU. MPS is never chosen: it has no float64.
    """
    if device == "auto":
        device = get_settings().device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def readout_head(model: torch.nn.Module) -> int:
    """Return the index of the only head, or of the one named ``Default``.

    Raises
    ------
    FoundationError
        The model has several heads and none is the default.
    """
    heads: list[str] = list(getattr(model, "heads", None) or ["Default"])
    if len(heads) == 1:
        return 0
    for index, name in enumerate(heads):
        if name.lower() == "default":
            return index
    raise FoundationError(
        f"The model has the heads {', '.join(heads)} and none is named Default. Choose one with --head NAME."
    )


class ModelEvaluator:
    """Answers structures with a MACE model; implements :class:`phonotune.ports.Evaluator`.

    The model is copied, so later training does not change the answers, and the given module keeps
    its device, dtype and gradients.

    Parameters
    ----------
    model
        A plain MACE module, of any dtype and on any device.
    device
        ``"auto"`` or a torch device; see :func:`choose_device`.
    dtype
        ``"float64"`` (phonons need it) or ``"float32"``.
    atoms_per_batch
        Most atoms in one batch; None takes the setting ``atoms_per_batch``, or what suits the
        device. A larger structure is a batch of its own. It does not change the answers.
    record, member
        Which model it is, and which member of its committee, counted from 0; None for a module that
        is not stored, which has neither source nor identity.
    adapter
        Added to the weights of the copy; None for the module as it is.
    """

    members = ()

    def __init__(
        self,
        model: torch.nn.Module,
        device: str = "auto",
        dtype: str = "float64",
        atoms_per_batch: int | None = None,
        record: ModelRecord | None = None,
        member: int = 0,
        adapter: Adapter | None = None,
    ) -> None:
        reuse_memory()
        self._record, self._member = record, member
        self.device = choose_device(device)
        self.dtype = dtype
        own = accelerate(model, self.device, torch_dtype(dtype))
        if adapter is not None:
            merge_into(own, adapter)
        self._model = own.eval().requires_grad_(requires_grad=False)
        self._spec = GraphSpec.of(self._model)
        head = readout_head(self._model)
        channels = next(
            parameter.numel() // len(self._spec.elements)
            for name, parameter in self._model.named_parameters()
            if name.endswith("node_embedding.linear.weight")
        )
        self._batching = Batching(self._spec, self.device, head, atoms_per_batch, channels)

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the model knows."""
        return self._spec.symbols

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Evaluate structures, in order.

        Raises
        ------
        StructureError
            An element is unknown to the model.
        PhonotuneError
            The model gave NaN or infinity, or one structure alone does not fit the memory.
        """
        answers = self._batching.map(self._run, structures)
        for index, (structure, answer) in enumerate(zip(structures, answers, strict=True)):
            _require_finite(answer, structure, index)
        return answers

    @property
    def source(self) -> Source:
        """Who answers, as Documents name it; raises PhonotuneError if there is no record."""
        return self._stored.source(self.dtype, str(self.device))

    @property
    def identity(self) -> str:
        """The model's id, which member it is, precision; raises PhonotuneError if there is no record."""
        return f"{self._stored.model_id} member {self._member} {self.dtype}"

    @property
    def _stored(self) -> ModelRecord:
        if self._record is None:
            raise PhonotuneError(
                "This evaluator was made of a module that is not stored, so nothing says who it is. "
                "Load a model by load_evaluator, or give its record to ModelEvaluator."
            )
        return self._record

    def _run(self, batch: Batch) -> list[Evaluation]:
        bounds = batch["ptr"].tolist()
        output = self._model(batch, training=False, compute_force=True, compute_stress=True)
        energy, forces, stress = (
            cast("torch.Tensor", output[key]).detach().to("cpu", torch.float64).numpy()
            for key in ("energy", "forces", "stress")
        )
        return [
            Evaluation(float(energy[i]), forces[bounds[i] : bounds[i + 1]].copy(), stress[i].copy())
            for i in range(len(energy))
        ]


def _require_finite(answer: Evaluation, structure: Structure, index: int) -> None:
    finite = np.isfinite(answer.energy) and np.isfinite(answer.forces).all()
    if not finite or (answer.stress is not None and not np.isfinite(answer.stress).all()):
        raise PhonotuneError(
            f"The model gave NaN or infinity for structure {index} "
            f"({structure.composition.formula}, volume {structure.volume:.1f} Å^3). "
            "Look for overlapping atoms, or for a training that diverged."
        )
