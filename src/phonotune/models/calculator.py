"""Any model as an ASE calculator, also for atomate2's force-field Makers.

In a Maker: ``force_field_name={"@module": "phonotune.models.calculator", "@callable":
"load_calculator"}, calculator_kwargs={"model": "runs/nacl"}``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, cast

from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from pymatgen.core import Lattice, Structure

from phonotune.errors import FoundationError, StructureError
from phonotune.models.evaluators import load_evaluator
from phonotune.models.records import find_model, model_record
from phonotune.ports import Evaluator
from phonotune.schemas.blob import join_blobs
from phonotune.schemas.training import ModelRecord

if TYPE_CHECKING:
    from ase import Atoms


_MODEL_ID: Final = re.compile(r"[0-9a-f]{64}")
_START_OF_ID: Final = re.compile(r"[0-9a-f]{6,64}")


class ModelSource(Protocol):
    """Where models are kept by their id; :class:`phonotune.ResultStore` is one."""

    def model(self, model_id: str) -> ModelRecord:
        """Return the model; raises InputError if it is not there."""
        ...


class EvaluatorCalculator(Calculator):
    """ASE calculator around an evaluator, for crystals (periodic in three directions).

    Units and signs are ASE's: eV, eV/Å, eV/Å^3 with the stress in Voigt order xx yy zz yz xz xy.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, evaluator: Evaluator, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.evaluator = evaluator

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate `atoms` and keep every property in ``results``.

        Raises
        ------
        StructureError
            The atoms are not periodic in three directions, or hold an unknown element.
        """
        super().calculate(atoms, properties, system_changes)
        answer = self.evaluator([_crystal(self.atoms)])[0]
        self.results = {
            "energy": answer.energy,
            "free_energy": answer.energy,
            "forces": answer.forces,
        }
        if answer.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(answer.stress)


def load_calculator(
    model: ModelRecord | str | Path,
    device: str = "auto",
    dtype: str = "float64",
    sha256: str | None = None,
    store: ModelSource | None = None,
    head: str | None = None,
) -> Calculator:
    """Load a model as an ASE calculator; a process loads each model once.

    Parameters
    ----------
    model
        A model directory, a foundation's name, a trusted foundation file, a record, or a model_id
        (all 64 digits; with ``store`` six or more): that model comes out of the database alone.
    device
        ``"auto"`` or a torch device.
    dtype
        ``"float64"`` or ``"float32"``.
    sha256
        If given, the foundation must be this file.
    store
        Where a model_id is looked up, e.g. ``ResultStore("store.yaml")``; None takes the default store.
    head
        The head of a multi-head foundation.

    Raises
    ------
    InputError
        Nothing of that name is known, it must not be loaded, or it is another file.
    """
    record = _find(model, store, head)
    if sha256 not in (None, record.foundation.sha256):
        raise FoundationError(
            f"Model {record.foundation.name!r} has sha256 {record.foundation.sha256[:12]} here, "
            f"{str(sha256)[:12]} is asked for. Use the file that the flow was made with."
        )
    return EvaluatorCalculator(load_evaluator(record, device, dtype))


def _find(
    model: ModelRecord | str | Path, store: ModelSource | None, head: str | None
) -> ModelRecord:
    """Return the record of a model; a model_id is looked up in a store."""
    pattern = _MODEL_ID if store is None else _START_OF_ID
    if not isinstance(model, str) or not pattern.fullmatch(model) or Path(model).exists():
        return find_model(model, head)
    # the store lies above: it is named by the package's public surface, never imported here
    source = store or cast(ModelSource, import_module("phonotune").ResultStore())
    record = source.model(model)
    adapters = [join_blobs(parts) for parts in record.adapters]
    named = model_record(
        record.foundation, record.strategy, adapters, record.dataset_hash, record.config
    )
    if named.model_id != record.model_id:
        raise FoundationError(
            f"The store gave another model than {record.model_id[:12]}: its parts have the id "
            f"{named.model_id[:12]}. The store is damaged; train again or load an archive."
        )
    return find_model(record, head)


def _crystal(atoms: Atoms) -> Structure:
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise StructureError(
            f"{atoms.get_chemical_formula()} is not periodic in three directions "
            f"(pbc {atoms.pbc.tolist()}). Give a crystal with a full cell."
        )
    return Structure(
        Lattice(atoms.cell.array), atoms.numbers, atoms.positions, coords_are_cartesian=True
    )
