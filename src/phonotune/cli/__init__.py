"""The command line: typer over validated configs; the only room that prints."""
