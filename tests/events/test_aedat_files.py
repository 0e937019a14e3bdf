"""AEDAT 2.0 and 3.1: what is read is what was written, and every kind of damage is named."""

import struct

import numpy as np
import pytest
from events.writers import (
    AEDAT2_HEADER,
    AEDAT3_HEADER,
    aedat2,
    aedat3,
    packet,
    polarity,
    recording,
    same,
    unordered,
    write_aedat2,
    write_aedat3,
    write_gesture_labels,
)

from rheobase.events import Events, read_aedat2, read_aedat3, read_gesture_labels

START2, START3 = len(AEDAT2_HEADER), len(AEDAT3_HEADER)


def shifted(events, by):
    return Events(events.t + by, events.x, events.y, events.p, events.height, events.width)


@pytest.mark.parametrize("layout", ["cifar10-dvs", "dvs128"])
@pytest.mark.parametrize("seed", range(4))
def test_aedat2_gives_back_what_was_written(tmp_path, layout, seed):
    events = recording(seed, 10 ** (seed + 1))
    write_aedat2(tmp_path / "a.aedat", events, layout)
    assert same(read_aedat2(tmp_path / "a.aedat", layout=layout), events)


def test_aedat2_addresses_are_those_of_the_published_formats(tmp_path):
    # column 5, row 9, darker: by jAER at x = 127 - 5, counted from the left, y = 127 - 9 from the top
    (tmp_path / "a.aedat").write_bytes(AEDAT2_HEADER + struct.pack(">2I", 9 << 8 | 5 << 1 | 1, 77))
    jaer = read_aedat2(tmp_path / "a.aedat", layout="dvs128")
    assert [int(a[0]) for a in (jaer.t, jaer.x, jaer.y, jaer.p)] == [77, 122, 118, 0]
    published = read_aedat2(tmp_path / "a.aedat", layout="cifar10-dvs")
    assert [int(a[0]) for a in (published.x, published.y)] == [118, 122]


def test_aedat2_time_goes_on_where_the_clock_runs_over(tmp_path):
    events = recording(0, 200, start=2**32 - 5000, stop=2**32 + 5000)
    write_aedat2(tmp_path / "a.aedat", events)
    assert events.t[-1] >= 2**32 > events.t[0]
    assert same(read_aedat2(tmp_path / "a.aedat", layout="cifar10-dvs"), events)


def test_aedat2_signals_at_the_input_pin_are_no_events(tmp_path):
    events = recording(0, 50)
    data = aedat2(events)
    middle = START2 + 8 * 20
    signal = struct.pack(">2I", 0x8000, int(events.t[20]))
    (tmp_path / "a.aedat").write_bytes(data[:middle] + signal + data[middle:])
    assert same(read_aedat2(tmp_path / "a.aedat", layout="cifar10-dvs"), events)


@pytest.mark.parametrize(("seed", "events_per_packet"), [(0, 1), (1, 7), (2, 1000)])
def test_aedat3_gives_back_what_was_written(tmp_path, seed, events_per_packet):
    events = recording(seed, 700)
    write_aedat3(tmp_path / "a.aedat", events, events_per_packet)
    assert same(read_aedat3(tmp_path / "a.aedat"), events)


def test_aedat3_overflows_are_part_of_the_time(tmp_path):
    events = recording(0, 200, start=2**31 - 5000, stop=2**31 + 5000)
    write_aedat3(tmp_path / "a.aedat", events, 30)
    assert same(read_aedat3(tmp_path / "a.aedat"), events)


def test_aedat3_events_marked_invalid_are_left_out(tmp_path):
    events = recording(0, 100)
    valid = np.arange(100) % 3 > 0
    body = polarity(events, valid.astype(int))
    (tmp_path / "a.aedat").write_bytes(AEDAT3_HEADER + packet(1, body, valid=int(valid.sum())))
    read = read_aedat3(tmp_path / "a.aedat")
    assert np.array_equal(read.x, events.x[valid])
    assert np.array_equal(read.t, events.t[valid])


def test_unordered_events_are_sorted_on_request(tmp_path):
    events = unordered(recording(0, 60))
    (tmp_path / "2.aedat").write_bytes(aedat2(events))
    (tmp_path / "3.aedat").write_bytes(AEDAT3_HEADER + packet(1, polarity(events)))
    for read in (
        read_aedat2(tmp_path / "2.aedat", layout="cifar10-dvs", sort=True),
        read_aedat3(tmp_path / "3.aedat", sort=True),
    ):
        assert (np.diff(read.t) >= 0).all()
        assert np.array_equal(np.sort(read.x), np.sort(events.x))


def put(at, form, *numbers):
    new = struct.pack(form, *numbers)
    return lambda data: data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"", "begins #!AER-DAT2.0 at offset 0, got '', an empty file"),
        (lambda data: b"\x89HDF" + data, "AEDAT 2.0 file.* at offset 0, got"),
        (lambda data: data.replace(b"2.0", b"3.1", 1), "AEDAT 2.0 file.* got '#!AER-DAT3.1'"),
        (lambda data: data[:40], "truncated in the header: the line at offset 14 does not end"),
        (lambda data: data[:START2], f"no events after the header, which ends at offset {START2}"),
        (lambda data: data[:-3], f"truncated at offset {START2 + 797}: the last event has 5 of 8 bytes"),
        (put(START2 + 80, ">I", 0x00010000), rf"16 bits.* 0x00010000 at offset {START2 + 80} \(event 10\)"),
        (put(START2 + 84, ">I", 7), rf"out of order: time 7 after \d+ at offset {START2 + 80} \(event 10\)"),
    ],
    ids=["empty", "magic", "version", "header", "no events", "truncated", "address", "order"],
)
def test_damage_of_aedat2_is_named(tmp_path, damage, message):
    path = tmp_path / "cifar10_ship_3.aedat"
    path.write_bytes(damage(aedat2(recording(0, 100))))
    with pytest.raises(ValueError, match=message) as caught:
        read_aedat2(path, layout="cifar10-dvs")
    assert str(caught.value).startswith(f"{path}: ")


FIRST = START3 + 28 + 8  # after the special event that `aedat3` begins with


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"", "begins #!AER-DAT3.1 at offset 0, got '', an empty file"),
        (lambda data: data.replace(b"3.1", b"2.0", 1), "AEDAT 3.1 file.* got '#!AER-DAT2.0'"),
        (lambda data: data.replace(b"#!END-HEADER\r\n", b"", 1), "#!END-HEADER before offset"),
        (lambda data: data.replace(b"Format: RAW", b"Format: XYZ", 1), "'#Format: RAW', got '#Format: XYZ'"),
        (lambda data: data[: START3 + 10], f"truncated in the packet header at offset {START3}: 10 of 28 bytes"),
        (lambda data: data[:FIRST], f"no polarity events from offset {START3}"),
        (lambda data: data[: FIRST + 100], rf"truncated at offset {FIRST + 100}: the packet .* ends at offset"),
        (put(FIRST + 20, "<i", -5), f"damaged packet header at offset {FIRST}: type 1, size 8"),
        (put(FIRST + 24, "<i", 10**6), f"damaged packet header at offset {FIRST}"),
        (put(FIRST, "<h", -1), f"damaged packet header at offset {FIRST}: type -1"),
        (put(FIRST + 16, "<i", 10**6), f"without unused capacity.* at offset {FIRST}"),
        (put(FIRST + 4, "<i", 16), f"polarity events of size 8, time at 4.* at offset {FIRST}"),
        (put(FIRST + 28 + 8 * 5, "<I", 128 << 17 | 1), rf"x in 0 .. 127, got 128 at offset {FIRST + 68} \(event 5\)"),
        (put(FIRST + 28 + 8 * 5, "<I", 200 << 2 | 1), rf"y in 0 .. 127, got 200 at offset {FIRST + 68} \(event 5\)"),
        (put(FIRST + 28 + 8 * 5 + 4, "<i", -3), f"negative time -3 at offset {FIRST + 72}"),
        (put(FIRST + 28 + 8 * 5 + 4, "<i", 1), rf"out of order: time 1 .* at offset {FIRST + 68} \(event 5\)"),
    ],
)
def test_damage_of_aedat3_is_named(tmp_path, damage, message):
    path = tmp_path / "user01_led.aedat"
    path.write_bytes(damage(aedat3(recording(0, 100), 50)))
    with pytest.raises(ValueError, match=message) as caught:
        read_aedat3(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_the_offset_of_a_later_packet_is_right_behind_invalid_events(tmp_path):
    events = recording(0, 10)
    before = packet(1, polarity(events, np.arange(10) % 2), valid=5) + packet(3, bytes(36), size=36)
    late = shifted(events, 10**6)
    body = put(8 * 4, "<I", 500 << 17 | 1)(polarity(late))
    (tmp_path / "a.aedat").write_bytes(AEDAT3_HEADER + before + packet(1, body))
    with pytest.raises(ValueError, match=rf"got 500 at offset {START3 + len(before) + 28 + 32} \(event 14\)"):
        read_aedat3(tmp_path / "a.aedat")


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'dvs128' or 'cifar10-dvs', got 'davis'"):
        read_aedat2(tmp_path / "none", layout="davis")


def test_gesture_labels_are_the_rows_of_the_file(tmp_path):
    rows = [(1, 80048239, 85092709), (9, 85000000, 95231007), (11, 180675853, 187389051)]
    write_gesture_labels(tmp_path / "labels.csv", rows)
    assert read_gesture_labels(tmp_path / "labels.csv") == rows
    published = (tmp_path / "labels.csv").read_text().replace("\n", "\r\n")
    (tmp_path / "dos.csv").write_bytes(published.encode())
    assert read_gesture_labels(tmp_path / "dos.csv") == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "in line 1, got 'an empty file'"),
        ("1,2,3\n", "'class,startTime_usec,endTime_usec' in line 1, got '1,2,3'"),
        ("class,startTime_usec,endTime_usec\n", "no gestures after line 1"),
        ("class,startTime_usec,endTime_usec\n1,2,3\n1,2\n", "three whole numbers.* in line 3, got '1,2'"),
        ("class,startTime_usec,endTime_usec\n1,2.5,3\n", "three whole numbers.* in line 2"),
        ("class,startTime_usec,endTime_usec\n12,2,3\n", r"class in 1 \.\. 11 in line 2, got 12"),
        ("class,startTime_usec,endTime_usec\n1,3,3\n", "before the end in line 2, got 3 and 3"),
    ],
)
def test_damage_of_gesture_labels_is_named(tmp_path, text, message):
    path = tmp_path / "user01_led_labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_gesture_labels(path)
    assert str(caught.value).startswith(f"{path}: ")
