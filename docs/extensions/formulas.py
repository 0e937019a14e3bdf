"""Formulas as SVG, drawn by matplotlib: the same everywhere, without a script, a math font or a network."""

from functools import cache
from html import escape
from typing import Any

from docutils import nodes
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import text_to_path
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

_SIZE = 100.0  # of the letters, in units of the drawing
_COMMANDS = {Path.MOVETO: ("M", 1), Path.LINETO: ("L", 1), Path.CURVE3: ("Q", 2), Path.CURVE4: ("C", 3)}


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("drawn", (_inline, None), (_block, None))
    app.config.html_math_renderer = "drawn"
    return {"parallel_read_safe": True}


def _inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(svg(node.astext()))
    raise nodes.SkipNode


def _block(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula">{svg(" ".join(node.astext().split()))}</div>')
    raise nodes.SkipNode


@cache
def svg(formula: str) -> str:
    """The formula in the colour of the text around it, sized in its letters and set on its line."""
    font = FontProperties(size=_SIZE, math_fontfamily="stix")
    text = f"${formula}$"
    width, height, descent = text_to_path.get_text_width_height_descent(text, font, ismath=True)
    vertices, codes = text_to_path.get_text_path(font, text, ismath=True)
    top = height - descent
    return (
        f'<svg class="math" role="img" aria-label="{escape(formula)}" viewBox="0 {-top:.0f} {width:.0f} {height:.0f}" '
        f'style="width:{width / _SIZE:.3f}em;height:{height / _SIZE:.3f}em;vertical-align:{-descent / _SIZE:.3f}em">'
        f'<path d="{_outline(vertices, codes)}"/></svg>'
    )


def _outline(vertices: Any, codes: Any) -> str:
    """A path of matplotlib as SVG writes it, whose y goes down."""
    parts, i = [], 0
    while i < len(codes):
        if codes[i] == Path.CLOSEPOLY:
            parts.append("Z")
            i += 1
            continue
        command, count = _COMMANDS[codes[i]]
        parts.append(command + " ".join(f"{x:.1f},{-y:.1f}" for x, y in vertices[i : i + count]))
        i += count
    return "".join(parts)
