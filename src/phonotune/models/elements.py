"""Chemical elements that a MACE foundation knows, without loading it more than once on a machine."""

from __future__ import annotations

import contextlib
import json

from ase.data import chemical_symbols

from phonotune.files import write_atomically
from phonotune.models.shipped import SHIPPED, load_card
from phonotune.schemas.training import FoundationRecord
from phonotune.settings import get_settings


def mace_elements(record: FoundationRecord) -> tuple[str, ...]:
    """Return the chemical symbols that a foundation model knows.

    Those of a ``.model`` file are noted in ``cache_dir`` by its sha256: a machine loads it once for that.

    Raises
    ------
    FoundationError
        The file cannot be had or read.
    """
    if record.name in SHIPPED:
        return tuple(chemical_symbols[z] for z in load_card(record.name).elements)
    note = get_settings().cache_dir.expanduser() / "elements" / f"{record.sha256}.json"
    with contextlib.suppress(OSError, ValueError):
        return tuple(json.loads(note.read_bytes()))
    from phonotune.models.foundation_weights import read_elements

    elements = read_elements(record)
    with contextlib.suppress(
        OSError
    ):  # a folder that cannot be written: the next call loads it again
        write_atomically(note, json.dumps(elements))
    return elements
