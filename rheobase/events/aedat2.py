"""AEDAT 2.0, as jAER writes it: recordings of the DVS128, CIFAR10-DVS among them."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rheobase.events.aedat_header import header
from rheobase.events.events import Events, checked

SIDE = 128
EVENT_BYTES = 8
EXTERNAL = 0x8000


def read_aedat2(path: str | Path, *, layout: Literal["dvs128", "cifar10-dvs"], sort: bool = False) -> Events:
    """The events of a DVS128 in an AEDAT 2.0 file.

    After the header, big-endian pairs of an address and a time in microseconds, 32 bits each. An address has
    the polarity in bit 0 (0 is brighter), seven bits of column from bit 1, seven of row from bit 8. The
    sensor counts columns from the right and rows from the bottom.

    layout: "dvs128" gives the picture as jAER shows it, x = 127 - column, y = 127 - row. "cifar10-dvs" gives
        x = 127 - row, y = 127 - column, the axes in which SpikingJelly, and with it the papers, read that set.
    sort: see `checked`.

    Bit 15 marks a signal at the sensor's input pin; such records are skipped, as by jAER (CIFAR10-DVS's
    dat2mat.m and SpikingJelly take them for events). Where the 32-bit clock runs over, time goes on.

    Raises ValueError, naming the file and the offset, for what is damaged or of another sensor.
    """
    if layout not in ("dvs128", "cifar10-dvs"):
        raise ValueError(f"Expected layout 'dvs128' or 'cifar10-dvs', got {layout!r}.")
    path = Path(path)
    data = path.read_bytes()
    start = header(data, path, "2.0")[1]
    if (len(data) - start) % EVENT_BYTES:
        raise ValueError(
            f"{path}: truncated at offset {len(data)}: the last event has {(len(data) - start) % EVENT_BYTES} "
            f"of {EVENT_BYTES} bytes."
        )
    records = np.frombuffer(data, ">u4", offset=start).reshape(-1, 2)
    address, t = records[:, 0].astype(np.uint32), unwrapped(records[:, 1])
    if (address > 0xFFFF).any():
        first = int((address > 0xFFFF).argmax())
        raise ValueError(
            f"{path}: expected an address of 16 bits, as of a DVS128, got 0x{int(address[first]):08x} "
            f"at offset {start + EVENT_BYTES * first} (event {first})."
        )
    seen = np.flatnonzero((address & EXTERNAL) == 0)
    if not len(seen):
        raise ValueError(f"{path}: no events after the header, which ends at offset {start}.")
    if len(seen) < len(address):
        address, t = address[seen], t[seen]
    column, row = (SIDE - 1 - (address >> shift & 0x7F).astype(np.int32) for shift in (1, 8))
    x, y = (column, row) if layout == "dvs128" else (row, column)

    def place(index: int) -> str:
        return f"at offset {start + EVENT_BYTES * int(seen[index])} (event {int(seen[index])})"

    return checked(t, x, y, 1 - (address & 1), height=SIDE, width=SIDE, source=str(path), place=place, sort=sort)


def unwrapped(times: NDArray[Any]) -> NDArray[np.int64]:
    """Times of an unsigned 32-bit clock, going on where it ran over: where they fall by more than its half."""
    t = times.astype(np.int64)
    over = t[1:] - t[:-1] < -(2**31)
    if over.any():
        t[1:] += np.cumsum(over) << 32
    return t
