"""MACE's forward in few, large products; :func:`accelerate` is what the other rooms use."""

from phonotune.models.fast.forward import FastMACE, accelerate

__all__ = ["FastMACE", "accelerate"]
