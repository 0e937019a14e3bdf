"""What an event camera recorded: when, where and which way the brightness changed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rheobase.explained import explained

TYPES: dict[str, np.dtype[Any]] = {
    "t": np.dtype(np.int64),
    "x": np.dtype(np.int32),
    "y": np.dtype(np.int32),
    "p": np.dtype(np.uint8),
}


@dataclass(frozen=True, eq=False)
class Events:
    """A recording: four arrays of one length.

    t: time, microseconds, int64, never decreasing.
    x: column, 0 .. width - 1, int32.
    y: row from the top, 0 .. height - 1, int32.
    p: 1 where it got brighter, 0 where it got darker, uint8.

    Raises TypeError for other types, ValueError for other shapes. Values are not looked at; `checked` does.
    """

    t: NDArray[np.int64]
    x: NDArray[np.int32]
    y: NDArray[np.int32]
    p: NDArray[np.uint8]
    height: int
    width: int

    def __post_init__(self) -> None:
        for name, dtype in TYPES.items():
            array = getattr(self, name)
            if array.dtype != dtype:
                raise TypeError(f"Expected {name} of type {dtype}, got {array.dtype}; `checked` converts.")
            if array.shape != (self.t.size,):
                raise ValueError(f"Expected {name} of shape [{self.t.size}], got {list(array.shape)}.")

    def __len__(self) -> int:
        return len(self.t)

    def between(self, start: int, stop: int) -> "Events":
        """The events with start <= t < stop, microseconds, as views."""
        first, last = np.searchsorted(self.t, (start, stop))
        part = slice(first, last)
        return Events(self.t[part], self.x[part], self.y[part], self.p[part], self.height, self.width)


def checked(
    t: NDArray[Any],
    x: NDArray[Any],
    y: NDArray[Any],
    p: NDArray[Any],
    *,
    height: int,
    width: int,
    source: str,
    place: Callable[[int], str] = "at event {}".format,
    sort: bool = False,
) -> Events:
    """Events from whole numbers of any type, after a look at every one of them.

    source: what they are from, such as the file's path; for the messages.
    place: where the event of a given index is in the source; for the messages.
    sort: puts events into the order of their times, and leaves those of the same time as they come;
        otherwise events out of order are refused.

    Raises ValueError for an event off the sensor, another polarity than 0 and 1, or out of order.
    """
    for name, values, size in (("x", x, width), ("y", y, height), ("p", p, 2)):
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < size:
            first = int(((values < 0) | (values >= size)).argmax())
            raise explained(
                ValueError(
                    f"{source}: expected {name} in 0 .. {size - 1}, got {int(values[first])} {place(first)}. "
                    "The file is damaged, or of another sensor."
                ),
                "data-files",
            )
    late = t[1:] < t[:-1]
    if late.any() and not sort:
        first = int(late.argmax()) + 1
        raise explained(
            ValueError(
                f"{source}: out of order: time {int(t[first])} after {int(t[first - 1])} {place(first)}. "
                "Use sort=True if the order in the file means nothing."
            ),
            "data-files",
        )
    arrays = {name: np.asarray(array, TYPES[name]) for name, array in (("t", t), ("x", x), ("y", y), ("p", p))}
    if late.any():
        order = np.argsort(arrays["t"], kind="stable")
        arrays = {name: array[order] for name, array in arrays.items()}
    return Events(**arrays, height=height, width=width)
