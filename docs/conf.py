"""Sphinx configuration: `make docs` writes the pages to docs/_build."""

import importlib.metadata

project = "srkit"
author = "the srkit authors"
release = importlib.metadata.version("srkit")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
