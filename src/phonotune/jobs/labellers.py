"""Labellers by name: which atomate2 makers give the reference energies, forces and stresses."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jobflow import Maker

from phonotune.dotted import load
from phonotune.errors import ConfigError, require_package
from phonotune.jobs.vasp.protocol import LabelProtocol, VaspMonitoring
from phonotune.schemas.labellers import LABELLERS, labeller_row
from phonotune.schemas.training import FoundationRecord

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
    born
        atomate2 maker of Born charges and dielectric tensor; None if the labeller gives none.
    protocol
        The label protocol that its runs are compared with; None if there is nothing to compare.
    """

    name: str
    static: Maker
    relax: Maker | None
    born: Maker | None = None
    protocol: LabelProtocol | None = None


def calculator(name: str, callable_: str, **kwargs: Any) -> Labeller:
    """Build a labeller around an ASE calculator, through atomate2's force-field makers.

    Parameters
    ----------
    name
        Name of the labeller.
    callable_
        ``module:name`` of what makes the calculator.
    kwargs
        Its arguments.
    """
    from atomate2.forcefields.jobs import ForceFieldRelaxMaker, ForceFieldStaticMaker

    module, _, function = callable_.partition(":")
    force_field = {"@module": module, "@callable": function}
    return Labeller(
        name=name,
        static=ForceFieldStaticMaker(
            name=f"{name} static", force_field_name=force_field, calculator_kwargs=kwargs
        ),
        relax=ForceFieldRelaxMaker(
            name=f"{name} relax",
            force_field_name=force_field,
            calculator_kwargs=kwargs,
            fix_symmetry=True,
            relax_kwargs={"fmax": RELAX_FMAX},
        ),
    )


def mace_model(name: str, foundation: str = "") -> Labeller:
    """Build a labeller around a MACE model, whose sha256 stands beside its name.

    Parameters
    ----------
    name
        Name of the labeller, ``mace:<foundation>`` where ``foundation`` is left out, or
        ``mace:<foundation>@<head>``.
    foundation
        Name or file of the model.
    """
    from phonotune.models.engines import find_foundation

    model, given = foundation or name.partition(":")[2], {}
    if "@" in model and not Path(model).is_file():
        model, _, given["head"] = model.rpartition("@")
    sha256 = find_foundation(model, given.get("head")).sha256
    return calculator(
        name, "phonotune.models.calculator:load_calculator", model=model, sha256=sha256, **given
    )


def potential_record(name: str) -> FoundationRecord | None:
    """Return the potential that a labeller's name means, with which it travels; None if it means another.

    Raises
    ------
    ConfigError
        The level of theory of the potential is not stated.
    """
    from phonotune.models.potentials import find_potential, is_potential

    if ":" in name or name in LABELLERS or not is_potential(name):
        return None
    record = find_potential(name)
    assert record.potential is not None
    if not record.potential.level_of_theory:
        raise ConfigError(
            f"Labeller {name!r} is a potential of which nobody has stated the level of theory, which stands "
            f"with its labels. Give it to `phonotune models add {name}` as --level-of-theory, e.g. 'PBE'."
        )
    return record


def potential_labeller(potential: FoundationRecord) -> Labeller:
    """Return the labeller of a potential."""
    from phonotune.models.records import model_record

    return calculator(
        potential.name,
        "phonotune.models.calculator:load_calculator",
        model=model_record(potential),
    )


def ase_code(
    name: str, static: str, relax: str, fmax: float, calculator_kwargs: Mapping[str, Any]
) -> Labeller:
    """Build a labeller of atomate2's makers of a code that runs through ASE.

    Parameters
    ----------
    name
        Name of the labeller.
    static, relax
        ``module:Class`` of the makers.
    fmax
        Force threshold of a relaxation, eV/Å.
    calculator_kwargs
        Arguments of the calculator.
    """
    kwargs = dict(calculator_kwargs)
    return Labeller(
        name=name,
        static=load(static)(name=f"{name} static", calculator_kwargs=kwargs),
        relax=load(relax)(
            name=f"{name} relax",
            calculator_kwargs=kwargs,
            fix_symmetry=True,
            relax_kwargs={"fmax": fmax},
        ),
    )


def default_vasp(name: str) -> Labeller:
    """Return VASP with the default protocol."""
    return vasp_labeller()


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
        born=chosen.born_maker(monitoring),
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


def find_labeller(name: str) -> Labeller:
    """Return the labeller of a name.

    Parameters
    ----------
    name
        Name of a row of :data:`phonotune.schemas.labellers.LABELLERS`, of a potential, or any atomate2
        static maker as ``module:Class``.

    Raises
    ------
    ConfigError
        If nothing has that name, or it needs a package that is not installed.
    """
    if (potential := potential_record(name)) is not None:
        return potential_labeller(potential)
    row = labeller_row(name)
    if row is not None:
        require_package(f"Labeller {name!r}", row.package, row.extra)
        found: Labeller = load(row.build)(name, **row.arguments)
        return found
    try:
        maker = load(name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"Labeller {name!r} cannot be built: {error}. Allowed: an importable atomate2 static maker "
            "as module:Class that needs no arguments. Check the spelling and the environment."
        ) from error
    return Labeller(name=name, static=maker, relax=None)
