"""HTML made of elements: whatever is plain text is escaped, so that no name of a run can become code."""

import html
from collections.abc import Iterable, Mapping

Attributes = Mapping[str, str | float | None]
EMPTY = frozenset({"meta", "img", "br"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, attributes: Attributes, *children: str) -> Markup:
    """Children that are no Markup are escaped; attributes that are None are left out."""
    given = "".join(f' {key}="{html.escape(shown(value))}"' for key, value in attributes.items() if value is not None)
    start = f"<{name}{given}>"
    return Markup(start) if name in EMPTY else Markup(f"{start}{joined(children)}</{name}>")


def joined(parts: Iterable[str]) -> Markup:
    return Markup("".join(part if isinstance(part, Markup) else html.escape(part) for part in parts))


def shown(value: str | float) -> str:
    """Coordinates with as many digits as a screen shows."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def paragraph(*children: str, look: str | None = None) -> Markup:
    return element("p", {"class": look}, *children)


def code(text: str) -> Markup:
    return element("code", {}, text)


def listed(items: Iterable[str]) -> Markup:
    return element("ul", {}, *(element("li", {}, item) for item in items))


def folded(title: str, *children: str) -> Markup:
    """Shown when its title is clicked."""
    return element("details", {}, element("summary", {}, title), *children)
