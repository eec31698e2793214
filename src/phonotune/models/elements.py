"""Elements and heads of a MACE foundation, without loading it more than once on a machine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from ase.data import chemical_symbols

from phonotune.errors import FoundationError
from phonotune.files import write_atomically
from phonotune.models.foundation import row_of
from phonotune.models.shipped import SHIPPED, load_card
from phonotune.schemas.training import FoundationRecord
from phonotune.settings import get_settings


def mace_elements(record: FoundationRecord) -> tuple[str, ...]:
    """Return the chemical symbols that a foundation model knows.

    Those of a ``.model`` file are noted in ``cache_dir`` by its sha256: a machine loads it once for that.

    Raises
    ------
    FoundationError
        The file cannot be had or read, or it has several heads and none was chosen.
    """
    if record.name in SHIPPED:
        return tuple(chemical_symbols[z] for z in load_card(record.name).elements)
    elements, heads = noted_facts(record.sha256) or _read_facts(record)
    require_head(heads, record.head, record.name)
    return elements


def choose_head(record: FoundationRecord, head: str | None) -> FoundationRecord:
    """Return the record of one head of a foundation; it names none where there is only one.

    A file is loaded where a head is named, once on a machine; where none is, what is known of the model counts,
    and loading it tells the rest.

    Raises
    ------
    FoundationError
        There is no such head, or there are several and none is named.
    """
    if record.name in SHIPPED:
        heads: tuple[str, ...] = load_card(record.name).heads
    else:
        known = noted_facts(record.sha256)
        heads = known[1] if known else tuple(row_of(record.name).heads)
        if not heads and head is None:
            return record
        if known is None and head is not None:
            _, heads = _read_facts(record)
    return record.model_copy(update={"head": require_head(heads, head, record.name)})


def require_head(heads: Sequence[str], head: str | None, foundation: str) -> str | None:
    """Return the head to take of a foundation; None where it has one only.

    Parameters
    ----------
    heads
        Names of all its heads.
    head
        The one that is asked for; None: none was named.
    foundation
        Name of the foundation, for the message.

    Raises
    ------
    FoundationError
        There are several and none was named, or none has that name.
    """
    if head in heads or (head is None and len(heads) == 1):
        return head if len(heads) > 1 else None
    if len(heads) == 1:
        raise FoundationError(
            f"{foundation} has one head, {heads[0]}, not {head!r}. Leave --head out."
        )
    default = next((name for name in heads if name.lower() == "default"), None)
    marked = f" (mace-torch takes {default} where none is named)" if default else ""
    missing = "" if head is None else f"no head {head!r}; it has "
    raise FoundationError(
        f"{foundation} has {missing}the heads {', '.join(heads)}{marked}. Choose one with --head NAME; of a "
        f"labeller, mace:{foundation}@NAME."
    )


def noted_facts(sha256: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return symbols and heads of a ``.model`` file that this machine has loaded before; None of any other."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(_note(sha256).read_bytes())
        return tuple(content["elements"]), tuple(content["heads"])
    return None


def _read_facts(record: FoundationRecord) -> tuple[tuple[str, ...], tuple[str, ...]]:
    from phonotune.models.foundation_weights import read_facts

    elements, heads = read_facts(record)
    with contextlib.suppress(
        OSError
    ):  # a folder that cannot be written: the next call loads it again
        write_atomically(_note(record.sha256), json.dumps({"elements": elements, "heads": heads}))
    return elements, heads


def _note(sha256: str) -> Path:
    return get_settings().cache_dir.expanduser() / "foundations" / f"{sha256}.json"
