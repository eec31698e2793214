"""Stored Documents: frozen, versioned, a unit on every number."""
