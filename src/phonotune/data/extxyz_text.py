"""A frame as the lines of an extxyz file, every float64 with all its digits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from ase.io.extxyz import escape, key_val_str_to_dict

from phonotune.data.isolated import CONFIG_TYPE, is_isolated
from phonotune.errors import FramesError

if TYPE_CHECKING:
    from phonotune.ports import FloatArray
    from phonotune.schemas.dataset import Frame

MAGMOMS: Final = "REF_magmoms"
"""Magnetic moments in µB, one number per atom."""


@dataclass(frozen=True)
class LabelKeys:
    """Names of the labels in an extxyz file; the default is phonotune's own."""

    energy: str = "REF_energy"
    forces: str = "REF_forces"
    stress: str = "REF_stress"


REF_KEYS: Final = LabelKeys()


def format_frame(frame: Frame, keys: LabelKeys = REF_KEYS) -> str:
    """Return the lines of a frame; the last one ends with a line break.

    Parameters
    ----------
    frame
        A checked frame.
    keys
        Names of the labels.

    Raises
    ------
    FramesError
        A text that no extxyz file can hold.
    """
    rows = [frame.structure.cart_coords]
    properties = "species:S:1:pos:R:3"
    if frame.forces is not None:
        rows.append(frame.forces)
        properties += f":{keys.forces}:R:3"
    if frame.magmoms is not None:
        rows.append(frame.magmoms[:, None])
        properties += f":{MAGMOMS}:R:1"
    info = [f'Lattice="{_digits(frame.structure.lattice.matrix)}"', f"Properties={properties}"]
    if frame.energy is not None:
        info.append(f"{keys.energy}={_digits(np.array(frame.energy))}")
    if frame.stress is not None:
        info.append(f'{keys.stress}="{_digits(frame.stress)}"')
    info += [_text("group", frame.group), _text("origin", frame.origin)]
    known = {key: getattr(frame, key) for key in ("labeller", "protocol", "settings")}
    info += [_text(key, value) for key, value in known.items() if value]
    if is_isolated(frame.structure):
        info.append(f"config_type={CONFIG_TYPE}")
    info.append('pbc="T T T"')
    lines = [str(len(frame.structure)), " ".join(info)]
    for site, row in zip(frame.structure, np.concatenate(rows, axis=1), strict=True):
        lines.append(f"{site.specie.symbol} {_digits(row)}")
    return "\n".join(lines) + "\n"


def _digits(values: FloatArray) -> str:
    return " ".join(repr(float(value)) for value in values.ravel())


def _text(key: str, value: str) -> str:
    """Format text so that ASE reads it back as the same text, not as a number or a boolean."""
    for candidate in (value, f"_JSON {json.dumps(value)}"):
        pair = f"{key}={escape(candidate)}"
        try:  # what ASE reads between two other pairs
            read = key_val_str_to_dict(f"before=1 {pair} after=2")
        except ValueError:  # a backslash that JSON does not know
            continue
        apart = read.keys() == {"before", key, "after"} and read["after"] == 2
        if apart and isinstance(read[key], str) and read[key] == value and "\n" not in pair:
            return pair
    raise FramesError(
        f"The {key} {value!r} cannot be written to extxyz; use letters, digits, spaces and "
        "punctuation without backslashes or line breaks."
    )
