"""Events in plain files, for recordings of one's own: NumPy's .npz and tables as .csv."""

import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rheobase.events.events import TYPES, Events, checked

NAMES = tuple(TYPES)
DAMAGE = (  # what reading a zip file raises where its bytes make no sense
    ValueError, EOFError, OSError, RuntimeError, OverflowError, MemoryError, struct.error, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip
EXACT = 2.0**53  # below, floating-point numbers tell all whole ones apart


def read_npz(path: str | Path, *, height: int, width: int, sort: bool = False) -> Events:
    """The events in an .npz file, which has them as arrays `t, x, y, p` of one length.

    t: microseconds, whole numbers. p: 1 where it got brighter, 0 or -1 where it got darker.
    sort: see `checked`.

    Raises ValueError, naming the file and the event, for what is missing, damaged or of another sensor.
    """
    with Path(path).open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path}: no .npz file, or not all of it.")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as arrays:
                there = arrays.files
                columns = {name: np.asarray(arrays[name]) for name in NAMES if name in there}
        except DAMAGE as error:
            raise ValueError(f"{path}: a damaged .npz file ({error}).") from error
    if len(columns) < len(NAMES):
        raise ValueError(f"{path}: expected the arrays {', '.join(NAMES)}, found {', '.join(there) or 'none'}.")
    return of_columns(columns, str(path), "at event {}".format, height=height, width=width, sort=sort)


def write_npz(path: str | Path, events: Events) -> None:
    """Writes an .npz file, from which `read_npz` reads the same events."""
    with Path(path).open("wb") as file:  # savez would add a suffix to another name
        np.savez_compressed(file, **{name: getattr(events, name) for name in NAMES})


def read_csv(path: str | Path, *, height: int, width: int, sort: bool = False) -> Events:
    """The events in a table: line 1 names the columns `t, x, y, p`, in any order, each other line is an event.

    Columns of other names are left alone. t, p, sort: as in `read_npz`.

    Raises ValueError, naming the file and the line, for what is missing, damaged or of another sensor.
    """
    with Path(path).open(encoding="utf-8-sig", errors="replace") as file:
        titles = [title.strip() for title in file.readline().lstrip("#").split(",")]
        if not set(NAMES) <= set(titles):
            raise ValueError(
                f"{path}: expected the names of the columns in line 1, such as t,x,y,p, got {','.join(titles)[:200]!r}."
            )
        used = [titles.index(name) for name in NAMES]
        try:
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # of a file without events
                rows = np.loadtxt(file, delimiter=",", usecols=used, comments=None).reshape(-1, len(NAMES))
        except ValueError as error:
            raise ValueError(f"{path}: no number, or a row cut short, below line 1 ({error}).") from error
    columns = dict(zip(NAMES, rows.T, strict=True))
    place = "in row {} below line 1".format
    return of_columns(columns, str(path), lambda i: place(i + 1), height=height, width=width, sort=sort)


def of_columns(
    columns: Mapping[str, NDArray[Any]],
    source: str,
    place: Callable[[int], str],
    *,
    height: int,
    width: int,
    sort: bool,
) -> Events:
    """Events of numbers of any type, once they are seen to be whole. source, place, sort: see `checked`."""
    shape = columns["t"].shape
    for name, values in columns.items():
        if values.shape != shape or values.ndim != 1 or values.dtype.kind not in "biuf":
            raise ValueError(
                f"{source}: expected t, x, y and p as numbers [E], got {name} of shape {list(values.shape)} and type "
                f"{values.dtype}."
            )
        if values.dtype.kind == "f" and (broken := ~(abs(values) < EXACT) | (values != np.floor(values))).any():
            first = int(broken.argmax())
            seconds = " Are these seconds? Write microseconds, round(1e6 * t)." if name == "t" else ""
            raise ValueError(f"{source}: expected whole numbers {name}, got {values[first]} {place(first)}.{seconds}")
    if not shape[0]:
        raise ValueError(f"{source}: no events.")
    t, x, y, p = (columns[name].astype(np.int64) for name in NAMES)
    if p.min() == -1 and not (p == 0).any():
        p = (p + 1) // 2
    return checked(t, x, y, p, height=height, width=width, source=source, place=place, sort=sort)
