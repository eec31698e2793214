"""Stored jobs name this module; what it held lives in :mod:`phonotune.physics.relax`."""

from phonotune.physics.relax import RelaxSettings

__all__ = ["RelaxSettings"]
