"""Classes and functions named by a dotted path, ``module:name``, as the rows of registries name them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(path: str) -> Any:
    """Import what a dotted path ``module:name`` names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
