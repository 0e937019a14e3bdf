"""How the site is made: sphinx-build docs build/site (make docs)."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
os.environ.setdefault("RHEOBASE_CACHE", str(HERE.parent / "build" / "cache"))  # of what the tutorials make
sys.path[:0] = [str(HERE / "extensions"), str(HERE / "tutorials")]

from rheobase.version import __version__  # noqa: E402

project = "Rheobase"
author = "The Rheobase developers"
project_copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "formulas",
    "mirrored",
]
exclude_patterns = ["tutorials", "results", "pictures", "gallery/*.ipynb", "_build"]
default_role = "code"
smartquotes = False
highlight_language = "text"
nitpicky = True
# What others document, and short names that our annotations have for longer types.
nitpick_ignore_regex = [
    ("py:.*", r"(torch|numpy|np|nn|collections|contextlib|pathlib|typing|matplotlib|rich|nir|onnx|datetime)(\..*)?"),
    ("py:.*", r"(Tensor|Path|Axes|Figure|Module|NDArray|Any|Callable|Iterable|Iterator|Literal|optional|dtype|device)"),
    ("py:.*", r"(tuple|dict|list)\[.*"),  # a name written in quotes
    ("py:.*", r"(rheobase\..*\.)?(Sweep|LayerWatch|SynapseWatch)"),  # the engine's own
    ("py:.*", r"rheobase\.distributed\.world\.Number"),  # a type variable
]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
myst_dmath_double_inline = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 88

sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_\w+\.py$",
    "ignore_pattern": r"(^|/)[a-z_]\w*\.py$",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("figures.scraper",),
    "ignore_repr_types": r"matplotlib|torch._C",
    "reset_modules": (),
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "abort_on_example_error": True,
}

html_theme = "furo"
html_title = f"Rheobase {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072b2", "color-brand-content": "#0072b2"},
    "dark_css_variables": {"color-brand-primary": "#56b4e9", "color-brand-content": "#56b4e9"},
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
