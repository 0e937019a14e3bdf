"""The five-byte events of N-MNIST and N-Caltech101."""

from pathlib import Path

import numpy as np

from rheobase.events.events import Events, checked

EVENT_BYTES = 5
OVERFLOW_ROW = 240
OVERFLOW = 2**13
END = 2**23


def read_bin(path: str | Path, *, height: int, width: int, sort: bool = False) -> Events:
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


def write_bin(path: str | Path, events: Events) -> None:
    """Writes a .bin file, from which `read_bin` reads the same events.

    Raises ValueError where there are no events, and for an event that five bytes cannot hold.
    """
    if not len(events):
        raise ValueError(f"{path}: expected at least one event to write.")
    for name, size, advice in (
        ("x", 256, "write .npz"),
        ("y", OVERFLOW_ROW, "write .npz"),
        ("t", END, "take t[0] off all times, cut it with `between`, or write .npz"),
        ("p", 2, "1 is brighter, 0 darker"),
    ):
        values = getattr(events, name)
        if not 0 <= values.min() <= values.max() < size:
            first = int(((values < 0) | (values >= size)).argmax())
            raise ValueError(
                f"{path}: a .bin file holds {name} in 0 .. {size - 1}, got {values[first]} at event {first}: {advice}."
            )
    columns = events.x, events.y, events.p.astype(np.int64) << 7 | events.t >> 16, events.t >> 8 & 0xFF, events.t & 0xFF
    Path(path).write_bytes(np.stack(columns, axis=1).astype(np.uint8).tobytes())
