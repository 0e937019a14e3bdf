"""HDF5 files whose damage is told as that of other files."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rheobase.explained import explained

COLLECTION = b"GCOL\x01\0\0\0"
HEADER_BYTES = 16


@dataclass(frozen=True)
class Stored:
    """An array in an open file, called `name`; `stored[...]` reads a part of it.

    Raises ValueError where that part is damaged.
    """

    source: Any
    name: str
    path: Path
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: Any) -> Any:
        with damage_of(self.path, self.name):
            return self.source[which]


def opened(path: Path) -> Any:
    """The open h5py file.

    Raises ImportError, saying what to install, without h5py; ValueError where the file is no complete HDF5
    file; FileNotFoundError where there is none.
    """
    try:
        import h5py  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise explained(
            ImportError("HDF5 files need h5py, which is not installed: `pip install 'rheobase[events]'`."), "extras"
        ) from error
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise explained(ValueError(f"{path}: not a complete HDF5 file ({error})."), "data-files") from error


def dataset(file: Any, name: str, *, dimensions: int, kinds: str, path: Path) -> Stored:
    """The dataset called `name`, not read yet.

    kinds: which of numpy's kinds of number it may hold: "f", "i", "u", or "O" for ragged rows.

    Raises ValueError where it is missing or of another form.
    """
    import h5py

    with damage_of(path, name):
        found = file.get(name)
        form = (found.shape, found.dtype) if isinstance(found, h5py.Dataset) else None
    if form is None:
        raise ValueError(f"{path}: expected a dataset {name!r}, found {names(file)} in the file.")
    shape, dtype = form
    if shape is None or len(shape) != dimensions or dtype.kind not in kinds:
        raise ValueError(
            f"{path}: expected {name!r} with {dimensions} dimensions and numbers of kind {kinds!r}, "
            f"got shape {list(shape or ())} of {dtype}."
        )
    return Stored(found, name, path, shape)


def ragged(file: Any, name: str, *, kinds: str, path: Path) -> Stored:
    """The dataset called `name`, not read yet, whose rows have lengths of their own; see `dataset`.

    `require_sound_heaps` has to come before.
    """
    import h5py

    found = dataset(file, name, dimensions=1, kinds="O", path=path)
    with damage_of(path, name):
        inner = h5py.check_vlen_dtype(found.source.dtype)
    if getattr(inner, "kind", None) not in tuple(kinds):
        raise ValueError(f"{path}: expected rows of numbers of kind {kinds!r} in {name!r}, got {inner}.")
    return found


def require_sound_heaps(path: Path) -> None:
    """Raises ValueError where an object of the heaps that ragged rows are kept in has no length, or too much of it.

    libhdf5 goes round in a circle on these (HDF5 issue 1707, open). Looks through the whole file once.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(COLLECTION)
        while at >= 0:
            end = at + int.from_bytes(data[at + 8 : at + HEADER_BYTES], "little")
            if end <= len(data):  # else libhdf5 refuses it
                at = max(at, require_sound_heap(data, at, end, path) - HEADER_BYTES)
            at = data.find(COLLECTION, at + HEADER_BYTES)


def require_sound_heap(data: mmap.mmap, start: int, end: int, path: Path) -> int:
    """`end`, once every object between its header and there has been found to end within."""
    at = start + HEADER_BYTES
    while at + HEADER_BYTES <= end:
        index, size = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 8 : at + 16], "little")
        length = HEADER_BYTES + -(-size // 8) * 8 if index else size  # 0 is what is free, its header included
        if not length or at + length > end:
            raise ValueError(f"{path}: a damaged heap of rows at offset {start}: {size} bytes at offset {at}.")
        at += length
    return end


def holds(file: Any, name: str, *, path: Path) -> bool:
    """Whether there is something called `name` in a file."""
    with damage_of(path, name):
        return name in file


@contextmanager
def damage_of(path: Path, name: str) -> Iterator[None]:
    """What h5py raises inside, of whatever type, is damage of `name`; but a wrong index is not."""
    try:
        yield
    except IndexError:
        raise
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {name!r} is damaged ({error}).") from error


def names(file: Any) -> list[str]:
    """The names of the groups and datasets in a file, up to the first that is damaged."""
    found: list[str] = []
    with suppress(KeyError, OSError, RuntimeError, ValueError):
        file.visit(found.append)
    return found
