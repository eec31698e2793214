"""Ionic steps of VASP, from vasprun.xml.

The energy is the free energy (``e_fr_energy``, "free energy TOTEN"): forces and stress are its
derivatives, not those of energy(sigma->0), and not those of an enthalpy. VASP's stress is in kB, positive
under compression; ASE's sign is the opposite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, iterparse

import numpy as np
from ase.units import GPa
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure import StructureError

from phonotune.data.vasp_settings import plain, settings_of
from phonotune.errors import FramesError
from phonotune.files import uncompressed

if TYPE_CHECKING:
    from phonotune.ports import FloatArray


class DamagedError(FramesError):
    """A file that is not there, an archive, cut off or damaged."""


KILOBAR: Final = -0.1 * GPa
"""eV/Å^3, ASE's sign, of 1 kB in VASP's."""

Say = Callable[[str], None]
"""Called once for each thing that a reader leaves behind, with a sentence without its full stop."""

CUT_OFF: Final = "The file ends before VASP does; its whole ionic steps are taken"
BROKEN: Final = (
    "A step that cannot be read (numbers, cell or electronic steps are missing) is left out"
)
ML_STEPS: Final = "Energies and forces of a machine-learned force field (ML_LMLFF) are left out"
NO_FULL_STRESS: Final = "No stress: with this ISIF VASP computes no full tensor"
VECTORS: Final = "Magnetic moments are vectors (a non-collinear run) and are left behind"
NO_P_V: Final = "Energies are without the P V of PSTRESS, as forces and stress are"
NO_ENERGY: Final = (
    "A complete step without total energy and forces (GW, optics, NMR, linear response) is no label"
)
PERHAPS_P_V: Final = (
    "No energy: under PSTRESS it differs from that of the electronic steps by more than P V"
)
SAME_ENERGY: Final = 1e-4
"""eV; the energy of an ionic step and of its last electronic step agree to eight decimals."""
NEB: Final = (
    "an image of a nudged elastic band (IMAGES), whose forces may hold those of the springs; label its "
    "structure by a run of its own"
)

UNREADABLE: Final = (
    *(ArithmeticError, AttributeError, LookupError, RuntimeError, StopIteration),
    *(StructureError, SyntaxError, TypeError, ValueError),
)
"""What reading a file can raise that is broken, cut off or of another kind."""


def silent(what: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, eq=False)
class IonicStep:
    """One ionic step of VASP with its labels.

    Attributes
    ----------
    structure
        Cell and positions.
    energy
        Free energy of the cell, eV, without P V; None where that cannot be told.
    forces
        shape (n_atoms, 3), eV/Å, also on atoms that a relaxation holds fixed.
    stress
        shape (3, 3), eV/Å^3, ASE's sign, symmetrised; None where VASP computed none.
    n_electronic
        Electronic steps taken; None where the file does not tell, and the step counts as converged.
    max_electronic
        Electronic steps allowed (NELM); as many taken as allowed means: not converged.
    settings
        What the labels depend on (:mod:`phonotune.data.vasp_settings`).
    magmoms
        shape (n_atoms,), µB; None where the file has none (vasprun.xml never has).
    """

    structure: Structure
    energy: float | None
    forces: FloatArray
    stress: FloatArray | None
    n_electronic: int | None
    max_electronic: int
    settings: Mapping[str, str] = field(default_factory=dict)
    magmoms: FloatArray | None = None

    @property
    def converged(self) -> bool:
        """True if the electronic steps ended before their limit."""
        return self.n_electronic is None or 0 < self.n_electronic < self.max_electronic


def read_vasprun(path: Path, say: Say = silent) -> list[IonicStep]:
    """Read every whole ionic step of a vasprun.xml, plain or compressed.

    Electronic steps are counted up to the energy of their ionic step; those of a linear response follow it.
    Positions and energies have eight decimals. ``e_fr_energy`` of a run under pressure (PSTRESS) holds P V,
    which is taken off; where it cannot be told whether it does, the energy is left out.

    Parameters
    ----------
    path
        The file.
    say
        Told what is left behind: steps of a machine-learned force field, a stress that is not a full tensor,
        P V, a step without energy, the end of a file that was cut off.

    Raises
    ------
    FramesError
        Not a vasprun.xml, no whole ionic step with energy and forces, or an image of a nudged elastic band.
    """
    listed: dict[str, str] = {}
    incar: dict[str, str] = {}
    symbols: list[str] = []
    titles: list[str] = []
    steps: list[IonicStep] = []
    left: list[str] = []
    settings: Mapping[str, str] = {}
    depth = 0  # of nested sets: a density of states, bands, projections
    with (
        whole_steps(steps, left, "a complete vasprun.xml"),
        uncompressed(path, DamagedError) as file,
    ):
        for event, element in iterparse(file, events=("start", "end")):
            depth += (element.tag == "set") * (1 if event == "start" else -1)
            if event == "start":
                continue
            if element.tag in ("incar", "parameters"):
                kept = incar if element.tag == "incar" else listed
                for entry in element.iter():  # NELM comes again for response functions
                    kept.setdefault(entry.get("name", ""), entry.text or "")
                if plain((incar | listed).get("IMAGES")):
                    raise FramesError(NEB)
            elif element.tag == "atominfo":
                symbols, titles = _atoms_and_titles(element)
            elif element.tag == "calculation":
                try:
                    step = _step(element, symbols, incar | listed, left)
                except UNREADABLE:
                    left.append(BROKEN)
                else:
                    settings = settings or settings_of(listed, incar, titles)
                    steps += [] if step is None else [replace(step, settings=settings)]
            elif element.tag != "set" or depth == 0:
                continue
            element.clear()
    return tell(steps, left, say)


@contextmanager
def whole_steps(steps: list[IonicStep], left: list[str], kind: str) -> Iterator[None]:
    """Let a file that ends early, or cannot be read further, give the whole ionic steps before.

    Parameters
    ----------
    steps
        Those that were read; the body adds to it.
    left
        Gets :data:`CUT_OFF`.
    kind
        What the file should be, for the message.

    Raises
    ------
    FramesError
        No step was read.
    """
    try:
        yield
    except (DamagedError, *UNREADABLE) as error:
        if steps:
            left.append(CUT_OFF)
        elif isinstance(error, DamagedError):
            raise
        else:
            raise FramesError(f"not {kind} ({first_line(error)})") from error


def tell(steps: list[IonicStep], left: Sequence[str], say: Say) -> list[IonicStep]:
    """Return ionic steps after saying what was left behind; FramesError if that is everything."""
    if not steps:
        raise FramesError(left[0] if left else "no ionic step with forces in it")
    for what in left:
        say(what)
    return steps


def without_p_v(
    free: float, electronic: float | None, pressure: float, volume: float
) -> float | None:
    """Return the energy of an ionic step without P V, eV; None if it cannot be told whether it holds P V.

    Parameters
    ----------
    free
        Free energy of the ionic step, eV.
    electronic
        That of its last electronic step, which never holds P V; None if not known.
    pressure
        PSTRESS, kB.
    volume
        Of the cell, Å^3.
    """
    if electronic is None:
        return None
    p_v = -KILOBAR * pressure * volume
    added = free - electronic
    if min(abs(added), abs(added - p_v)) > SAME_ENERGY:
        return None
    return free - p_v if abs(added - p_v) < abs(added) else free


def first_line(error: BaseException) -> str:
    """Return an error in one line of at most 160 characters."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:160]


def _step(
    element: Element, symbols: list[str], used: Mapping[str, str], left: list[str]
) -> IonicStep | None:
    """Return an ionic step without its settings, or None; what is left behind is added to ``left``."""
    in_order = [child.tag for child in element]
    own = in_order.index("energy") if "energy" in in_order else len(in_order)
    electronic = [e for child in element[:own] for e in child.iterfind("energy")]
    energies = {e.get("name"): e.text for e in element.iterfind("energy/i")}
    place, forces = element.find("structure"), _rows(element, "forces")
    if not electronic and plain(used.get("ML_LMLFF")):
        left.append(ML_STEPS)
        return None
    if "e_fr_energy" not in energies or place is None or forces is None:
        left.append(NO_ENERGY)
        return None
    cell, positions = _rows(place, "basis"), _rows(place, "positions")
    structure = Structure(Lattice(cell), symbols, positions)
    free = number(energies["e_fr_energy"] or "")
    energy: float | None = free
    if pressure := float(plain(used.get("PSTRESS")) or 0):
        last = electronic[-1].find("i[@name='e_fr_energy']") if electronic else None
        scf = None if last is None else number(last.text or "")
        energy = without_p_v(free, scf, pressure, structure.volume)
        left.append(NO_P_V if energy is not None else PERHAPS_P_V)
    stress = _rows(element, "stress")
    if plain(used.get("ISIF")) in (0.0, 1.0):
        stress = None
        left.append(NO_FULL_STRESS)
    return IonicStep(
        structure=structure,
        energy=energy,
        forces=forces,
        stress=None if stress is None else (KILOBAR * stress + KILOBAR * stress.T) / 2.0,
        n_electronic=len(electronic),
        max_electronic=int(float(plain(used["NELM"]) or 0)),
    )


def _atoms_and_titles(element: Element) -> tuple[list[str], list[str]]:
    """Return the element of each atom and the titles of the POTCARs, in order."""
    columns = {
        array.get("name"): [[c.text or "" for c in rc] for rc in array.iterfind("set/rc")]
        for array in element.iterfind("array")
    }
    symbols = [row[0].strip() for row in columns["atoms"]]
    # two elements that VASP misspells
    symbols = [{"X": "Xe", "r": "Zr"}.get(symbol, symbol) for symbol in symbols]
    return symbols, [row[4].strip() for row in columns["atomtypes"]]


def _rows(element: Element, name: str) -> FloatArray | None:
    """Return the numbers of a varray, a row per line; None if there is none of that name."""
    array = element.find(f".//varray[@name='{name}']")
    if array is None:
        return None
    rows = [[number(word) for word in (v.text or "").split()] for v in array]
    return np.array(rows, dtype=np.float64)


def number(word: str) -> float:
    """Return a number as VASP writes it; one too large for its columns is asterisks, here NaN."""
    value = float("nan") if "*" in word else float(word)
    return value if math.isfinite(value) else math.nan
