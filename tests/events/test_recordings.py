"""Events: what they hold, and what is refused."""

import numpy as np
import pytest
from events.writers import recording, same, unordered

from rheobase.events import Events, checked


def arrays(events):
    return events.t, events.x, events.y, events.p


def test_between_holds_the_start_but_not_the_stop():
    events = recording(0, 500, start=0, stop=100)
    part = events.between(20, 40)
    inside = (events.t >= 20) & (events.t < 40)
    assert 0 < len(part) == inside.sum() < len(events)
    assert np.array_equal(part.x, events.x[inside])
    assert len(events.between(40, 20)) == len(events.between(1000, 2000)) == 0


def test_parts_make_the_whole():
    events = recording(1, 300, start=0, stop=50)
    parts = [events.between(start, start + 10) for start in range(0, 50, 10)]
    assert np.array_equal(np.concatenate([part.y for part in parts]), events.y)


def test_whole_numbers_of_any_type_are_converted():
    events = recording(2, 50)
    other = checked(
        *(array.astype(kind) for array, kind in zip(arrays(events), "iHqB", strict=True)),
        height=128,
        width=128,
        source="here",
    )
    assert same(events, other)


def test_sorting_keeps_the_order_of_events_of_one_time():
    t, x = np.random.default_rng(0).integers(0, 10, 2000), np.arange(2000)
    ordered = checked(t, x, x * 0, x % 2, height=1, width=2000, source="here", sort=True)
    expected = [number for time in range(10) for number in x if t[number] == time]
    assert ordered.x.tolist() == expected
    assert np.array_equal(ordered.t, t[expected])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", 7, r"x in 0 \.\. 6, got 7 at event 2"),
        ("x", -1, r"x in 0 \.\. 6, got -1 at event 2"),
        ("y", 5, r"y in 0 \.\. 4, got 5 at event 2"),
        ("p", 2, r"p in 0 \.\. 1, got 2 at event 2"),
        ("t", 9, "out of order: time 3 after 9 at event 3"),
    ],
)
def test_an_event_that_cannot_be_is_named(name, value, message):
    columns = {"t": np.arange(4), "x": np.zeros(4, int), "y": np.zeros(4, int), "p": np.zeros(4, int)}
    columns[name][2] = value
    with pytest.raises(ValueError, match=f"^here: .*{message}"):
        checked(**columns, height=5, width=7, source="here")


def test_arrays_of_other_types_or_lengths_are_no_recording():
    t, x, y, p = arrays(recording(3, 10))
    with pytest.raises(TypeError, match="x of type int32, got int64"):
        Events(t, x.astype(np.int64), y, p, 128, 128)
    with pytest.raises(ValueError, match=r"p of shape \[10\], got \[9\]"):
        Events(t, x, y, p[:9], 128, 128)


def test_the_writers_unordered_recording_is_refused_unless_sorted():
    events = unordered(recording(4, 20))
    with pytest.raises(ValueError, match="sort=True"):
        checked(*arrays(events), height=128, width=128, source="here")
    assert (np.diff(checked(*arrays(events), height=128, width=128, source="here", sort=True).t) >= 0).all()
