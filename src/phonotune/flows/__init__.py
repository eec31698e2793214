"""Flows: whole DAGs, and running them here."""
