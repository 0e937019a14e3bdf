"""The data sets of tonic, and others that have its form, as sequences."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rheobase.datasets.cache import cached, cached_rows
from rheobase.datasets.event_frames import Framing, framed, require_positive
from rheobase.datasets.layouts import Stored
from rheobase.datasets.sequences import Sequences
from rheobase.events import Events, checked

FIELDS = ("t", "x", "p")


class Recordings(Protocol):
    """What `tonic.datasets` are: item i is `(events, label)`.

    events: a structured array with fields t (microseconds), x, y (absent where there is one row) and p (1 or True is
        brighter).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[NDArray[Any], int]: ...


def from_tonic(
    dataset: Recordings,
    *,
    steps: int,
    classes: int,
    height: int,
    width: int,
    framing: Framing = "time",
    window: int | None = None,
    key: str | None = None,
) -> Sequences:
    """Counts of the events of each item: T = steps, step shape [2, height, width]; channel 0 is brighter.

    classes: labels are whole numbers in 0 .. classes - 1.
    height, width: of the sensor; tonic's `sensor_size` is (width, height, polarities).
    framing: frames of as many events each ("count"), of equal duration from the first event to the last ("time"),
        or of `window` microseconds from the first event on, what comes later being left out ("window").
    key: names all that the items depend on, such as "cifar10dvs-1.7 denoised"; the counts are then kept on disk
        and found again by it, steps and framing, without a look at the items. In memory without one.

    tonic's own frames have the channels the other way round; do not give it a transform that makes frames.

    Raises TypeError for items of another form, ValueError for events or labels that cannot be, naming the item.
    """
    require_positive(steps=steps, classes=classes, height=height, width=width, items=len(dataset))
    frames_of = framed(framing, window)
    labels: list[int] = []

    def rows() -> Iterator[NDArray[np.int32]]:
        for index in range(len(dataset)):
            item, label = dataset[index]
            labels.append(class_of(label, classes, index))
            yield frames_of(events_of(item, height, width, index), steps)

    def label_tensor() -> Tensor:
        found = labels or [class_of(dataset[index][1], classes, index) for index in range(len(dataset))]
        return torch.tensor(found, dtype=torch.int64)

    shape = (steps, 2, height, width)
    if key is None:
        frames = torch.from_numpy(np.stack([narrowed(row) for row in rows()]))
        return Sequences(frames, label_tensor(), Stored(), classes)
    settings = {"key": key, "items": len(dataset), "shape": shape, "framing": framing, "window": window}
    samples = cached_rows("tonic", settings, rows, count=len(dataset), shape=shape)
    return Sequences(samples, cached("tonic-labels", {**settings, "classes": classes}, label_tensor), Stored(), classes)


def events_of(item: Any, height: int, width: int, index: int) -> Events:
    """The events of item `index`."""
    names = item.dtype.names if isinstance(item, np.ndarray) else None
    if names is None or not set(FIELDS) <= set(names):
        got = f"fields {names}" if names else f"{type(item).__name__}"
        raise TypeError(
            f"Expected item {index} to begin with a structured array of events with fields t, x, y, p, got {got}. "
            "Leave out transforms that make frames."
        )
    y = item["y"] if "y" in names else np.zeros(len(item), np.int32)
    columns = {"t": item["t"], "x": item["x"], "y": y, "p": item["p"]}
    for name, values in columns.items():
        if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.floor(values))).all():
            raise ValueError(f"Expected whole numbers {name} in item {index}, t in microseconds, got others.")
    return checked(
        *(values.astype(np.int64) for values in columns.values()),
        height=height,
        width=width,
        source=f"item {index}",
        sort=True,
    )


def class_of(label: Any, classes: int, index: int) -> int:
    """The label of item `index` as a class number."""
    if not isinstance(label, int | np.integer) or not 0 <= label < classes:
        raise ValueError(
            f"Expected a label of item {index} in 0 .. {classes - 1}, a whole number, got {label!r}. "
            "A target_transform of the data set can make it one."
        )
    return int(label)


def narrowed(counts: NDArray[np.int32]) -> NDArray[Any]:
    """Counts in a byte each where they fit."""
    return counts.astype(np.uint8) if counts.max(initial=0) < 256 else counts
