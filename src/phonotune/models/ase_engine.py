"""Any ASE calculator as an evaluator: ``ase:module:callable`` wherever a model's name is taken."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase.calculators.calculator import BaseCalculator

from phonotune.errors import FoundationError, PhonotuneError
from phonotune.models.potential_worker import elements_of, evaluate, versions_of
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
    atoms_at_once = 64

    def __init__(self, calculator: BaseCalculator, record: ModelRecord | None = None) -> None:
        self.calculator, self._record = calculator, record
        self._name = type(calculator).__name__ if record is None else record.label

    @property
    def elements(self) -> tuple[str, ...] | None:
        """Chemical symbols that the calculator knows; None if it has no ``elements`` that says so."""
        return _symbols(self.calculator)

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
        lattice, positions = structure.lattice.matrix, structure.cart_coords
        try:
            answer = evaluate(self.calculator, structure.atomic_numbers, lattice, positions)
        except _FAILURES as error:
            raise no_answer(self._name, structure, f"{type(error).__name__}: {error}") from error
        if not all(np.isfinite(array).all() for array in answer.values()):
            raise not_finite(self._name, structure)
        return Evaluation(float(answer["energy"]), answer["forces"], answer.get("stress"))


def no_answer(name: str, structure: Structure, why: str) -> PhonotuneError:
    """Build the error for a structure that a calculator could not answer."""
    return PhonotuneError(
        f"{name} gave no answer for {_words(structure)}: {why}. Check that it knows "
        f"{', '.join(sorted(structure.symbol_set))}, or choose another model."
    )


def not_finite(name: str, structure: Structure) -> PhonotuneError:
    """Build the error for a structure that a calculator answered with NaN or infinity."""
    return PhonotuneError(
        f"{name} gave NaN or infinity for {_words(structure)}. Look for overlapping atoms."
    )


def _words(structure: Structure) -> str:
    return f"{structure.composition.formula}, volume {structure.volume:.1f} Å^3"


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
    versions = versions_of(called, module)
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
    return _symbols(load_calculator_of(foundation))


def _symbols(calculator: BaseCalculator) -> tuple[str, ...] | None:
    said = elements_of(calculator)
    return None if said is None else tuple(said)


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
