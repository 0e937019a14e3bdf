"""The five-byte events of N-MNIST and N-Caltech101."""

from pathlib import Path

import numpy as np

from rheobase.events.events import Events, checked

EVENT_BYTES = 5
OVERFLOW_ROW = 240
OVERFLOW = 2**13


def read_bin(path: Path, *, height: int, width: int, sort: bool = False) -> Events:
    """The events in a .bin file: x, y (a byte each), polarity (a bit, 1 is brighter), time (23 bits, us).

    height, width: 34, 34 for N-MNIST; 180, 240 for N-Caltech101, the largest of its recordings.
    sort: see `checked`.

    A record with y = 240 is no event but tells that a clock of 13 bits ran over: it is left out, and 8192 us
    are added to all times after it, as tonic does (SpikingJelly and the authors' Read_Ndataset.m do not look).

    Raises ValueError, naming the file and the offset, for what is damaged or of another sensor.
    """
    if not 0 < height <= OVERFLOW_ROW:
        raise ValueError(f"Expected a height of 1 .. {OVERFLOW_ROW} pixels, got {height}.")
    data = np.fromfile(path, np.uint8)
    if not len(data):
        raise ValueError(f"{path}: no events: an empty file, nothing at offset 0.")
    if len(data) % EVENT_BYTES:
        raise ValueError(
            f"{path}: truncated at offset {len(data)}: the last event has {len(data) % EVENT_BYTES} "
            f"of {EVENT_BYTES} bytes."
        )
    x, y, high, middle, low = data.reshape(-1, EVENT_BYTES).T
    t = (high & 0x7F).astype(np.int64) << 16 | middle.astype(np.int64) << 8 | low
    p = high >> 7
    over = y == OVERFLOW_ROW
    seen = np.flatnonzero(~over)
    if not len(seen):
        raise ValueError(f"{path}: no events from offset 0 on, only records of clock overflows.")
    if len(seen) < len(t):
        t = (t + OVERFLOW * np.cumsum(over))[seen]
        x, y, p = x[seen], y[seen], p[seen]

    def place(index: int) -> str:
        return f"at offset {EVENT_BYTES * int(seen[index])} (event {int(seen[index])})"

    return checked(t, x, y, p, height=height, width=width, source=str(path), place=place, sort=sort)
