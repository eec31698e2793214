"""Under which names, and in which form, a frame holds its labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from phonotune.data.extxyz_text import LabelKeys
from phonotune.errors import FramesError

if TYPE_CHECKING:
    from ase import Atoms

    from phonotune.data.notes import Notes
    from phonotune.ports import FloatArray

ENERGY: Final = ("REF_energy", "free_energy", "energy")
FORCES: Final = ("REF_forces", "forces", "force")
STRESS: Final = ("REF_stress", "stress")
VIRIAL: Final = ("REF_virials", "REF_virial", "virials", "virial", "dft_virials", "dft_virial")
"""Names that are looked for in this order, then in any case (``Energy``, ``Virial``)."""

SAME_STRESS: Final = 1e-4
"""eV/Å^3: a stress and a virial of one frame that differ by more contradict each other."""
_VOIGT: Final = "xx yy zz yz xz xy"
_WORDS: Final = {"energy": ("energy",), "forces": ("force",), "stress": ("stress", "virial")}


def values_of(atoms: Atoms) -> dict[str, Any]:
    """Return everything a frame holds by name; ASE moves ``energy``, ``forces``, ... to a calculator."""
    results = {} if atoms.calc is None else atoms.calc.results
    return {**results, **atoms.arrays, **atoms.info}


def keys_among(found: Collection[str], given: LabelKeys | Mapping[str, str] | None) -> LabelKeys:
    """Return the names of the labels of a frame, or of a file.

    Parameters
    ----------
    found
        Names that are there.
    given
        Names that the user chose, by label; the others are looked for (:data:`ENERGY` ...).
    """
    if isinstance(given, LabelKeys):
        return given
    chosen = {
        label: _first(found, names) or names[0]
        for label, names in (("energy", ENERGY), ("forces", FORCES), ("stress", STRESS))
    }
    return LabelKeys(**(chosen | dict(given or {})))


def check_keys(found: Collection[str], given: LabelKeys | Mapping[str, str] | None) -> None:
    """Raise FramesError where a file has no forces, or nothing under a name that was given."""
    keys = keys_among(found, given)
    named = given if isinstance(given, Mapping) else {}
    for label, key in ({"forces": keys.forces} | dict(named)).items():
        if key not in found:
            raise FramesError(
                f"no frame has {label} under the key {key}; keys found: {_listed(found)}"
                f"{keys_advice(found)}"
            )


def keys_advice(found: Collection[str], before: str = ". Name them: ") -> str:
    """Return `before` and the options of `import` that name labels, guessed from the keys of a file."""
    names = sorted(found, key=lambda key: (not key.lower().startswith(("ref", "dft", "vasp")), key))
    options = []
    for label, words in _WORDS.items():
        guess = next((n for word in words for n in names if word in n.lower()), None)
        if guess is not None:
            options.append(f"--{label}-key {guess}")
    return before + " ".join(options) if options else ""


def no_label(found: Collection[str], where: str) -> FramesError:
    """Build the error for a frame without any label."""
    there = {key for key in found if key not in ("numbers", "positions")}
    return FramesError(f"{where}: no label; keys found: {_listed(there)}{keys_advice(there)}")


def energy_of(values: Mapping[str, Any], key: str, where: str, notes: Notes) -> float | None:
    """Return the energy of a frame, eV; energies of single atoms are left behind."""
    if values.get(key) is None:
        return None
    energy = numbers(values[key], key, where)
    if energy.shape == (len(values["numbers"]),):
        notes.add(f"{key} of every atom is left behind; the total energy is needed", where)
        return None
    if energy.shape != ():
        raise FramesError(f"{where}: {key} is {values[key]!r}; one number (eV) is needed.")
    return float(energy)


def stress_of(
    values: Mapping[str, Any], key: str, volume: float, where: str, notes: Notes
) -> FloatArray | None:
    """Return the stress of a frame, or that of its virial.

    Parameters
    ----------
    values
        Everything the frame holds, by name.
    key
        Name of the stress (eV/Å^3, ASE's sign): nine numbers, or six in the order xx yy zz yz xz xy, as ASE
        and MACE take them. A name with ``virial`` in it is that of a virial (eV): minus the stress times
        the volume.
    volume
        Å^3.
    where, notes
        The frame, and what is told about it.

    Returns
    -------
    array of shape (3, 3), eV/Å^3, or None

    Raises
    ------
    FramesError
        Another count of numbers; a stress and a virial that contradict each other.
    """
    if "virial" in key.lower():
        return _of_virial(values, key, volume, where, notes)
    stress = _tensor(values.get(key), key, where, notes)
    virial = _first(values, VIRIAL) if key in STRESS else None
    if stress is None:
        if virial is None:
            for other in sorted(k for k in values if "virial" in k.lower()):
                notes.add(f"{other} is left behind; --stress-key {other} takes it", where)
            return None
        return _of_virial(values, virial, volume, where, notes)
    if virial is not None:
        other_stress = _tensor(values[virial], virial, where, notes)
        apart = 0.0 if other_stress is None else np.abs(stress + other_stress / volume).max()
        if apart > SAME_STRESS:
            raise FramesError(
                f"{where}: {key} and {virial} contradict each other: the stress and -virial/volume differ "
                f"by {apart:.3g} eV/Å^3 (at most {SAME_STRESS:g}). Name the right one: --stress-key "
                f"{key} or --stress-key {virial}."
            )
    return stress


def numbers(value: Any, key: str, where: str) -> FloatArray:
    """Return a value as an array of numbers; FramesError where it is something else."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FramesError(f"{where}: {key} is {value!r}; numbers are needed.") from error


def _of_virial(
    values: Mapping[str, Any], key: str, volume: float, where: str, notes: Notes
) -> FloatArray | None:
    virial = _tensor(values.get(key), key, where, notes)
    if virial is None:
        return None
    notes.add(f"The stress is -{key}/volume", where)
    return -virial / volume


def _tensor(value: Any, key: str, where: str, notes: Notes) -> FloatArray | None:
    if value is None:
        return None
    flat = numbers(value, key, where).ravel()
    if flat.size == 6:
        notes.add(f"Six numbers of {key} are taken as {_VOIGT}", where)
        return np.asarray(voigt_6_to_full_3x3_stress(flat), dtype=np.float64)
    if flat.size != 9:
        raise FramesError(
            f"{where}: {key} has {flat.size} numbers; nine are needed, row by row, or six ({_VOIGT})."
        )
    return flat.reshape(3, 3)


def _first(found: Collection[str], names: tuple[str, ...]) -> str | None:
    """Return the first name that is there, else the first one in other case."""
    lower = {key.lower(): key for key in found}
    exact = next((name for name in names if name in found), None)
    return exact or next((lower[n.lower()] for n in names if n.lower() in lower), None)


def _listed(found: Collection[str]) -> str:
    return ", ".join(sorted(found)) or "none"
