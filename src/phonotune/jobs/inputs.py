"""Stored jobs name this module; what it held lives in :mod:`phonotune.jobs.vasp.input_set`."""

from phonotune.jobs.vasp.input_set import LabelInputGenerator

__all__ = ["LabelInputGenerator"]
