"""A page taken apart, as a browser would."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "br"}


@dataclass
class Element:
    name: str
    attributes: dict = field(default_factory=dict)
    children: list = field(default_factory=list)

    @property
    def text(self):
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, *names):
        """The elements of those names within, in the order of the page; of all names without any."""
        for child in self.children:
            if isinstance(child, Element):
                if not names or child.name in names:
                    yield child
                yield from child.all(*names)

    def one(self, name):
        return next(self.all(name))


class Reader(HTMLParser):
    """Raises ValueError where a tag is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open = [Element("page")]

    def handle_starttag(self, tag, attrs):
        made = Element(tag, dict(attrs))
        self.open[-1].children.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_endtag(self, tag):
        if self.open.pop().name != tag:
            raise ValueError(f"</{tag}> closes another element.")

    def handle_data(self, data):
        self.open[-1].children.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    if len(reader.open) > 1:
        raise ValueError(f"<{reader.open[-1].name}> is never closed.")
    return reader.open[0]


def tables(page):
    """Each table's rows by the text of their first cell, by its caption: heading -> text."""
    found = {}
    for table in read(page).all("table"):
        heads = [head.text for head in table.one("thead").all("th")]
        rows = [[cell.text for cell in row.all("th", "td")] for row in table.one("tbody").all("tr")]
        found[table.one("caption").text] = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    return found


def table_with(page, head):
    """The first table that has such a heading."""
    return next(rows for rows in tables(page).values() for row in rows.values() if head in row)


def headline(page):
    return read(page).one("h1").text


def sections(page):
    """The text of each section by its title."""
    return {each.one("h2").text: each.text for each in read(page).all("section")}
