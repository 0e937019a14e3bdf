"""Small recordings, and files of them in the exact formats; what the readers must give back."""

import struct
from itertools import pairwise

import numpy as np

from rheobase.events import Events, checked

AEDAT2_HEADER = (
    b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
    b"# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event\r\n"
    b"# Timestamps tick is 1 us\r\n# created Thu Jan 01 00:00:00 UTC 2015\r\n"
)
AEDAT3_HEADER = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2016-01-01 00:00:00\r\n#!END-HEADER\r\n"
)


def recording(seed, count, *, height=128, width=128, start=1000, stop=300_000):
    """Random events in the order of their times, start <= t < stop."""
    rng = np.random.default_rng(seed)
    return checked(
        np.sort(rng.integers(start, stop, count)),
        rng.integers(0, width, count),
        rng.integers(0, height, count),
        rng.integers(0, 2, count),
        height=height,
        width=width,
        source="recording",
    )


def same(one, other):
    """Whether two recordings are equal, types included."""
    return (one.height, one.width) == (other.height, other.width) and all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in "txyp"
    )


def aedat2(events, layout="cifar10-dvs"):
    """The bytes of an AEDAT 2.0 file of a DVS128."""
    column, row = (events.x, events.y) if layout == "dvs128" else (events.y, events.x)
    address = (127 - column) << 1 | (127 - row) << 8 | (1 - events.p.astype(np.int32))
    return AEDAT2_HEADER + np.stack([address, events.t & 0xFFFFFFFF], 1).astype(">u4").tobytes()


def write_aedat2(path, events, layout="cifar10-dvs"):
    path.write_bytes(aedat2(events, layout))


def packet(kind, body, *, size=8, overflows=0, count=None, capacity=None, valid=None, time_at=4):
    """A packet of an AEDAT 3.1 file."""
    count = len(body) // size if count is None else count
    capacity, valid = count if capacity is None else capacity, count if valid is None else valid
    return struct.pack("<2h6i", kind, 1, size, time_at, overflows, capacity, count, valid) + body


def polarity(events, valid=1):
    """The bodies of polarity events in an AEDAT 3.1 packet; valid: 0 or 1, for all or each."""
    bits = events.x.astype(np.int64) << 17 | events.y.astype(np.int64) << 2 | events.p.astype(np.int64) << 1 | valid
    return np.stack([bits, events.t & 0x7FFFFFFF], 1).astype("<u4").tobytes()


def aedat3(events, events_per_packet=100):
    """The bytes of an AEDAT 3.1 file: packets of polarity events, packets of other kinds among them."""
    data = AEDAT3_HEADER + packet(0, struct.pack("<2i", 3, 0))
    for overflows in np.unique(events.t >> 31):
        part = events.between(int(overflows) << 31, (int(overflows) + 1) << 31)
        edges = [*part.t[::events_per_packet], part.t[-1] + 1]
        for first, stop in pairwise(edges):
            data += packet(1, polarity(part.between(int(first), int(stop))), overflows=int(overflows))
            data += packet(3, bytes(36), size=36)
    return data


def write_aedat3(path, events, events_per_packet=100):
    path.write_bytes(aedat3(events, events_per_packet))


def write_gesture_labels(path, rows):
    """rows: (class 1 .. 11, start, stop) in microseconds."""
    lines = ["class,startTime_usec,endTime_usec", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def write_bin(path, events):
    """Events of N-MNIST or N-Caltech101; times below 2 ** 23."""
    t, p = events.t, events.p.astype(np.int64)
    assert t.max(initial=0) < 2**23
    columns = [events.x, events.y, p << 7 | t >> 16, t >> 8 & 255, t & 255]
    path.write_bytes(np.stack([column.astype(np.uint8) for column in columns], 1).tobytes())


def write_csv(path, events, titles):
    """A table with the columns that `titles` names, t, x, y and p among them."""
    columns = [getattr(events, name.strip(" #")) for name in titles.split(",")]
    lines = [titles, *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    path.write_text("\n".join(lines) + "\n")


def write_spoken(path, times, units, labels, speakers=None, *, dtype=np.float16):
    """times, units: an array of seconds and one of channels for each word, as in SHD (float16) or SSC."""
    import h5py

    with h5py.File(path, "w") as file:
        for name, rows, kind in (("times", times, dtype), ("units", units, np.uint16)):
            found = file.create_dataset(f"spikes/{name}", (len(rows),), h5py.vlen_dtype(np.dtype(kind)))
            for index, row in enumerate(rows):
                found[index] = np.asarray(row, kind)
        file["labels"] = np.asarray(labels, np.uint16)
        if speakers is not None:
            file["extra/speaker"] = np.asarray(speakers, np.uint16)


def write_mvsec(folder, name, events, images, times, flows=None, flow_times=None):
    """NAME_data.hdf5, and NAME_gt.hdf5 where there are flows; their paths.

    images: `[M, H, W]` uint8; times: theirs, s, as those of the events (which are in microseconds).
    flows: `[K, 2, H, W]`; flow_times: `[K]`, s.
    """
    import h5py

    data, truth = folder / f"{name}_data.hdf5", folder / f"{name}_gt.hdf5"
    seconds = events.t / 1e6
    with h5py.File(data, "w") as file:
        left = file.create_group("davis/left")
        left["events"] = np.stack([events.x, events.y, seconds, 2.0 * events.p - 1], 1)
        left["image_raw"] = images
        left["image_raw_ts"] = np.asarray(times, np.float64)
        left["image_raw_event_inds"] = np.searchsorted(seconds, times) - 1
    if flows is None:
        return data, None
    with h5py.File(truth, "w") as file:
        file["davis/left/flow_dist"] = np.asarray(flows, np.float64)
        file["davis/left/flow_dist_ts"] = np.asarray(flow_times, np.float64)
    return data, truth


def unordered(events):
    """The same events with the first and the last exchanged."""
    order = np.arange(len(events))
    order[[0, -1]] = order[[-1, 0]]
    return Events(events.t[order], events.x[order], events.y[order], events.p[order], events.height, events.width)
