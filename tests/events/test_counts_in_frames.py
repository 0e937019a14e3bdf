"""Frames: every event in one of them, in the right one."""

import numpy as np
import pytest
from events.writers import recording

from rheobase.events import Events, frames_by_count, frames_by_time, frames_by_window, spike_frames


def slowly(events, step, steps):
    frames = np.zeros((steps, 2, events.height, events.width), np.int32)
    for number in range(len(events)):
        frames[step[number], 0 if events.p[number] else 1, events.y[number], events.x[number]] += 1
    return frames


@pytest.mark.parametrize("seed", range(5))
def test_by_count_all_frames_but_the_last_have_as_many_events(seed):
    events = recording(seed, 1000 + 13 * seed, height=9, width=7)
    frames = frames_by_count(events, 10)
    each = len(events) // 10
    assert frames.sum((1, 2, 3)).tolist() == [each] * 9 + [len(events) - 9 * each]
    assert np.array_equal(frames, slowly(events, [min(n // each, 9) for n in range(len(events))], 10))


@pytest.mark.parametrize("seed", range(5))
def test_by_time_frames_are_of_equal_duration(seed):
    events = recording(seed, 1000, height=9, width=7)
    edges = np.linspace(events.t[0], events.t[-1], 8)
    step = np.clip(np.searchsorted(edges, events.t, side="right") - 1, 0, 6)
    assert np.array_equal(frames_by_time(events, 7), slowly(events, step, 7))


@pytest.mark.parametrize("seed", range(5))
def test_by_window_frames_begin_where_told_and_hold_a_window_each(seed):
    events = recording(seed, 1000, height=9, width=7)
    inside = events.between(50_000, 250_000)
    frames = frames_by_window(events, 20_000, steps=10, start=50_000)
    assert np.array_equal(frames, slowly(inside, (inside.t - 50_000) // 20_000, 10))
    assert 0 < frames.sum() < len(events)


def test_every_event_is_counted_once_whatever_the_frames():
    for seed in range(10):
        events = recording(seed, 500 + seed, height=5, width=6)
        for frames in (frames_by_count(events, 7), frames_by_time(events, 11), frames_by_window(events, 777)):
            assert frames.sum() == len(events)
            assert frames[:, 0].sum() == events.p.sum()


def test_channel_0_is_brighter():
    events = Events(*(np.array([1], kind) for kind in "qii"), np.array([1], np.uint8), 2, 3)
    assert frames_by_count(events, 1)[0].tolist() == [[[0, 0, 0], [0, 1, 0]], [[0, 0, 0], [0, 0, 0]]]


def test_windows_beyond_the_recording_are_empty():
    events = recording(0, 100, height=3, width=3, start=0, stop=1000)
    frames = frames_by_window(events, 500, steps=5, start=0)
    assert (frames.sum((1, 2, 3)) > 0).tolist() == [True, True, False, False, False]
    assert frames_by_window(events, 500, start=2000).shape == (0, 2, 3, 3)


def test_the_last_windows_default_is_the_one_of_the_last_event():
    events = recording(0, 100, height=3, width=3)
    frames = frames_by_window(events, 1000)
    assert len(frames) == (events.t[-1] - events.t[0]) // 1000 + 1
    assert frames[-1].any()


def test_few_or_no_events_make_frames_too():
    events = recording(0, 3, height=4, width=4)
    assert frames_by_count(events, 5).sum((1, 2, 3)).tolist() == [0, 0, 0, 0, 3]
    none = events.between(0, 0)
    for frames in (frames_by_count(none, 5), frames_by_time(none, 5), frames_by_window(none, 10, 5)):
        assert frames.shape == (5, 2, 4, 4)
        assert not frames.any()
    assert len(frames_by_window(none, 10)) == 0


def test_events_of_one_moment_are_in_the_first_frame_by_time():
    events = recording(0, 9, height=4, width=4, start=5, stop=6)
    assert frames_by_time(events, 3).sum((1, 2, 3)).tolist() == [9, 0, 0]


def test_spikes_are_counted_in_their_windows_and_cut_beyond_the_last():
    rng = np.random.default_rng(0)
    times, units = rng.integers(0, 120, 400) / 1000, rng.integers(0, 5, 400)
    expected = np.zeros((10, 5), np.int32)
    for time, unit in zip(times, units, strict=True):
        if round(time * 1000) < 100:
            expected[round(time * 1000) // 10, unit] += 1
    assert expected.sum() < 400
    assert np.array_equal(spike_frames(times, units, window=0.01, steps=10, channels=5), expected)


def test_a_spike_at_the_beginning_of_a_window_is_in_it():
    times = np.arange(100) * 0.01  # 0.29 // 0.01 is 28 in floating point
    assert (spike_frames(times, np.zeros(100, int), window=0.01, steps=100, channels=1) == 1).all()
    finer = np.arange(5000) / 1e6
    assert (spike_frames(finer, np.zeros(5000, int), window=1e-6, steps=5000, channels=1) == 1).all()
    assert not (np.bincount((times // 0.01).astype(int), minlength=100) == 1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: frames_by_count(recording(0, 5), 0), "steps of at least 1, got 0"),
        (lambda: frames_by_window(recording(0, 5), 0), "window of at least 1, got 0"),
        (lambda: spikes([0.1], [5]), r"units in 0 \.\. 4.* units 5 \.\. 5"),
        (lambda: spikes([-0.1], [0]), "times from 0 s on"),
        (lambda: spikes([np.nan], [0]), "times from 0 s on"),
        (lambda: spikes([0.1, 0.2], [0]), r"\[S\], got \[2\] and \[1\]"),
        (lambda: spikes([0.1], [0], window=2.5e-6), "whole microseconds"),
    ],
)
def test_what_makes_no_frames_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def spikes(times, units, window=0.01):
    return spike_frames(np.array(times), np.array(units), window=window, steps=3, channels=5)
