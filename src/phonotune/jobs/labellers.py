"""Labellers by name: which atomate2 makers give the reference energies, forces and stresses."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from jobflow import Maker

from phonotune.errors import ConfigError, unknown_name
from phonotune.jobs.vasp.protocol import LabelProtocol, VaspMonitoring

RELAX_FMAX: Final[float] = 1e-4
"""Force threshold of the initial relaxation by a surrogate labeller, eV/Å."""


@dataclass(frozen=True)
class Labeller:
    """A source of reference labels.

    Attributes
    ----------
    name
        The name that stands in every result.
    static
        atomate2 maker of one single point.
    relax
        atomate2 maker that relaxes cell and ions; None if the labeller offers none.
    protocol
        The label protocol that its runs are compared with; None if there is nothing to compare.
    """

    name: str
    static: Maker
    relax: Maker | None
    protocol: LabelProtocol | None = None


def _force_field(name: str, module: str, callable_: str, **kwargs: Any) -> Labeller:
    """Build a labeller around an ASE calculator, through atomate2's force-field makers."""
    from atomate2.forcefields.jobs import ForceFieldRelaxMaker, ForceFieldStaticMaker

    calculator = {"@module": module, "@callable": callable_}
    return Labeller(
        name=name,
        static=ForceFieldStaticMaker(
            name=f"{name} static", force_field_name=calculator, calculator_kwargs=kwargs
        ),
        relax=ForceFieldRelaxMaker(
            name=f"{name} relax",
            force_field_name=calculator,
            calculator_kwargs=kwargs,
            fix_symmetry=True,
            relax_kwargs={"fmax": RELAX_FMAX},
        ),
    )


def _model(name: str, foundation: str) -> Labeller:
    """Build a labeller around a MACE model, which its sha256 names beside its name."""
    from phonotune.models.foundation import find_foundation

    return _force_field(
        name,
        "phonotune.models.calculator",
        "load_calculator",
        model=foundation,
        sha256=find_foundation(foundation).sha256,
    )


def _teacher() -> Labeller:
    return _model("teacher", "teacher")


def _emt() -> Labeller:
    return _force_field("emt", "ase.calculators.emt", "EMT")


def _chgnet() -> Labeller:
    if importlib.util.find_spec("chgnet") is None:
        raise ConfigError(
            "Labeller 'chgnet' needs chgnet. Install it: pip install 'phonotune[chgnet]'."
        )
    return _force_field("chgnet", "chgnet.model.dynamics", "CHGNetCalculator")


def _gfn1_xtb() -> Labeller:
    if importlib.util.find_spec("tblite") is None:
        raise ConfigError(
            "Labeller 'gfn1-xtb' needs tblite. Install it: pip install 'phonotune[xtb]'."
        )
    from atomate2.ase.jobs import GFNxTBRelaxMaker, GFNxTBStaticMaker

    kwargs = {"method": "GFN1-xTB", "verbosity": 0}
    return Labeller(
        name="gfn1-xtb",
        static=GFNxTBStaticMaker(name="gfn1-xtb static", calculator_kwargs=kwargs),
        relax=GFNxTBRelaxMaker(
            name="gfn1-xtb relax",
            calculator_kwargs=kwargs,
            fix_symmetry=True,
            relax_kwargs={"fmax": 1e-3},
        ),
    )


def vasp_labeller(
    protocol: LabelProtocol | None = None, monitoring: VaspMonitoring | None = None
) -> Labeller:
    """Return VASP with a label protocol.

    Parameters
    ----------
    protocol
        What a label depends on; None for the default.
    monitoring
        How a run is watched; None for the default.
    """
    chosen = protocol or LabelProtocol()
    return Labeller(
        name="vasp",
        static=chosen.maker(monitoring),
        relax=chosen.relax_maker(monitoring),
        protocol=chosen,
    )


def potcars_here(protocol: LabelProtocol, elements: Iterable[str]) -> dict[str, str]:
    """Return the titles of the POTCARs that pymatgen finds here, by element.

    Parameters
    ----------
    protocol
        Names family and symbols; :meth:`LabelProtocol.check_potcars` says whether they are all there.
    elements
        Chemical symbols.
    """
    from pymatgen.io.vasp import PotcarSingle

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            element: PotcarSingle.from_symbol_and_functional(
                protocol.potcars.get(element, element), protocol.potcar_family
            )
            for element in elements
        }
    return {element: str(potcar.TITEL).strip() for element, potcar in found.items()}


NAMED: Final[dict[str, Callable[[], Labeller]]] = {
    "vasp": vasp_labeller,
    "teacher": _teacher,
    "gfn1-xtb": _gfn1_xtb,
    "emt": _emt,
    "chgnet": _chgnet,
}

WARNINGS: Final[dict[str, str]] = {
    "teacher": "teacher is a toy surface that stands in for DFT: not for science.",
    "chgnet": "chgnet is not smooth below about 0.05 Å: its phonons depend on the displacement.",
    "emt": "emt is a textbook potential that stands in for DFT: not for science.",
}
"""What a user must know before trusting labels of a surrogate."""


def find_labeller(name: str) -> Labeller:
    """Return the labeller of a name.

    Parameters
    ----------
    name
        ``vasp``, ``teacher``, ``gfn1-xtb``, ``emt``, ``chgnet``, ``mace:<foundation>``, or any atomate2 static
        maker as ``module:Class``.

    Raises
    ------
    ConfigError
        If nothing has that name.
    """
    if name in NAMED:
        return NAMED[name]()
    prefix, _, rest = name.partition(":")
    if not rest:
        raise unknown_name("labeller", name, [*NAMED, "mace:<foundation>", "<module>:<Class>"])
    if prefix == "mace":
        return _model(name, rest)
    return _imported(name, prefix, rest)


def _imported(name: str, module: str, class_name: str) -> Labeller:
    try:
        maker = getattr(importlib.import_module(module), class_name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"Labeller {name!r} cannot be built: {error}. Allowed: an importable atomate2 static maker "
            "as module:Class that needs no arguments. Check the spelling and the environment."
        ) from error
    return Labeller(name=name, static=maker, relax=None)
