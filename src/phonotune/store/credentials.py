"""Passwords stay in their yaml: nothing that is printed, logged or stored may show one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from maggma.core import Store

_USER = re.compile(r"([A-Za-z][\w+.-]*://)[^\s'\"]*@")
"""Everything between ``://`` and the last ``@`` of a word: a password may hold ``/`` and ``@`` itself."""
_QUERY = re.compile(r"(?i)\b(\w*(?:password|secret|token|passwd|pwd)\w*\s*[=:]\s*)[^\s&,;}]+")
_SECRET: Final = re.compile(r"(?i)password|passwd|secret|token|access_key|credential")
MASK: Final = "***"


def masked(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return a text without the user and password of any URI, nor any of the secrets.

    Parameters
    ----------
    text
        A name, a message.
    secrets
        Words that must not be shown, e.g. of :func:`secrets_of`.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _QUERY.sub(rf"\g<1>{MASK}", _USER.sub(rf"\g<1>{MASK}@", text))


def secrets_of(spec: Any) -> tuple[str, ...]:
    """Return the passwords, keys and tokens in the content of a store's yaml, or in a store's fields."""
    return tuple(dict.fromkeys(_secrets(spec)))


def _secrets(spec: Any) -> Iterator[str]:
    if isinstance(spec, Mapping):
        for key, value in spec.items():
            if isinstance(value, str) and _SECRET.search(str(key)) and len(value) > 1:
                yield value
            else:
                yield from _secrets(value)
    elif isinstance(spec, list | tuple):
        for value in spec:
            yield from _secrets(value)
    elif isinstance(spec, str) and (found := re.search(r"://[^:/\s]*:([^\s'\"]+)@", spec)):
        yield found[1]


def describe(store: Store) -> str:
    """Return where a store is, without credentials: ``mongodb://***@host/db (outputs)``."""
    collection = getattr(store, "collection_name", "")
    uri = getattr(store, "uri", None)
    where = f"{uri} ({collection})" if uri else store.name
    return masked(where, secrets_of([vars(store)]))
