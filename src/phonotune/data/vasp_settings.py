"""The settings of a VASP run that its labels depend on, as far as its output tells them.

Defaults are left out, so that a file that does not print them agrees with one that does. So are
k-points, whose mesh follows the cell, and everything that only changes the path to the ground state
(EDIFF, ALGO, mixing).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from phonotune.schemas.base import hash_json

KEYS: Final = (
    *("ENMAX", "PREC", "ISMEAR", "SIGMA", "ISPIN", "LREAL", "ADDGRID", "LASPH", "GGA", "METAGGA"),
    *("LHFCALC", "AEXX", "HFSCREEN", "IVDW", "LUSE_VDW", "LSORBIT", "LDAU", "LDAUU", "LDAUJ"),
)
_DEFAULTS: Final = {"ISPIN": "1", "IVDW": "0", "HFSCREEN": "0"}
_ONLY_WITH: Final = {"AEXX": "LHFCALC", "HFSCREEN": "LHFCALC", "LDAUU": "LDAU", "LDAUJ": "LDAU"}
_OTHER_NAMES: Final = {"ENMAX": "ENCUT"}
_OFF: Final = frozenset({"", "--", "f", "false", "none"})


def settings_of(
    parameters: Mapping[str, Any], incar: Mapping[str, Any], titles: Iterable[str]
) -> dict[str, str]:
    """Return the settings in words, defaults left out.

    Parameters
    ----------
    parameters
        What VASP used, as vasprun.xml lists it.
    incar
        INCAR as VASP echoes it; asked where ``parameters`` has no answer.
    titles
        Titles of the POTCARs, e.g. ``PAW_PBE Na 08Apr2002``.
    """
    titles = list(dict.fromkeys(title.strip() for title in titles))
    found = {key: _word(parameters.get(key, incar.get(key))) for key in KEYS}
    if found["METAGGA"] in _OFF:
        found["METAGGA"] = _word(incar.get("METAGGA"))
    found["PREC"] = found["PREC"][:1]
    if found["GGA"] == "pe" and all(title.startswith("PAW_PBE") for title in titles):
        found["GGA"] = ""
    kept = {
        key: value
        for key, value in found.items()
        if value not in _OFF
        and value != _DEFAULTS.get(key)
        and found.get(_ONLY_WITH.get(key, ""), "t") not in _OFF
    }
    for title in sorted(titles):
        words = title.split()
        element = words[1].split("_")[0] if len(words) > 1 else title
        kept[f"POTCAR {element}"] = title
    return kept


def settings_of_outcar(text: str) -> dict[str, str]:
    """Return :func:`settings_of` from the text of an OUTCAR."""
    used = {}
    for key in KEYS:
        printed = re.search(rf"\b{_OTHER_NAMES.get(key, key)}\s*=\s*([^\s;]+)", text)
        if printed:
            used[key] = printed[1]
    for key in ("LDAUU", "LDAUJ"):
        line = re.search(rf"\b{key}\s*=((?:\s+[-\d.]+)+)", text)
        if line:
            used |= {key: line[1], "LDAU": "T"}
    titles = re.findall(r"^\s*POTCAR:\s+(\S+ \S+(?: \S+)?)\s*$", text, re.MULTILINE)
    return settings_of(used, {}, titles)


def settings_text(settings: Mapping[str, str]) -> str:
    """Return settings as one text, which a frame carries; :func:`read_settings` undoes it."""
    return "; ".join(f"{key} = {value}" for key, value in sorted(settings.items()))


def read_settings(text: str) -> dict[str, str]:
    """Return the settings of :func:`settings_text`; empty for an empty text."""
    pairs = (part.partition(" = ") for part in text.split("; ") if part)
    return {key: value for key, _, value in pairs}


def potcar_titles(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the titles of the POTCARs by element."""
    start = "POTCAR "
    return {k.removeprefix(start): v for k, v in settings.items() if k.startswith(start)}


def protocol_of(settings: Mapping[str, str]) -> str:
    """Return the name of settings: 16 hexadecimal digits."""
    return hash_json(dict(settings))[:16]


def _word(value: Any) -> str:
    """Return a number, a truth value, a word or a list of them as one lower-case text."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return " ".join(map(_word, value))
    if isinstance(value, bool):
        return "t" if value else "f"
    words = str(value).lower().split()
    return " ".join(map(_number, words))


def _number(word: str) -> str:
    try:
        return f"{float(word):g}"
    except ValueError:
        return word.strip(".")
