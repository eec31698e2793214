"""Stored jobs name this module; what it held lives in :mod:`phonotune.jobs.vasp.error_handlers`."""

from phonotune.jobs.vasp.error_handlers import ElectronicConvergence, FatalMessage, FrozenRun

__all__ = ["ElectronicConvergence", "FatalMessage", "FrozenRun"]
