"""Whether the files of a published data set are there, and are what was published."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rheobase.datasets.source import File, Source, Tree, named, new_digest, written

BLOCK = 1 << 20


@dataclass(frozen=True)
class Finding:
    """What was found of one file, or of the files that match a pattern.

    fault: what is wrong; None where nothing is.
    note: what was compared.
    """

    what: str
    fault: str | None = None
    note: str = ""


def inspected(source: Source, places: list[Path]) -> Iterator[Finding]:
    """What is found of each file of `source` in `places`; reads all of them."""
    for file in version_there(source, places):
        yield inspect_file(file, place_of(file, places))
    for tree in source.trees:
        yield inspect_tree(tree, places)


def is_sound(source: Source, places: list[Path]) -> bool:
    """No fault is found."""
    return all(finding.fault is None for finding in inspected(source, places))


def whereabouts(source: Source, places: list[Path]) -> Path | None:
    """The folder in which all files are, and some of each tree; None where they are in no one folder. Reads none."""
    for place in places:
        files = version_there(source, [place])
        if all(place_of(file, [place]) for file in files) and all(
            next(place.glob(tree.pattern), None) for tree in source.trees
        ):
            return place
    return None


def version_there(source: Source, places: list[Path]) -> tuple[File, ...]:
    """The files of the other version where some of those, and none of the usual version, are in `places`."""
    usual, other = (any(place_of(file, places) for file in files) for files in (source.files, source.instead))
    return source.instead if other and not usual else source.files


def place_of(file: File, places: list[Path]) -> Path | None:
    """The path of a file, itself or with .gz added, in the first of `places` that has it."""
    for place in places:
        for path in (place / file.path, place / f"{file.path}.gz"):
            if path.is_file():
                return path
    return None


def inspect_file(file: File, path: Path | None) -> Finding:
    """Compares the content at `path` with what is published of `file`."""
    if path is None:
        return Finding(file.path, "missing")
    digest, size = new_digest(file.checksum or "md5:"), 0
    try:
        with gzip.open(path) if path.name == f"{Path(file.path).name}.gz" else path.open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
                size += len(block)
    except (OSError, EOFError, zlib.error) as error:
        return Finding(str(path), f"unreadable: {error}")
    if file.size is not None and size != file.size:
        return Finding(str(path), f"{size} bytes, expected {file.size}")
    if file.checksum is None:
        return Finding(str(path), None, f"{size} bytes; no checksum is published")
    got = written(file.checksum, digest)
    if got != file.checksum:
        return Finding(str(path), f"{named(got)}, expected {named(file.checksum)}")
    return Finding(str(path), None, f"{size} bytes, {named(got)}")


def inspect_tree(tree: Tree, places: list[Path]) -> Finding:
    """Counts the files in the place that has most of them."""
    place, count = max(((place, sum(1 for _ in place.glob(tree.pattern))) for place in places), key=lambda of: of[1])
    what = str(place / tree.pattern)
    if not count:
        return Finding(tree.pattern, "missing")
    if tree.count is not None and count != tree.count:
        return Finding(what, f"{count} files, expected {tree.count}")
    return Finding(what, None, f"{count} files; no checksums are published")
