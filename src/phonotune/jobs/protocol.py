"""Stored jobs name this module; what it held lives in :mod:`phonotune.jobs.vasp.protocol`."""

from phonotune.jobs.vasp.protocol import LabelProtocol
from phonotune.jobs.vasp.protocol import VaspMonitoring as Custody

__all__ = ["Custody", "LabelProtocol"]
