"""What is known of a published data set: its files, where they come from, under which licence."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rheobase.explained import explained

_KINDS = {"md5": "MD5", "sha256": "SHA-256"}


class Digest(Protocol):
    """A hash being computed, as `hashlib` makes them."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True)
class File:
    """One file of a data set.

    path: below the set's folder, with forward slashes.
    size: bytes; None where it is not published.
    checksum: "md5:..." or "sha256:..." with hexadecimal digits; None where it is not published.
    url: of the file itself; None where a login, a licence or a web page stands before it.
    """

    path: str
    size: int | None = None
    checksum: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Tree:
    """The files that match a pattern, too many to name one by one.

    pattern: as for `Path.glob`, below the set's folder.
    count: how many there are in the published set; None where that is not certain.
    """

    pattern: str
    count: int | None = None


@dataclass(frozen=True)
class Source:
    """A published data set.

    files: what the loader reads, each as itself or compressed with `.gz` added to its name; the checksum is that
        of the content, not compressed.
    instead: the files of another version of the set, that do as well.
    trees: what the loader reads besides.
    archives: what is downloaded, and unpacked into the folder.
    inner: folders inside the set's folder that its archives make, where files are looked for too.
    places: folders looked into before the usual ones.
    advice: how to get the files by hand, the end of a sentence.
    licence: the terms, as far as they are known.
    """

    name: str
    licence: str
    advice: str
    files: tuple[File, ...] = ()
    instead: tuple[File, ...] = ()
    trees: tuple[Tree, ...] = ()
    archives: tuple[File, ...] = ()
    inner: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    @property
    def downloadable(self) -> bool:
        """All of it can be fetched without a login."""
        return bool(self.archives) and all(archive.url for archive in self.archives)

    @property
    def download_size(self) -> int | None:
        """Bytes of all archives, None where one is not known."""
        sizes = [archive.size for archive in self.archives]
        return sum(size for size in sizes if size) if sizes and all(sizes) else None


def require_published(data: bytes, path: Path, file: File) -> None:
    """Raises ValueError unless `data`, the content of `path`, has the published size and checksum of `file`."""
    if file.size is not None and len(data) != file.size:
        raise explained(ValueError(refusal(path, f"{file.size} bytes", f"{len(data)}")), "data-files")
    if file.checksum is not None:
        digest = new_digest(file.checksum)
        digest.update(data)
        got = written(file.checksum, digest)
        if got != file.checksum:
            raise explained(ValueError(refusal(path, named(file.checksum), named(got))), "data-files")


def refusal(path: Path, expected: str, got: str) -> str:
    """What to say of a file that is not the published one."""
    return (
        f"{path}: not the published file: expected {expected} of the content, got {got}. "
        "Fetch it again, or pass verify=False for a set of your own."
    )


def new_digest(expected: str) -> Digest:
    """Of the kind that the checksum `expected` has."""
    return hashlib.new(expected.partition(":")[0], usedforsecurity=False)


def written(expected: str, digest: Digest) -> str:
    """What `digest` says, in the form that `expected` has."""
    return f"{expected.partition(':')[0]}:{digest.hexdigest()}"


def named(checksum: str) -> str:
    """A checksum as it stands in a sentence: "SHA-256 0fa7..."."""
    kind, _, digits = checksum.partition(":")
    return f"{_KINDS[kind]} {digits}"
