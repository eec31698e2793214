"""Any ASE calculator as an evaluator: ``ase:module:callable`` wherever a model's name is taken."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from ase.data import chemical_symbols

from phonotune.errors import FoundationError, PhonotuneError
from phonotune.ports import Evaluation, Source
from phonotune.schemas.base import hash_json
from phonotune.schemas.training import FoundationRecord, ModelRecord

if TYPE_CHECKING:
    from pymatgen.core import Structure

PREFIX: Final = "ase:"

_FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError),
    *(RuntimeError, TypeError, ValueError),
)
"""What a calculator may raise for a structure that it does not know how to answer."""


class AseEvaluator:
    """Answers structures one by one with an ASE calculator; implements :class:`phonotune.ports.Evaluator`.

    Parameters
    ----------
    calculator
        Gives energy and forces of a crystal; stress if it can.
    record
        Names the calculator; None for one that is made on the spot.
    """

    members = ()

    def __init__(self, calculator: BaseCalculator, record: ModelRecord | None = None) -> None:
        self.calculator, self._record = calculator, record
        self._name = type(calculator).__name__ if record is None else record.label

    @property
    def elements(self) -> tuple[str, ...] | None:
        """Chemical symbols that the calculator knows; None if it has no ``elements`` that says so."""
        return elements_of(self.calculator)

    @property
    def source(self) -> Source:
        """Who answers, as Documents name it."""
        if self._record is None:
            return Source(role="untuned", evaluator=self._name)
        return self._record.source()

    @property
    def identity(self) -> str:
        """Name and version of the calculator, as the record has them."""
        if self._record is None:
            raise PhonotuneError(
                f"A {self._name} that was made on the spot has no identity. Name it "
                f"{PREFIX}module:callable and load it by load_evaluator."
            )
        return self._record.model_id

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Evaluate structures, in order.

        Raises
        ------
        PhonotuneError
            The calculator failed, or gave NaN or infinity; the structure and its elements are named.
        """
        return [self._evaluate(structure) for structure in structures]

    def _evaluate(self, structure: Structure) -> Evaluation:
        atoms = Atoms(
            numbers=structure.atomic_numbers,
            cell=structure.lattice.matrix,
            positions=structure.cart_coords,
            pbc=True,
        )
        atoms.calc = self.calculator
        what = f"{structure.composition.formula}, volume {structure.volume:.1f} Å^3"
        try:
            energy, forces = float(atoms.get_potential_energy()), np.array(atoms.get_forces())
            try:
                stress = np.array(atoms.get_stress(voigt=False))
            except (PropertyNotImplementedError, NotImplementedError):
                stress = None
        except _FAILURES as error:
            raise PhonotuneError(
                f"{self._name} gave no answer for {what}: {type(error).__name__}: {error}. Check that "
                f"it knows {', '.join(sorted(structure.symbol_set))}, or choose another model."
            ) from error
        if not all(
            np.isfinite(x).all() for x in (energy, forces, 0.0 if stress is None else stress)
        ):
            raise PhonotuneError(
                f"{self._name} gave NaN or infinity for {what}. Look for overlapping atoms."
            )
        return Evaluation(energy, forces, stress)


def find_calculator(name: str) -> FoundationRecord:
    """Return the record of ``ase:module:callable``; its sha256 is over name, arguments and version.

    The version is that of the distribution that holds the module, or the content of the module's file
    where it belongs to none.

    Raises
    ------
    FoundationError
        There is no such module or callable, or it needs arguments.
    """
    called = _callable(name)
    module = name.split(":")[1]
    owners = packages_distributions().get(module.partition(".")[0], [])
    versions = {owner: version(owner) for owner in sorted(set(owners))}
    if not versions:
        file = Path(inspect.getfile(inspect.unwrap(called)))
        versions = {module: hashlib.sha256(file.read_bytes()).hexdigest()}
    identity = {"calculator": name, "arguments": {}, "versions": versions}
    return FoundationRecord(name=name, sha256=hash_json(identity), engine="ase")


@lru_cache(maxsize=4)
def load_calculator_of(foundation: FoundationRecord) -> BaseCalculator:
    """Make the calculator of a record, once per process.

    Raises
    ------
    FoundationError
        It is not installed here, is of another version, or cannot be made.
    """
    found = find_calculator(foundation.name)
    if found != foundation:
        raise FoundationError(
            f"{foundation.name} has another version here than where the flow was made (identity "
            f"{found.sha256[:12]}, expected {foundation.sha256[:12]}). Install the same version."
        )
    try:
        calculator = _callable(foundation.name)()
    except _FAILURES as error:
        raise FoundationError(
            f"{foundation.name} cannot be made: {type(error).__name__}: {error}. "
            "Make it work in Python first: it is called without arguments."
        ) from error
    if not hasattr(calculator, "get_property"):
        raise FoundationError(
            f"{foundation.name} gave a {type(calculator).__name__}, not an ASE calculator. Name a class "
            "of a calculator, or a function that returns one."
        )
    return calculator


def evaluate_with_ase(record: ModelRecord, _device: str, _dtype: str) -> AseEvaluator:
    """Return the evaluator of a record; device and precision are the calculator's own."""
    return AseEvaluator(load_calculator_of(record.foundation), record)


def calculator_elements(foundation: FoundationRecord) -> tuple[str, ...] | None:
    """Return the chemical symbols that a calculator says it knows, else None."""
    return elements_of(load_calculator_of(foundation))


def elements_of(calculator: BaseCalculator) -> tuple[str, ...] | None:
    """Return the attribute ``elements`` of a calculator (symbols or atomic numbers) as symbols, else None."""
    given = getattr(calculator, "elements", None)
    if not isinstance(given, (list, tuple, set, frozenset)) or not given:
        return None
    symbols = [chemical_symbols[e] if isinstance(e, int) else e for e in given]
    return tuple(symbols) if set(symbols) <= set(chemical_symbols) else None


def _callable(name: str) -> Callable[[], Any]:
    """Return what ``ase:module:callable`` names, once it is sure that it needs no arguments."""
    _, module, attribute = (*name.split(":"), "", "")[:3]
    allowed = "Allowed is ase:module:callable, e.g. ase:ase.calculators.emt:EMT"
    if name.count(":") != 2 or not module or not attribute:
        raise FoundationError(f"{name!r} does not name an ASE calculator. {allowed}.")
    try:
        called = getattr(import_module(module), attribute)
    except ImportError as error:
        raise FoundationError(
            f"{name}: the module {module} cannot be imported ({error}). {allowed}; install it here, or "
            "put its folder on PYTHONPATH."
        ) from error
    except AttributeError as error:
        raise FoundationError(f"{name}: {module} holds no {attribute}. {allowed}.") from error
    if not callable(called):
        raise FoundationError(f"{name}: {attribute} cannot be called. {allowed}.")
    try:
        inspect.signature(called).bind()
    except TypeError as error:
        raise FoundationError(
            f"{name} needs arguments ({error}). Write a function without arguments that returns the "
            "calculator, in a module of your own, and name that."
        ) from error
    return called  # type: ignore[no-any-return]
