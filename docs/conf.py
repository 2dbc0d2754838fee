"""The settings of Sphinx for the documentation site: `make docs` builds it.

The pages are Markdown, and most of them are also read in the repository.  Therefore they use
Sphinx's own directives only for tables of contents, for the glossary and for included files.
"""

import os
import tomllib
from pathlib import Path

_metadata = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())

project = "sysv_ipc"
author = "the sysv_ipc contributors"
copyright = author
release = _metadata["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.intersphinx", "sphinx_copybutton"]
# The pages of the reference have entries down to the third level.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

# Every link must lead to a page and a heading that exist.
nitpicky = True

# A list of names in the repository, so that a build needs no network.
intersphinx_mapping = {"python": ("https://docs.python.org/3", "python.inv")}

# Copy the commands, and neither their prompts nor their output.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"sysv_ipc {release}".strip()
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
