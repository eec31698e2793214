"""What VASP really ran, compared with the label protocol: a frame that differs is not a label.

Compared are the INCAR that VASP echoes, what it made of it, its k-points and the titles of its POTCARs.
Only :data:`FREE` keys may differ: steps and mixing move the path to the ground state, the rest splits work
or writes files. ALGO may not: another algorithm can end in another electronic state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from pymatgen.core import Structure

from phonotune.data.vasp_settings import plain
from phonotune.jobs.vasp.protocol import PARALLEL, LabelProtocol

STEPS_AND_MIXING: Final = frozenset(
    {"NELM", "NELMIN", "NELMDL", "AMIX", "BMIX", "AMIX_MAG", "BMIX_MAG", "AMIN", "IMIX", "MAXMIX"}
)
FILES: Final = frozenset(
    {"SYSTEM", "NWRITE", "LWAVE", "LCHARG", "LAECHG", "LVTOT", "LVHAR", "LELF", "LORBIT", "NEDOS"}
)
FREE: Final = PARALLEL | STEPS_AND_MIXING | FILES
"""INCAR keys that a run may have otherwise than the protocol."""

ECHOED: Final = {
    "ENCUT": "ENMAX",
    **{k: k for k in ("EDIFF", "ISMEAR", "SIGMA", "ISPIN", "ISYM", "LASPH", "ADDGRID", "LREAL")},
}
"""INCAR keys that are also checked in the parameters which VASP says that it used, by their name there."""

PRINTED: Final = 2e-8
"""Rounding of a difference of two energies of vasprun.xml, eV (eight decimals each)."""

EARLY: Final = 10.0
"""How often EDIFF the energy of a converged run may change in its last step; real runs stay within once."""

RELATIVE: Final = 1e-5
ABSOLUTE: Final = 6e-9
"""Rounding of the numbers that vasprun.xml echoes (eight decimals)."""


@dataclass(frozen=True)
class VaspRun:
    """What a finished run of VASP says about itself.

    Attributes
    ----------
    incar
        INCAR as VASP echoes it, after custodian.
    parameters
        What VASP used, defaults included.
    mesh
        Divisions of the k-point mesh; None if the run had a list of k-points.
    centred
        Whether the mesh is centred on Γ.
    titles
        Titles of the POTCARs, in order.
    n_electronic
        Electronic steps that the last ionic step took; 0 if not known.
    energies
        Free energy at each of them, eV; empty if not known.
    completed
        Whether the parser says that the run converged.
    """

    incar: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    mesh: tuple[int, int, int] | None = None
    centred: bool = True
    titles: tuple[str, ...] = ()
    n_electronic: int = 0
    energies: tuple[float, ...] = ()
    completed: bool = True


def convergence_fault(run: VaspRun) -> str | None:
    """Return why the electronic steps of a run cannot be trusted; None if they can.

    A run that was stopped from outside took fewer steps than allowed and yet did not converge: the last
    change of the energy tells it.
    """
    allowed = int(run.parameters.get("NELM", 60))
    if run.n_electronic >= allowed:
        return f"the electronic steps did not converge ({run.n_electronic} of {allowed} taken)"
    if not run.completed:
        return "the run of VASP did not converge or is not complete"
    if len(run.energies) > 1:
        change = abs(run.energies[-1] - run.energies[-2])
        if not change <= EARLY * float(run.parameters.get("EDIFF", 1e-4)) + PRINTED:
            return f"the electronic steps ended early: the energy still changed by {change:.2g} eV"
    return None


def own_energies(
    energies: Sequence[float | None], energy: float | None, used: Mapping[str, Any]
) -> list[float | None]:
    """Return the energies of an ionic step's electronic steps, without those of a linear response behind them.

    Parameters
    ----------
    energies
        Free energy at each electronic step, eV.
    energy
        Free energy of the ionic step, eV.
    used
        Parameters of the run.
    """
    lepsilon, lcalceps, ibrion = (plain(used.get(k)) for k in ("LEPSILON", "LCALCEPS", "IBRION"))
    responds = lepsilon is True or lcalceps is True or ibrion in (7.0, 8.0)
    if not responds or energy is None:
        return list(energies)
    own = [i for i, e in enumerate(energies) if e is not None and abs(e - energy) < PRINTED]
    return list(energies[: own[-1] + 1] if own else energies)


def differences(
    protocol: LabelProtocol, structure: Structure, run: VaspRun, **changes: Any
) -> list[str]:
    """Return in words everything in which a run differs from the protocol.

    Parameters
    ----------
    protocol
        What was asked for.
    structure
        The cell that was to be labelled.
    run
        What was run.
    **changes
        Changes of the protocol's INCAR that were asked for.
    """
    found = _incar_differences(protocol.incar(structure, **changes), run)
    found += _mesh_differences(protocol, structure, run)
    wanted = protocol.potcar_symbols(structure)
    if [title.split()[:2] for title in run.titles] != [["PAW_PBE", symbol] for symbol in wanted]:
        found.append(f"POTCARs {', '.join(run.titles) or 'unknown'} instead of {', '.join(wanted)}")
    return found


def usual_titles(runs: Iterable[VaspRun]) -> dict[str, str]:
    """Return the POTCAR title that most runs have, by POTCAR symbol: one version a dataset."""
    seen = Counter(title for run in runs for title in run.titles)
    return {_symbol(title): title for title, _ in reversed(seen.most_common())}


def title_differences(usual: Mapping[str, str], run: VaspRun) -> list[str]:
    """Return the POTCARs of a run that are of another version than :func:`usual_titles`."""
    return [
        f"POTCAR {title} instead of {usual[_symbol(title)]}, which most frames have"
        for title in run.titles
        if usual.get(_symbol(title), title) != title
    ]


def _symbol(title: str) -> str:
    return title.split()[1] if len(title.split()) > 1 else title


def _incar_differences(wanted: Mapping[str, Any], run: VaspRun) -> list[str]:
    """Compare the echoed INCAR, then what VASP made of it."""
    incar = {key.strip().upper(): value for key, value in run.incar.items()}
    used = {key.strip().upper(): value for key, value in run.parameters.items()}
    asked = {k: v for k, v in wanted.items() if k not in FREE}
    if asked.get("ISPIN") == 1:
        asked.pop("MAGMOM", None)
        incar.pop("MAGMOM", None)
    found = []
    for key, value in asked.items():
        got = incar.get(key, used.get(ECHOED.get(key, key)))
        if not _equal(value, got):
            found.append(f"{key} = {_text(got)} instead of {_text(value)}")
        elif key in ECHOED and ECHOED[key] in used and not _equal(value, used[ECHOED[key]]):
            found.append(f"VASP used {key} = {_text(used[ECHOED[key]])} instead of {_text(value)}")
    extra = sorted(incar.keys() - asked.keys() - FREE)
    return found + [
        f"{key} = {_text(incar[key])}, which the protocol does not set" for key in extra
    ]


def _mesh_differences(protocol: LabelProtocol, structure: Structure, run: VaspRun) -> list[str]:
    if run.mesh is None:
        return ["a list of k-points instead of the protocol's mesh"]
    exact = np.array(structure.lattice.reciprocal_lattice.abc) / protocol.kspacing
    least, most = (np.maximum(1, np.ceil(exact + shift)) for shift in (-1e-4, 1e-4))
    mesh = np.array(run.mesh)
    found = []
    if not ((least <= mesh) & (mesh <= most)).all():
        wanted = "x".join(f"{n:.0f}" for n in np.maximum(1, np.ceil(exact)))
        found.append(f"k-points {'x'.join(map(str, run.mesh))} instead of {wanted}")
    if not run.centred:
        found.append("a mesh that is not centred on Γ")
    return found


def _equal(wanted: Any, found: Any) -> bool:
    """Compare two values of INCAR as VASP reads them: case, .TRUE. and rounding do not count."""
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        items = found if isinstance(found, Sequence) and not isinstance(found, str) else [found]
        pairs = zip(wanted, items, strict=False)
        return len(wanted) == len(items) and all(_equal(a, b) for a, b in pairs)
    a, b = plain(wanted), plain(found)
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= RELATIVE * abs(a) + ABSOLUTE
    return bool(a == b)


def _text(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value).strip()
