"""Looking things up by name, with an answer that helps when the name is unknown."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

Thing = TypeVar("Thing")


def choose(kind: str, name: str, table: Mapping[str, Thing]) -> Thing:
    """The entry of `table` called `name`.

    Raises ValueError naming the nearest known names when there is none.
    """
    if name in table:
        return table[name]
    near = nearest(name, table)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(table))}.")


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that differ in nothing but case, hyphens and underscores; or else up to three that look alike."""
    plain = {_plain(each): each for each in known}
    same = plain.get(_plain(name))
    close = [plain[each] for each in get_close_matches(_plain(name), plain, n=3, cutoff=0.5)]
    return close if same is None else [same]


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
