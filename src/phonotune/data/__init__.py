"""Structures and labelled frames: read, written, checked, split, assembled."""
