"""Brings the pictures of `rheobase.plots` into the rendered tutorials."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

DOTS_PER_INCH = 110
_shown: WeakSet[Figure] = WeakSet()


def scraper(block: object, block_vars: Mapping[str, Any], gallery_conf: Mapping[str, Any]) -> str:
    """The figures that a block of code made, as reStructuredText.

    They belong to no window, so sphinx-gallery's own scraper, which asks pyplot, does not find them.
    """
    made = {id(v): v for v in block_vars["example_globals"].values() if isinstance(v, Figure) and v not in _shown}
    paths, titles = [], []
    for figure, path in zip(made.values(), block_vars["image_path_iterator"], strict=False):
        figure.savefig(path, dpi=DOTS_PER_INCH)
        _shown.add(figure)
        paths.append(path)
        titles += [axes.get_title(loc="left") for axes in figure.axes]
    return figure_rst(paths, gallery_conf["src_dir"], ", ".join(filter(None, titles)))
