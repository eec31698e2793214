"""Which references are DFT and which stand in for it; a stand-in is named on every page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from phonotune.schemas.labellers import LABELLERS

DFT_PACKAGES: Final = (
    "atomate2.vasp",
    "atomate2.aims",
    "atomate2.abinit",
    "atomate2.cp2k",
    "atomate2.jdftx",
)
"""Where atomate2's static makers of a DFT code live (a labeller given as ``module:Class``)."""


def surrogate_notice(evaluator: str, potential: str | None = None) -> str | None:
    """Return what a reference stands in for DFT as, or None for a known DFT labeller.

    Parameters
    ----------
    evaluator
        ``Source.evaluator`` of the reference: a labeller's name, ``mace:<foundation>`` or ``module:Class``.
    potential
        ``Source.potential`` of the reference.
    """
    if potential is not None:
        return f"a potential that stands in for DFT ({potential})"
    if evaluator.startswith(tuple(f"{package}." for package in DFT_PACKAGES)):
        return None
    for row in LABELLERS.values():
        if evaluator == row.name or (row.family and evaluator.startswith(row.family)):
            return None if row.is_dft else f"{row.theory} that stands in for DFT"
    if "forcefields" in evaluator:
        return "a machine-learned potential that stands in for DFT"
    return "a labeller that is not known to be DFT"


def surrogates_among(
    evaluators: Iterable[str], potentials: Mapping[str, str | None] | None = None
) -> dict[str, str]:
    """Return evaluator -> notice for those that are not DFT, in order, each once.

    Parameters
    ----------
    evaluators
        Of the references.
    potentials
        ``Source.potential`` by evaluator, of those that have one.
    """
    known = potentials or {}
    notices = {name: surrogate_notice(name, known.get(name)) for name in evaluators}
    return {name: text for name, text in notices.items() if text is not None}
