"""What can evaluate structures: one row per engine. Nothing here loads torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phonotune.errors import ConfigError, FoundationError
from phonotune.models import ase_engine, elements, foundation, potentials, process_engine
from phonotune.schemas.training import FoundationRecord


@dataclass(frozen=True)
class Engine:
    """A way to evaluate structures.

    Attributes
    ----------
    find
        Returns the record of a name, without loading the model.
    elements
        Chemical symbols that a model knows; None if it does not say.
    evaluator
        Dotted path, ``module:name``, of what makes the evaluator of a record, on a device and in a precision,
        both of which it may ignore; it is imported when a model is loaded.
    trainable
        Whether strategies can tune its models, and selection methods use their features.
    choose_head
        Returns the record of one head of a foundation, None: of the only one; None if no model of the engine
        has heads.
    """

    find: Callable[[str], FoundationRecord]
    elements: Callable[[FoundationRecord], tuple[str, ...] | None]
    evaluator: str
    trainable: bool = False
    choose_head: Callable[[FoundationRecord, str | None], FoundationRecord] | None = None


ENGINES: Final = {
    "mace": Engine(
        foundation.find_mace,
        elements.mace_elements,
        "phonotune.models.load:load_mace",
        trainable=True,
        choose_head=elements.choose_head,
    ),
    "ase": Engine(
        ase_engine.find_calculator,
        ase_engine.calculator_elements,
        "phonotune.models.ase_engine:evaluate_with_ase",
    ),
    "process": Engine(
        potentials.find_potential,
        process_engine.potential_elements,
        "phonotune.models.process_engine:evaluate_in_process",
    ),
}
"""By name; ``name:...`` names a model of that engine. What has no such prefix is a potential that was added, or
that a package brings, else a MACE model."""


def find_foundation(
    name_or_path: str | Path | FoundationRecord, head: str | None = None
) -> FoundationRecord:
    """Resolve a foundation to its name and sha256; no model is loaded, but to look for the head that is named.

    Parameters
    ----------
    name_or_path
        One of :func:`phonotune.models.foundation.foundation_names` (downloaded once by mace-torch where
        needed), the path of a trusted ``.model`` file, the file name of one that was trusted on this
        machine, ``ase:module:callable``, the name of a potential
        (:func:`phonotune.models.potentials.is_potential`), or the record that this function returned, here or
        elsewhere.
    head
        The head of a multi-head foundation; None for one that has one head.

    Raises
    ------
    FoundationError
        Unknown name; no network and no cached file; a file that is not trusted; no such calculator; no such
        head, or none named of a foundation that is known to have several.
    """
    if isinstance(name_or_path, FoundationRecord):
        if head not in (None, name_or_path.head):
            raise FoundationError(
                f"{name_or_path.label} is chosen, not the head {head!r} of it. Leave one out."
            )
        return name_or_path
    name = str(name_or_path)
    engine, colon, _ = name.partition(":")
    if not colon or engine not in ENGINES or engine == "process":
        own = name not in foundation.foundation_names() and potentials.is_potential(name)
        engine = "process" if own else "mace"
    record = ENGINES[engine].find(name)
    choose = ENGINES[record.engine].choose_head
    if choose is not None:
        return choose(record, head)
    if head is not None:
        raise FoundationError(
            f"{record.name} is not a MACE model and has no heads. Leave --head out."
        )
    return record


def foundation_elements(record: FoundationRecord) -> tuple[str, ...] | None:
    """Return the chemical symbols that a foundation knows; None if it does not say.

    Raises
    ------
    FoundationError
        The foundation cannot be had or read.
    """
    return ENGINES[record.engine].elements(record)


def require_trainable(record: FoundationRecord, what: str) -> None:
    """Refuse a foundation that cannot be tuned and has no features.

    Parameters
    ----------
    record
        The foundation.
    what
        What needs a MACE model, as the subject of a sentence: ``"Strategy 'lora'"``.

    Raises
    ------
    ConfigError
        The foundation is not a MACE model.
    """
    if not ENGINES[record.engine].trainable:
        raise ConfigError(
            f"{what} needs a MACE model, and {record.name} is an ASE calculator. Choose a MACE "
            "foundation, or use the calculator as it is: without strategies (--strategy none), selecting by "
            "energy or random, corrected by labels (ΔΦ)."
        )
