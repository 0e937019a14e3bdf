"""A recording in whichever file it is."""

from pathlib import Path

from rheobase.events.aedat2 import SIDE, read_aedat2
from rheobase.events.aedat3 import read_aedat3
from rheobase.events.bin import read_bin
from rheobase.events.events import Events
from rheobase.events.plain import read_csv, read_npz


def read_events(path: str | Path, *, height: int, width: int, sort: bool = False) -> Events:
    """The events in a file, read as its suffix says: .aedat (2.0 of a DVS128, or 3.1), .bin, .npz or .csv.

    height, width: of the sensor. sort: see `checked`.

    Raises ValueError for another suffix, and what the readers raise.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in READERS:
        raise ValueError(f"{path}: expected a file of events, {', '.join(READERS)}, got the suffix {suffix!r}.")
    return READERS[suffix](path, height=height, width=width, sort=sort)


def read_aedat(path: str | Path, *, height: int, width: int, sort: bool = False) -> Events:
    """The version is in the file's first line."""
    with Path(path).open("rb") as file:
        is_old = file.read(12) == b"#!AER-DAT2.0"
    if not is_old:
        return read_aedat3(path, height=height, width=width, sort=sort)
    if (height, width) != (SIDE, SIDE):
        raise ValueError(f"{path}: AEDAT 2.0 is read of the DVS128 alone: expected 128 x 128, got {height} x {width}.")
    return read_aedat2(path, layout="dvs128", sort=sort)


READERS = {".aedat": read_aedat, ".bin": read_bin, ".npz": read_npz, ".csv": read_csv}
