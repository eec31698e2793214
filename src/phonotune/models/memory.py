"""How the C library keeps memory: freed tensors are used again instead of handed back."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT: Final = 1 << 30
_LARGEST: Final = 32 << 20
"""The largest threshold that glibc takes (64-bit)."""


@lru_cache(maxsize=1)
def reuse_memory() -> None:
    """Let glibc keep up to 1 GiB of freed memory, blocks of up to 32 MiB; elsewhere do nothing.

    By default glibc maps every large tensor anew and unmaps it when it is freed, so that each step
    of a training on a CPU faults in the same pages again: an eighth of its time (docs/performance.md).
    It holds for the whole process.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_TRIM_THRESHOLD, _KEPT)
