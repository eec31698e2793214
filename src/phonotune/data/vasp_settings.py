"""The settings of a VASP run that its labels depend on: one form, whichever of its files states them.

VASP lists what it used: ``<parameters>`` of vasprun.xml, the head of an OUTCAR. INCAR, as both echo it, is
asked only for what these lists leave out. Defaults are left out, so that a file that does not print them
agrees with one that does. So are k-points, whose mesh follows the cell, and everything that only changes the
path to the ground state (EDIFF, ALGO, mixing).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from phonotune.schemas.base import hash_json

KEYS: Final = (
    *("ENMAX", "PREC", "ISMEAR", "SIGMA", "ISPIN", "LREAL", "ADDGRID", "LASPH", "GGA", "METAGGA"),
    *("LHFCALC", "AEXX", "HFSCREEN", "IVDW", "LUSE_VDW", "LVDW", "LNONCOLLINEAR", "LSORBIT"),
    *("LDAU", "LDAUTYPE", "LDAUU", "LDAUJ"),
)
PRINTED: Final = {
    **{"ENMAX": 1, "SIGMA": 2, "AEXX": 4, "HFSCREEN": 4},
    **{"LDAUU": 1, "LDAUJ": 1},
}
"""Decimals with which an OUTCAR lists a number; the same run has more of them in vasprun.xml."""

_DEFAULTS: Final = {"ISPIN": "1", "IVDW": "0", "HFSCREEN": "0", "LDAUTYPE": "2"}
_ONLY_WITH: Final = {
    **dict.fromkeys(("AEXX", "HFSCREEN"), "LHFCALC"),
    **dict.fromkeys(("LDAUTYPE", "LDAUU", "LDAUJ"), "LDAU"),
}
_BY_ANOTHER_NAME: Final = {"ENMAX": "ENCUT"}
"""Keys that INCAR and OUTCAR call otherwise than vasprun.xml."""

_LISTED_AS_OFF: Final = ("METAGGA", "LASPH")
"""Keys that a list may call off although INCAR turned them on; INCAR has the last word."""

_OFF: Final = frozenset({"", "--", "f", "none"})

_LISTED: Final = re.compile(r"(?:^|;)\s*([A-Z_]{3,})\s*=\s*([^\s;]+)", re.MULTILINE)
_SPECIES_VALUES: Final = re.compile(r"for each species\s+(LDAU[LUJ])\s*=((?:\s+[-\d.]+)+)")
_GRID: Final = r"^ *{}\s+NGXF=\s*(\d+)\s*NGYF=\s*(\d+)\s*NGZF=\s*(\d+)"


def plain(value: Any) -> bool | float | str | None:
    """Return a value of INCAR as VASP reads it: a truth value, a number, or words in lower case."""
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return float(value)
    word = value.strip().lower()
    try:
        return float(word.replace("d", "e"))
    except ValueError:
        word = word.strip(".")
        return word.startswith("t") if word in {"t", "true", "f", "false"} else word


def settings_of(
    parameters: Mapping[str, Any], incar: Mapping[str, Any], titles: Iterable[str]
) -> dict[str, str]:
    """Return the settings in words, defaults left out.

    Parameters
    ----------
    parameters
        What VASP used, as it lists it.
    incar
        INCAR as VASP echoes it; asked where ``parameters`` has no answer.
    titles
        Titles of the POTCARs, e.g. ``PAW_PBE Na 08Apr2002``.
    """
    titles = list(dict.fromkeys(" ".join(title.split()) for title in titles))
    asked = {key: incar.get(key, incar.get(_BY_ANOTHER_NAME.get(key, key))) for key in KEYS}
    found = {key: _words(parameters.get(key, asked[key])) for key in KEYS}
    for key in _LISTED_AS_OFF:
        said = _words(asked[key])
        if found[key] in _OFF or said.startswith(found[key]):  # METAGGA is listed as R2SCA
            found[key] = said
    found["PREC"] = found["PREC"][:1]
    if found["LREAL"][:1] in {"a", "o"}:  # Auto and On of INCAR, which VASP lists as T
        found["LREAL"] = "t"
    if found["GGA"] == "pe" and all(title.startswith("PAW_PBE") for title in titles):
        found["GGA"] = ""
    if found["LSORBIT"] not in _OFF:
        found |= {"LNONCOLLINEAR": "", "ISPIN": ""}
    found["LDAUJ"] = found["LDAUJ"] or " ".join("0" for _ in found["LDAUU"].split())
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


@dataclass(frozen=True)
class OutcarHead:
    """What stands in an OUTCAR before its first iteration.

    Attributes
    ----------
    listed
        What VASP used, by the names of vasprun.xml.
    incar
        Its echo of INCAR; VASP 5 leaves it empty.
    titles
        Titles of the POTCARs, in order.
    elements
        Elements of the POTCARs, in order.
    counts
        Number of atoms of each.
    """

    listed: Mapping[str, str]
    incar: Mapping[str, str] = field(default_factory=dict)
    titles: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def settings(self) -> dict[str, str]:
        """:func:`settings_of` of it."""
        return settings_of(self.listed, self.incar, self.titles)

    def value(self, key: str) -> bool | float | str | None:
        """Return what VASP used for a key, else what INCAR says; None if neither tells."""
        return plain(self.listed.get(key, self.incar.get(key)))


def read_outcar_head(text: str) -> OutcarHead:
    """Read the lists of parameters, the echo of INCAR and the POTCARs in the head of an OUTCAR.

    Boxes of advice ("Therefore set LREAL=.FALSE. in the INCAR file") are passed over. ADDGRID is in no list:
    it is on where the support grid is finer than the fine grid.

    Parameters
    ----------
    text
        The OUTCAR up to its first iteration.
    """
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("|"))
    before, _, rest = text.partition("INCAR:")
    echo, potcars, lists = rest.partition("POTCAR:") if "POTCAR:" in rest else ("", "", rest)
    lists = before + potcars + lists
    pairs = (re.split("[#!]", part)[0].partition("=") for part in re.split("[;\n]", echo))
    incar = {key.strip().upper(): value.strip() for key, _, value in pairs if value.strip()}
    listed: dict[str, str] = {}
    for key, value in _LISTED.findall(lists):
        listed.setdefault(key, value)
    if "ENCUT" in listed:  # ENMAX in the head is that of a POTCAR
        listed["ENMAX"] = listed["ENCUT"]
    else:
        listed.pop("ENMAX", None)
    if kind := re.search(r"LDA\+U is selected, type is set to LDAUTYPE\s*=\s*(\d+)", lists):
        listed |= {"LDAU": "T", "LDAUTYPE": kind[1]}
    if by_species := dict(_SPECIES_VALUES.findall(lists)):
        listed |= {"LDAU": "T"} | by_species
    fine, support = (
        re.search(_GRID.format(name), lists, re.MULTILINE)
        for name in ("dimension x,y,z", "support grid")
    )
    if fine and support:
        listed["ADDGRID"] = "T" if int(support[1]) > int(fine[1]) else "F"
    for key, decimals in PRINTED.items():
        asked = incar.get(key, incar.get(_BY_ANOTHER_NAME.get(key, key)))
        if key in listed and asked and _same_numbers(listed[key], asked, decimals):
            listed[key] = asked

    counts = re.search(r"ions per type =\s*((?:\d+\s+)+)", lists + "\n")
    numbers = tuple(map(int, counts[1].split())) if counts else ()
    titles = re.findall(r"TITEL\s*=\s*(.*\S)", lists)
    # all of them are named once before the first is described
    if not titles or len(titles) != len(numbers):
        named = re.findall(r"^\s*POTCAR:\s*(\S.*\S)\s*$", lists, re.MULTILINE)
        titles = named[: len(numbers)] if numbers else named
    symbols = re.findall(r"VRHFIN\s*=\s*([A-Z][a-z]?)", lists)
    if len(symbols) != len(numbers):
        symbols = [
            match[1] for title in titles if (match := re.match(r"\S+\s+([A-Z][a-z]?)", title))
        ]
    return OutcarHead(listed, incar, tuple(titles), tuple(symbols), numbers)


def settings_text(settings: Mapping[str, str]) -> str:
    """Return settings as one text, which a frame carries; :func:`read_settings` undoes it."""
    return "; ".join(f"{key} = {value}" for key, value in sorted(settings.items()))


def read_settings(text: str) -> dict[str, str]:
    """Return the settings of :func:`settings_text`; empty for an empty text."""
    pairs = (part.partition(" = ") for part in text.split("; ") if part)
    return {key: value for key, _, value in pairs}


def level_of_theory(settings: Mapping[str, str]) -> str:
    """Return the functional of settings, with ``+U`` where one is not zero; empty where it is not known.

    Names are those of :data:`phonotune.schemas.foundations.FOUNDATIONS`; any other is ``GGA`` or ``METAGGA`` as
    INCAR has it.
    """
    metagga, gga = settings.get("METAGGA", ""), settings.get("GGA", "")
    titles = potcar_titles(settings).values()
    if settings.get("LHFCALC"):
        level = "a hybrid functional"
    elif metagga:
        level = "r2SCAN" if metagga == "r2scan" else f"METAGGA {metagga.upper()}"
    elif gga in ("", "pe"):
        level = "PBE" if titles and all(title.startswith("PAW_PBE") for title in titles) else ""
    else:
        level = "PBEsol" if gga == "ps" else f"GGA {gga.upper()}"
    if level and any(plain(u) for u in settings.get("LDAUU", "").split()):
        level += "+U"
    return level


def potcar_titles(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the titles of the POTCARs by element."""
    start = "POTCAR "
    return {k.removeprefix(start): v for k, v in settings.items() if k.startswith(start)}


def protocol_of(settings: Mapping[str, str]) -> str:
    """Return the name of settings: 16 hexadecimal digits.

    Numbers count with the decimals of an OUTCAR (:data:`PRINTED`), so that all files of a run give one name.
    """
    rounded = {
        key: " ".join(_rounded(word, PRINTED[key]) for word in value.split())
        if key in PRINTED
        else value
        for key, value in settings.items()
    }
    return hash_json(rounded)[:16]


def differing_keys(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the keys in which two settings differ by more than the decimals of an OUTCAR."""
    return [
        key
        for key in sorted({*one, *other})
        if one.get(key) != other.get(key)
        and not (
            key in PRINTED
            and key in one
            and key in other
            and _same_numbers(one[key], other[key], PRINTED[key])
        )
    ]


def _same_numbers(one: str, other: str, decimals: int) -> bool:
    """Return whether two texts are the same numbers but for the rounding of one of them."""
    numbers = [[plain(word) for word in text.split()] for text in (one, other)]
    if not all(isinstance(x, float) for x in numbers[0] + numbers[1]):
        return False
    a, b = ([float(x or 0) for x in row] for row in numbers)
    close = 0.5 * 10.0**-decimals + 1e-9
    return len(a) == len(b) and all(abs(x - y) <= close for x, y in zip(a, b, strict=True))


def _rounded(word: str, decimals: int) -> str:
    number = plain(word)
    return f"{round(number, decimals):g}" if isinstance(number, float) else word


def _words(value: Any) -> str:
    """Return a value, or a list of them, in the form in which settings are kept."""
    if isinstance(value, list | tuple):
        return " ".join(map(_words, value))
    return " ".join(
        _word(part) for part in ([value] if not isinstance(value, str) else value.split())
    )


def _word(value: Any) -> str:
    short = plain(value)
    if isinstance(short, bool):
        return "t" if short else "f"
    return f"{short:g}" if isinstance(short, float) else short or ""
