"""The published data sets by name: where their files are looked for, and what to say when one is missing."""

import os
from pathlib import Path

from rheobase.datasets.published_events import EVENT_SETS
from rheobase.datasets.published_images import IMAGE_SETS
from rheobase.datasets.source import Source
from rheobase.explained import explained
from rheobase.names import choose

PUBLISHED: dict[str, Source] = {source.name: source for source in IMAGE_SETS + EVENT_SETS}


def published(name: str) -> Source:
    """What is known of the set called `name`; ValueError naming the near ones where there is none."""
    return choose("published data set", name, PUBLISHED)


def folders(name: str, root: str | Path | None) -> list[Path]:
    """The folders to look into for the set called `name`, in order, each followed by what its archives make in it.

    root: alone where it is given; else $RHEOBASE_DATA/name, the places of its own, data/name,
        ~/.cache/rheobase/name.
    """
    source = published(name)
    outer = [Path(root).expanduser()] if root is not None else usual_places(source)
    return [place / inner for place in outer for inner in ("", *source.inner)]


def usual_places(source: Source) -> list[Path]:
    """Where a set is looked for when no folder is named."""
    home = data_home()
    first = [home / source.name] if home else []
    usual = (*source.places, f"data/{source.name}", f"~/.cache/rheobase/{source.name}")
    return first + [Path(place).expanduser() for place in usual]


def data_home() -> Path | None:
    """The folder in $RHEOBASE_DATA, None where it is not set."""
    named = os.environ.get("RHEOBASE_DATA")
    return Path(named).expanduser() if named else None


def destination(name: str, to: str | Path | None = None) -> Path:
    """The folder that `fetch` fills: `to`, else $RHEOBASE_DATA/name, else ~/.cache/rheobase/name."""
    if to is not None:
        return Path(to).expanduser()
    return (data_home() or Path("~/.cache/rheobase").expanduser()) / published(name).name


def find(name: str, file: str, places: list[Path]) -> Path:
    """The first of the files FILE and FILE.gz in `places`; FileNotFoundError saying how to get it."""
    for place in places:
        for path in (place / file, place / f"{file}.gz"):
            if path.is_file():
                return path
    raise missing(name, f"{file} (or {file}.gz)", places)


def missing(name: str, file: str, places: list[Path]) -> FileNotFoundError:
    """The error to raise where `file` of the set called `name` is in none of `places`."""
    error = FileNotFoundError(
        f"No file {file} of {name!r} in {', '.join(map(str, places))}. {how_to_get(name)}; "
        f"then pass root=FOLDER, or put them in $RHEOBASE_DATA/{name}."
    )
    return explained(error, "data-files")


def how_to_get(name: str) -> str:
    """A sentence on how to get the files of the set called `name`, without its full stop."""
    source = published(name)
    if source.downloadable:
        return f"Run `rheobase data fetch {name}`, or {source.advice}"
    return source.advice[0].upper() + source.advice[1:]
