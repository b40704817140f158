"""Sphinx configuration: `make docs` writes the pages to docs/_build."""

import srkit

project = "srkit"
author = copyright = "the srkit authors"  # noqa: A001 - Sphinx's name
release = srkit.__version__
html_title = f"srkit {release}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["srkit.css"]
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
