"""IsolatedAtomMaker: the energy of one atom, by the protocol that labels the frames."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from ase.data import atomic_numbers, ground_state_magnetic_moments
from jobflow import Maker, Response
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError
from phonotune.jobs.base import document_job, replace_by, role_job, tag
from phonotune.jobs.label import LabelMaker, check_vasp_run, read_task_document
from phonotune.schemas.isolated import IsolatedAtomDocument

BOX: Final = (12.0, 13.0, 14.0)
"""Edges of the default box, Å: unequal, so that no symmetry keeps an open shell from polarising."""

GAMMA_ONLY: Final = 1.0
"""KSPACING with which every box gets one k-point, 1/Å."""


@dataclass
class IsolatedAtomMaker(Maker):
    """Energy of an isolated atom, spin-polarised, in a box of broken symmetry.

    The document carries the protocol of the frames it belongs to. The atom differs from it in two
    things only: one k-point, and a starting moment by Hund's rule. The same element and settings are
    the same job, so a store that has the energy is not asked for it again.

    Parameters
    ----------
    label
        How frames are labelled.
    box
        Edges of the box, Å.
    """

    name: str = "isolated atom"
    label: LabelMaker = field(default_factory=LabelMaker)
    box: tuple[float, float, float] = BOX

    @role_job("light", IsolatedAtomDocument)
    def make(self, element: str) -> Response[IsolatedAtomDocument]:
        """Compute the atom of ``element`` (chemical symbol)."""
        static = self.atom_label(element).resolve().static.make(isolated_atom(element, self.box))
        last = atom_document(self, element, static.output)
        return replace_by([tag(static, "dft", self.name)], tag(last, "light", self.name))

    def atom_label(self, element: str) -> LabelMaker:
        """Return the LabelMaker of the atom: the Γ point and Hund's moment, all else as for frames."""
        moments = {element: hund_moment(element)}
        atomic = {"kspacing": GAMMA_ONLY, "magnetic_moments": moments}
        vasp = type(self.label.vasp).model_validate(self.label.vasp.model_dump() | atomic)
        return replace(self.label, vasp=vasp)


@document_job(IsolatedAtomDocument)
def atom_document(maker: IsolatedAtomMaker, element: str, output: Any) -> IsolatedAtomDocument:
    """Read the energy of an atom.

    Raises
    ------
    LabelError
        If it did not converge or another protocol was run.
    """
    atom = isolated_atom(element, maker.box)
    check_vasp_run(output, atom, maker.atom_label(element).resolve().protocol, {})
    return IsolatedAtomDocument(
        element=element,
        labeller=maker.label.labeller,
        protocol=maker.label.protocol(),
        energy=read_task_document(output, atom).energy,
        box=maker.box,
        starting_moment=hund_moment(element),
    )


def isolated_atom(element: str, box: tuple[float, float, float] = BOX) -> Structure:
    """Return one atom off the centre of a box with edges in Å."""
    return Structure(Lattice.orthorhombic(*box), [element], [[0.48, 0.51, 0.53]])


def hund_moment(element: str) -> float:
    """Return the moment of the free atom, µB, from ASE's table.

    Raises
    ------
    ConfigError
        If the table does not know the element.
    """
    number = atomic_numbers.get(element, 0)
    if not 0 < number < len(ground_state_magnetic_moments):
        raise ConfigError(
            f"No moment of a free atom of {element!r} is known. Allowed: the symbols of elements up to "
            f"number {len(ground_state_magnetic_moments) - 1}."
        )
    return float(ground_state_magnetic_moments[number])
