"""AEDAT 3.1, as cAER writes it: the recordings of DVS128-Gesture."""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rheobase.events.aedat_header import END, header
from rheobase.events.events import Events, checked

HEADER_BYTES = 28
POLARITY = 1
EVENT_BYTES = 8
TIME_AT = 4


class Packet(NamedTuple):
    """Where the polarity events of a packet are: so many from `offset`, the clock having run over `overflows` times."""

    offset: int
    events: int
    overflows: int


def read_aedat3(path: str | Path, *, height: int = 128, width: int = 128, sort: bool = False) -> Events:
    """The polarity events in an AEDAT 3.1 file; other packets are skipped.

    A packet is a header of 28 bytes, little-endian: type, source (16 bits each), bytes of an event, offset of
    its time, overflows of the 31-bit clock, capacity, number of events, number of valid ones (32 bits each);
    then the events. A polarity event has 32 bits of data, valid from bit 0, brighter bit 1, y from bit 2,
    x from bit 17 (15 bits each), (0, 0) at the top left; then the time in microseconds.

    sort: see `checked`.

    Events that are marked invalid are left out, as the format asks (SpikingJelly and snnTorch keep them).

    Raises ValueError, naming the file and the offset, for what is damaged.
    """
    path = Path(path)
    data = path.read_bytes()
    lines, start = header(data, path, "3.1")
    if lines[-1] != END:
        raise ValueError(f"{path}: expected the line {END.decode()} before offset {start}, where the header ends.")
    formats = [line for line in lines if line.startswith(b"#Format:")]
    if any(line.split(b":")[1].strip() != b"RAW" for line in formats):
        raise ValueError(f"{path}: expected the line '#Format: RAW', got {formats[0].decode('ascii', 'replace')!r}.")
    packets = polarity_packets(data, path, start)
    if not packets:
        raise ValueError(f"{path}: no polarity events from offset {start}, where the header ends, to its end.")
    records = np.concatenate([np.frombuffer(data, "<u4", 2 * count, offset) for offset, count, _ in packets])
    bits, clock = records.reshape(-1, 2).T
    counts = np.array([packet.events for packet in packets])
    before = np.cumsum(counts) - counts

    def offset_of(index: int) -> int:
        packet = int(np.searchsorted(before, index, side="right")) - 1
        return packets[packet].offset + EVENT_BYTES * (index - int(before[packet]))

    if (clock > 0x7FFFFFFF).any():
        first = int((clock > 0x7FFFFFFF).argmax())
        raise ValueError(f"{path}: negative time {int(clock[first]) - 2**32} at offset {offset_of(first) + TIME_AT}.")
    t = clock + (np.repeat([packet.overflows for packet in packets], counts).astype(np.int64) << 31)
    valid = np.flatnonzero(bits & 1)
    if not len(valid):
        raise ValueError(f"{path}: all {len(bits)} polarity events from offset {start} on are marked invalid.")
    if len(valid) < len(bits):
        bits, t = bits[valid], t[valid]

    def place(index: int) -> str:
        return f"at offset {offset_of(int(valid[index]))} (event {int(valid[index])})"

    x, y, p = bits >> 17, bits >> 2 & 0x7FFF, bits >> 1 & 1
    return checked(t, x, y, p, height=height, width=width, source=str(path), place=place, sort=sort)


def polarity_packets(data: bytes, path: Path, start: int) -> list[Packet]:
    """The packets of polarity events from the offset `start` on, but empty ones.

    Raises ValueError where sizes contradict each other or the file ends within a packet.
    """
    found = []
    at = start
    while at < len(data):
        if at + HEADER_BYTES > len(data):
            raise ValueError(f"{path}: truncated in the packet header at offset {at}: {len(data) - at} of 28 bytes.")
        kind, _, size, time_at, overflows, capacity, count, valid = struct.unpack_from("<2h6i", data, at)
        sizes = f"size {size}, time at {time_at}, {overflows} overflows, {valid} <= {count} <= {capacity} events"
        if kind < 0 or size < 1 or overflows < 0 or not 0 <= valid <= count <= capacity:
            raise ValueError(f"{path}: damaged packet header at offset {at}: type {kind}, {sizes}.")
        # readers disagree about whether unused capacity is in a file
        if count != capacity:
            raise ValueError(f"{path}: expected packets without unused capacity, got {sizes} at offset {at}.")
        if kind == POLARITY and (size, time_at) != (EVENT_BYTES, TIME_AT):
            raise ValueError(f"{path}: expected polarity events of size 8, time at 4, got {sizes} at offset {at}.")
        body, at = at + HEADER_BYTES, at + HEADER_BYTES + size * count
        if at > len(data):
            raise ValueError(f"{path}: truncated at offset {len(data)}: the packet before it ends at offset {at}.")
        if kind == POLARITY and count:
            found.append(Packet(body, count, overflows))
    return found
