"""Licences of weights that were accepted on this machine: academic ones, once each."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from phonotune.errors import FoundationError
from phonotune.files import write_atomically
from phonotune.schemas.foundations import ACADEMIC, FOUNDATIONS, NOTHING_KNOWN
from phonotune.settings import get_settings


def accepted_licences() -> frozenset[str]:
    """Return the licences that were accepted; none where the list is missing or damaged."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return frozenset(map(str, json.loads(_list().read_bytes())))
    return frozenset()


def accept_licence(licence: str) -> None:
    """Remember that a licence was accepted; raises FoundationError where that cannot be written."""
    try:
        write_atomically(_list(), json.dumps(sorted(accepted_licences() | {licence})))
    except OSError as error:
        raise FoundationError(
            f"The list of accepted licences {_list()} cannot be written ({error.strerror}). Point "
            "PHONOTUNE_CACHE_DIR to a folder that can be."
        ) from error


def licence_to_accept(name: str) -> str | None:
    """Return the licence that a foundation of mace-torch still needs to be accepted; None if there is none."""
    licence = FOUNDATIONS.get(name, NOTHING_KNOWN).licence
    return licence if licence in ACADEMIC and licence not in accepted_licences() else None


def require_licence(name: str, shown: str) -> None:
    """Refuse a foundation whose licence has not been accepted on this machine.

    Parameters
    ----------
    name
        mace-torch's name.
    shown
        The name that was asked for.

    Raises
    ------
    FoundationError
        Naming the licence and how to accept it.
    """
    licence = licence_to_accept(name)
    if licence is not None:
        raise FoundationError(
            f"The weights of {shown} are under the {licence} ({ACADEMIC[licence]}). Accept it once with "
            f"`phonotune models fetch {shown} --accept-licence`."
        )


def _list() -> Path:
    return get_settings().cache_dir.expanduser() / "licences.json"
