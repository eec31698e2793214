"""Structures worth a label: rattled cells, and frames along their relaxation."""
