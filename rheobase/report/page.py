"""The page: one file with its style, its script and its pictures within."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from rheobase.report.html import Markup, element, joined, paragraph
from rheobase.report.table import facts
from rheobase.version import __version__


@dataclass(frozen=True)
class Section:
    """What stands under one title."""

    title: str
    parts: Sequence[str]


@dataclass(frozen=True)
class Chapter:
    """What is told of one folder.

    title: its kind and name. headline: the one message, made from the data. kicker: what it is about. notes: how the
    headline is to be read. facts: the few figures that matter, by name.
    """

    title: str
    headline: str
    kicker: str
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def page(chapters: Sequence[Chapter]) -> str:
    """The whole HTML file. The same chapters give the same bytes."""
    style, script = (source(name) for name in ("page.css", "page.js"))
    title = chapters[0].title if len(chapters) == 1 else f"{len(chapters)} reports"
    head = element(
        "head", {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy(style, script)}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("meta", {"name": "generator", "content": f"rheobase {__version__}"}),
        element("title", {}, f"{title} · Rheobase"),
        Markup(f"<style>{style}</style>"),
    )  # fmt: skip
    main = element("main", {}, *(shown(chapters[0], 1) if len(chapters) == 1 else several(chapters)))
    note = f"Written by rheobase {__version__}. Click a heading to sort; hold the pointer over a dot for its value."
    body = element("body", {}, main, element("footer", {}, paragraph(note)), Markup(f"<script>{script}</script>"))
    return f'<!DOCTYPE html>\n<html lang="en">{head}\n{body}</html>\n'


def policy(style: str, script: str) -> str:
    """Nothing is fetched, and no style or script but the page's own runs."""
    own = f"style-src {digest(style)}; script-src {digest(script)}"
    return f"default-src 'none'; img-src data:; {own}; base-uri 'none'; form-action 'none'"


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def source(name: str) -> str:
    return files("rheobase.report").joinpath(name).read_text("utf-8")


def shown(chapter: Chapter, level: int) -> Iterator[Markup]:
    """level: of the heading, 1 for the page's only one."""
    yield paragraph(f"{chapter.title} · {chapter.kicker}", look="kicker")
    yield element(f"h{level}", {"class": "headline"}, chapter.headline)
    yield from (paragraph(note, look="note") for note in chapter.notes)
    if any(chapter.facts.values()):
        yield facts(chapter.facts)
    for section in chapter.sections:
        title = element(f"h{level + 1}", {"class": "title"}, section.title)
        yield element("section", {}, title, *section.parts)


def several(chapters: Sequence[Chapter]) -> Iterator[Markup]:
    """A list of the messages, then each chapter."""
    yield element("h1", {"class": "headline"}, f"{len(chapters)} reports")
    links = [
        element("li", {}, element("a", {"href": f"#r{number}"}, chapter.title), ": ", chapter.headline)
        for number, chapter in enumerate(chapters, start=1)
    ]
    yield element("section", {}, element("ul", {"class": "plain"}, *links))
    for number, chapter in enumerate(chapters, start=1):
        yield element("article", {"class": "chapter", "id": f"r{number}"}, joined(shown(chapter, 2)))
