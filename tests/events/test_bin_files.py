"""The .bin files of N-MNIST and N-Caltech101."""

import numpy as np
import pytest
from events.writers import recording, same, write_bin

from rheobase.events import Events, read_bin
from rheobase.events import write_bin as write

SIZES = {"n-mnist": (34, 34), "n-caltech101": (180, 240)}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_read_is_what_was_written(tmp_path, size, seed):
    height, width = size
    events = recording(seed, 3000, height=height, width=width, stop=2**23)
    write_bin(tmp_path / "a.bin", events)
    assert same(read_bin(tmp_path / "a.bin", height=height, width=width), events)


def test_an_event_is_five_bytes_of_which_the_third_begins_with_the_polarity(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes([10, 30, 0x80 | 0x01, 0x02, 0x03]))
    read = read_bin(tmp_path / "a.bin", height=34, width=34)
    assert [int(a[0]) for a in (read.x, read.y, read.p, read.t)] == [10, 30, 1, 0x010203]


def test_records_of_row_240_add_8192_microseconds_to_what_follows(tmp_path):
    events = recording(0, 20, height=34, width=34, start=0, stop=8192)
    write_bin(tmp_path / "a.bin", events)
    data, over = (tmp_path / "a.bin").read_bytes(), bytes([49, 240, 0, 0, 0])
    (tmp_path / "b.bin").write_bytes(data[:50] + over + over + data[50:])
    read = read_bin(tmp_path / "b.bin", height=34, width=34)
    assert np.array_equal(read.t - events.t, np.repeat([0, 16384], 10))
    assert np.array_equal(read.x, events.x)


def changed(at, value):
    return lambda data: data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"", "no events: an empty file, nothing at offset 0"),
        (lambda data: data[:-2], "truncated at offset 498: the last event has 3 of 5 bytes"),
        (lambda _: bytes([49, 240, 0, 0, 0]), "no events from offset 0 on, only records of clock overflows"),
        (changed(35, 34), r"x in 0 \.\. 33, got 34 at offset 35 \(event 7\)"),
        (changed(36, 99), r"y in 0 \.\. 33, got 99 at offset 35 \(event 7\)"),
        (changed(37, 0x7F), r"out of order: time \d+ after \d+ at offset 40 \(event 8\)"),
        (lambda data: data[:5] + b"\0" + data[5:-1], "at offset"),
    ],
    ids=["empty", "truncated", "overflows alone", "x", "y", "order", "a byte too many"],
)
def test_damage_is_named(tmp_path, damage, message):
    write_bin(tmp_path / "00002.bin", recording(0, 100, height=34, width=34))
    data = damage((tmp_path / "00002.bin").read_bytes())
    (tmp_path / "00002.bin").write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read_bin(tmp_path / "00002.bin", height=34, width=34)
    assert str(caught.value).startswith(f"{tmp_path / '00002.bin'}: ")


def test_a_recording_of_a_larger_sensor_is_refused(tmp_path):
    write_bin(tmp_path / "a.bin", recording(0, 500, height=180, width=240))
    with pytest.raises(ValueError, match="of another sensor"):
        read_bin(tmp_path / "a.bin", height=34, width=34)


def test_a_sensor_with_the_overflow_row_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"height of 1 \.\. 240 pixels, got 260"):
        read_bin(tmp_path / "a.bin", height=260, width=346)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_what_the_library_writes_are_the_bytes_of_the_format(tmp_path, size):
    height, width = size
    events = recording(5, 3000, height=height, width=width, start=0, stop=2**23)
    write_bin(tmp_path / "a.bin", events)
    write(str(tmp_path / "b.bin"), events)
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert same(read_bin(str(tmp_path / "b.bin"), height=height, width=width), events)


@pytest.mark.parametrize(
    ("name", "largest", "message"),
    [
        ("x", 255, r"x in 0 \.\. 255, got 256 at event 3: write .npz"),
        ("y", 239, r"y in 0 \.\. 239, got 240 at event 3"),
        ("t", 2**23 - 1, r"t in 0 \.\. 8388607, got 8388608 at event 3: take t\[0\] off all times"),
        ("p", 1, r"p in 0 \.\. 1, got 2 at event 3: 1 is brighter"),
    ],
)
def test_what_five_bytes_cannot_hold_is_refused_and_the_file_stays_as_it_was(tmp_path, name, largest, message):
    columns = {key: np.zeros(4, kind) for key, kind in (("t", "i8"), ("x", "i4"), ("y", "i4"), ("p", "u1"))}
    columns[name][3] = largest
    write(tmp_path / "a.bin", Events(**columns, height=260, width=346))
    before = (tmp_path / "a.bin").read_bytes()
    columns[name][3] += 1
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "a.bin", Events(**columns, height=260, width=346))
    assert (tmp_path / "a.bin").read_bytes() == before


def test_a_recording_without_events_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="at least one event"):
        write(tmp_path / "a.bin", recording(0, 5).between(0, 0))
    assert not (tmp_path / "a.bin").exists()
