"""Looking things up by name, with an answer that helps when the name is unknown."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

Thing = TypeVar("Thing")


def choose(kind: str, name: str, table: Mapping[str, Thing]) -> Thing:
    """The entry of `table` called `name`.

    Raises ValueError naming the nearest known names when there is none.
    """
    if name in table:
        return table[name]
    near = get_close_matches(name, table, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(table))}.")
