"""Who is submitting which jobs at this moment: of two submissions of a flow one waits for the other."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from phonotune.errors import ConfigError, PhonotuneError

COLLECTION: Final = "phonotune_claims"
"""Collection of the queue's database; empty while nobody submits."""
LEASE: Final = 300.0
"""Seconds after which a claim that was not renewed no longer counts: its submitter is dead."""
PATIENCE: Final = 30.0
"""Seconds that another submission of the same jobs is waited for."""
_PAUSE: Final = 0.1
_DUPLICATE: Final = 11000

Claims = Collection[dict[str, Any]]


@contextmanager
def claimed(claims: Claims, uuids: Iterable[str]) -> Iterator[Callable[[], None]]:
    """Hold jobs while they are looked for and added; yields what renews the claim.

    One document per job, whose key is the job's uuid: of two the database accepts only one.

    Parameters
    ----------
    claims
        Collection of the queue's database.
    uuids
        Jobs; all or none are held.

    Raises
    ------
    ConfigError
        Somebody else holds one of them, for longer than 30 s.
    """
    owner, wanted = str(uuid4()), sorted(set(uuids))
    end = time.monotonic() + PATIENCE
    try:
        while wanted and (other := _take(claims, wanted, owner)) is not None:
            if time.monotonic() > end:
                raise _refused(other)
            time.sleep(_PAUSE)
        yield lambda: _renew(claims, wanted, owner)
    finally:
        claims.delete_many({"owner": owner})


def _take(claims: Claims, uuids: Sequence[str], owner: str) -> dict[str, Any] | None:
    """Insert the claims; where one is taken insert none and return it, empty if it ended meanwhile."""
    now = time.time()
    claims.delete_many({"_id": {"$in": list(uuids)}, "expires": {"$lt": now}})
    by = f"{getpass.getuser()} on {socket.gethostname()} (process {os.getpid()})"
    rows = [{"_id": uuid, "owner": owner, "by": by, "expires": now + LEASE} for uuid in uuids]
    try:
        claims.insert_many(rows)
    except BulkWriteError as error:
        claims.delete_many({"owner": owner})
        if any(e["code"] != _DUPLICATE for e in error.details["writeErrors"]):
            raise
        return claims.find_one({"_id": {"$in": list(uuids)}}) or {}
    return None


def _renew(claims: Claims, uuids: Sequence[str], owner: str) -> None:
    """Put the end of the claims off; PhonotuneError if one is lost."""
    later = {"$set": {"expires": time.time() + LEASE}}
    if claims.update_many({"owner": owner}, later).matched_count < len(uuids):
        raise PhonotuneError(
            f"This submission stood still for more than {LEASE:g} s, and another one took its jobs "
            "over. Submit again: what was added is found."
        )


def _refused(other: dict[str, Any]) -> ConfigError:
    left = max(other.get("expires", 0.0) - time.time(), 0.0)
    return ConfigError(
        f"Another submission of the same jobs is under way, by {other.get('by', 'somebody')}, and did "
        f"not end within {PATIENCE:g} s; nothing was submitted. Submit again when it is through; if it "
        f"was killed, its claim ends in {left:.0f} s."
    )
