"""Makers: thin jobs around plan, evaluate, analyse."""
