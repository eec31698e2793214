"""Sphinx configuration; ``make docs`` builds with warnings as errors."""

from importlib.metadata import version as _version

project = "phonotune"
author = "The phonotune developers"
release = version = _version("phonotune")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
html_theme = "furo"
html_title = f"phonotune {release}"
exclude_patterns = ["_build"]
autodoc_typehints = "description"
autodoc_mock_imports: list[str] = []
