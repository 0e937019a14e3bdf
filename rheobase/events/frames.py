"""Counts of events in frames; channel 0 counts what got brighter, channel 1 what got darker.

That order of channels is the library's, also of its simulated cameras. SpikingJelly, tonic and thus most
papers' pipelines have it the other way round (channel 0 is darker); Spike-FlowNet has it as here.
"""

import numpy as np
from numpy.typing import NDArray

from rheobase.events.events import Events


def frames_by_count(events: Events, steps: int) -> NDArray[np.int32]:
    """Frames `[steps, 2, H, W]` of as many events each: floor(E / steps), and the rest in the last.

    Fewer events than steps are thus all in the last frame.
    """
    at_least_one("steps", steps)
    each = len(events) // steps
    numbers = np.arange(len(events))
    return counted(events, np.minimum(numbers // each, steps - 1) if each else numbers * 0 + steps - 1, steps)


def frames_by_time(events: Events, steps: int) -> NDArray[np.int32]:
    """Frames `[steps, 2, H, W]` of equal duration from the first event to the last, which both count.

    Frame k holds floor(steps * (t - first) / (last - first)) = k. (SpikingJelly rounds a frame's duration
    down to microseconds and makes the last frame longer.)
    """
    at_least_one("steps", steps)
    if not len(events):
        return counted(events, np.empty(0, np.int64), steps)
    elapsed = events.t - events.t[0]
    return counted(events, np.minimum(elapsed * steps // max(int(elapsed[-1]), 1), steps - 1), steps)


def frames_by_window(
    events: Events, window: int, steps: int | None = None, start: int | None = None
) -> NDArray[np.int32]:
    """Frames `[steps, 2, H, W]` of `window` microseconds each, from `start` on; what is outside is left out.

    steps: frames without events are 0; as many as reach the last event unless told.
    start: microseconds; the first event's time unless told.
    """
    at_least_one("window", window)
    start = start if start is not None else int(events.t[0]) if len(events) else 0
    if steps is None:
        steps = max(int(events.t[-1] - start) // window + 1, 0) if len(events) else 0
    else:
        at_least_one("steps", steps)
    seen = events.between(start, start + window * steps)
    return counted(seen, (seen.t - start) // window, steps)


def spike_frames(
    times: NDArray[np.floating], units: NDArray[np.integer], *, window: float, steps: int, channels: int
) -> NDArray[np.int32]:
    """Counts `[steps, channels]` of spikes in windows of `window` seconds from 0 on; later spikes are left out.

    times, units: second and channel of each spike, `[S]`, in any order.
    window: a whole number of microseconds; times are rounded to microseconds first, so that a spike at the
        beginning of a window is in it.

    Raises ValueError for a negative time, or a channel that is not there.
    """
    width = round(window * 1e6)
    if width < 1 or abs(window * 1e6 - width) > 1e-3:
        raise ValueError(f"Expected a window of whole microseconds, at least 1e-6 s, got {window} s.")
    at_least_one("steps", steps)
    at_least_one("channels", channels)
    if times.shape != units.shape or times.ndim != 1:
        raise ValueError(f"Expected times and units [S], got {list(times.shape)} and {list(units.shape)}.")
    if len(times) and not (float(times.min()) >= 0 and 0 <= int(units.min()) <= int(units.max()) < channels):
        raise ValueError(
            f"Expected times from 0 s on and units in 0 .. {channels - 1}, got times from {times.min()} s "
            f"and units {units.min()} .. {units.max()}."
        )
    step = np.rint(times.astype(np.float64) * 1e6) // width
    seen = step < steps
    cells = step[seen].astype(np.int64) * channels + units[seen].astype(np.int64)
    return np.bincount(cells, minlength=steps * channels).astype(np.int32).reshape(steps, channels)


def counted(events: Events, step: NDArray[np.int64], steps: int) -> NDArray[np.int32]:
    """Counts `[steps, 2, H, W]`, event i being in frame step[i] of 0 .. steps - 1."""
    shape = (steps, 2, events.height, events.width)
    cells = ((step * 2 + (1 - events.p.astype(np.int64))) * events.height + events.y) * events.width + events.x
    return np.bincount(cells, minlength=int(np.prod(shape))).astype(np.int32).reshape(shape)


def at_least_one(name: str, number: int) -> None:
    if number < 1:
        raise ValueError(f"Expected {name} of at least 1, got {number}.")
