"""Docstrings are plain text with indented equations; this makes them reStructuredText."""

import re
from textwrap import dedent
from typing import Any

from public import entries
from sphinx.application import Sphinx

_ENTRY = re.compile(r"((?:[a-z_]\w*, )*[a-z_]\w*): (.*)")
_AGAIN = re.compile(r"(?<=[.;)]) (?=(?:[a-z_]\w*, )*[a-z_]\w*: )")  # `a: this. b: that` on one line
_CLAIM = re.compile(r"[A-Z][\w ]*: ")


def setup(app: Sphinx) -> dict[str, bool]:
    places = entries()

    def process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
        lines[:] = converted(lines, places, name if what == "module" else name.rpartition(".")[0])

    def skip(app: Sphinx, what: str, name: str, thing: Any, skipped: bool, options: Any) -> bool | None:
        return True if "Alias for field number" in (getattr(thing, "__doc__", None) or "") else None  # of named tuples

    def bare(app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str, returns: str) -> Any:
        return ("", None) if getattr(thing, "_is_protocol", False) else None  # no one makes a protocol

    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", bare)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}


def converted(lines: list[str], places: dict[str, str], module: str) -> list[str]:
    """reStructuredText of a docstring: `name: text` is a definition, an indented block after a blank line code."""
    out: list[str] = []
    for block in re.split(r"\n\s*\n", "\n".join(lines)):
        if not block.strip():
            continue
        if block.startswith("    "):
            out += [".. code-block:: text", "", *("    " + line for line in dedent(block).splitlines()), ""]
            continue
        for part in _parts(block.splitlines()):
            entry = _ENTRY.fullmatch(part)
            if entry:
                names = ", ".join(f"``{name}``" for name in entry[1].split(", "))
                out += [names, f"    {marked(entry[2], places, module)}"]
            else:
                out += ["", marked(part, places, module), ""]
        out.append("")
    return out


def _parts(lines: list[str]) -> list[str]:
    """Entries, claims such as "Memory: ...", list items and paragraphs, each in one line."""
    parts: list[str] = []
    for line in lines:
        starts = not line.startswith(" ") and (_ENTRY.match(line) or _CLAIM.match(line) or line.startswith("* "))
        after_entry = parts and _ENTRY.match(parts[-1]) and not line.startswith(" ")
        if not parts or starts or after_entry:
            parts.append(line.strip())
        else:
            parts[-1] += " " + line.strip()
    return [one for part in parts for one in _AGAIN.split(part)]


def marked(text: str, places: dict[str, str], module: str) -> str:
    """Inline: what stands in backticks is code, a link where it is a public name; all else is text."""
    pieces = text.split("`")
    for i, piece in enumerate(pieces):
        pieces[i] = _code(piece, places, module) if i % 2 else re.sub(r"([*|\\]|_(?!\w))", r"\\\1", piece)
        if i and not i % 2 and piece[:1].isalnum():  # a plural, `Run`s
            pieces[i] = "\\ " + pieces[i]
    text = "".join(pieces)
    return "* " + text[3:] if text.startswith("\\* ") else text


def _code(text: str, places: dict[str, str], module: str) -> str:
    bare = text.removesuffix("()")
    for place in (f"{module}.{bare}", f"rheobase.{bare}", bare, bare.replace("rb.", "rheobase.", 1)):
        if place in places:
            return f":py:obj:`{text} <{places[place]}>`"
    return f"``{text}``"
