"""MVSEC: a moving event camera's events, grey images and true optical flow."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rheobase.events.events import Events, checked
from rheobase.events.flow import intervals, propagated
from rheobase.events.hdf5 import dataset, opened

CAMERA = "davis/left"
LARGEST = 2**31


class MvsecFile:
    """An open MVSEC sequence of the left camera, parts of it read when asked for.

    data: NAME_data.hdf5, with `davis/left/events` `[E, 4]` (x, y, time in s, polarity +1 or -1), the grey
        images `image_raw` `[M, H, W]`, their times `image_raw_ts` in s, and `image_raw_event_inds`, the last
        event before each image, -1 where there is none.
    truth: NAME_gt.hdf5, with `flow_dist` `[K, 2, H, W]`, how far along x and along y each pixel moves until
        the next of the times `flow_dist_ts` in s. None where no flow is asked for.
    sort: see `checked`.

    times: of the grey images, s since 1970, `[M]`.

    Raises ValueError, naming the file and the dataset, for another layout. To be closed, or used in `with`.
    """

    times: NDArray[np.float64]
    height: int
    width: int

    def __init__(self, data: Path, truth: Path | None = None, *, sort: bool = False) -> None:
        self.path, self.truth_path, self._sort = data, truth, sort
        self._files = [opened(data)]
        try:
            self._read_layout()
            if truth is not None:
                self._files.append(opened(truth))
                self._read_truth_layout(truth)
        except ValueError:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.times)

    def image(self, index: int) -> NDArray[np.uint8]:
        """A grey image `[H, W]`."""
        image: NDArray[np.uint8] = self._images[self._known(index)]
        return image

    def events(self, first: int, last: int) -> Events:
        """The events from image `first` on until before image `last`; times in microseconds since 1970.

        (Spike-FlowNet, on which S-TLLR's flow builds, takes for image i the events from image i - 1 to i,
        beginning and ending with one event earlier than here.)

        Raises ValueError where an event is damaged, or `image_raw_event_inds` is wrong about these images.
        """
        start, stop = self._last_before[[self._known(first), self._known(last)]] + 1
        if stop < start:
            raise ValueError(f"Expected images in the order of time, got {first} to {last}.")
        table = self._events[int(start) : int(stop)]
        whole = (table[:, :2] == np.rint(table[:, :2])).all(1)
        good = whole & (np.abs(table[:, :3]) < LARGEST).all(1) & (np.abs(table[:, 3]) == 1)
        if not good.all():
            at = int((~good).argmax())
            raise ValueError(
                f"{self.path}: expected x, y, time, polarity +1 or -1 at event {start + at}, got {table[at]}."
            )
        outside = (table[:, 2] < self.times[first]) | (table[:, 2] >= self.times[last])
        if outside.any() and not self._sort:
            at = int(outside.argmax())
            raise ValueError(
                f"{self.path}: 'image_raw_event_inds' says that event {start + at} is between images {first} and "
                f"{last}, but its time {table[at, 2]} is not in {self.times[first]} .. {self.times[last]}."
            )
        x, y = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
        t, p = np.rint(table[:, 2] * 1e6).astype(np.int64), table[:, 3] > 0
        return checked(
            *(t, x, y, p),
            height=self.height,
            width=self.width,
            source=str(self.path),
            place=lambda index: f"at event {int(start) + index}",
            sort=self._sort,
        )

    def has_flow(self, first: int, last: int) -> bool:
        """Whether the true flow is known all the time from image `first` to image `last`."""
        start, stop = self.times[self._known(first)], self.times[self._known(last)]
        return bool(self.truth_path and self._flow_times[0] <= start < stop <= self._flow_times[-1])

    def flow(self, first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """How far each pixel of image `first` moves until image `last`, `[2, H, W]` along x and y, in pixels.

        Also where that is known, `[H, W]`; elsewhere it is 0. `rheobase.events.flow` says how it is found.

        Raises ValueError where the true flow does not cover that time.
        """
        if self.truth_path is None or not self.has_flow(first, last):
            raise ValueError(
                f"{self.truth_path or self.path}: no true flow all the time from image {first} to image {last}; "
                "`has_flow` tells where there is."
            )
        parts = intervals(self._flow_times, float(self.times[first]), float(self.times[last]))
        shift, known = propagated((self._flow[at], share) for at, share in parts)
        return shift.astype(np.float32), known

    def close(self) -> None:
        for file in self._files:
            file.close()

    def __enter__(self) -> "MvsecFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _known(self, index: int) -> int:
        if not 0 <= index < len(self.times):
            raise IndexError(f"{self.path} has images 0 .. {len(self.times) - 1}, not {index}.")
        return index

    def _read_layout(self) -> None:
        file, path = self._files[0], self.path
        self._events = dataset(file, f"{CAMERA}/events", dimensions=2, kinds="f", path=path)
        self._images = dataset(file, f"{CAMERA}/image_raw", dimensions=3, kinds="u", path=path)
        found = dataset(file, f"{CAMERA}/image_raw_ts", dimensions=1, kinds="f", path=path)
        inds = dataset(file, f"{CAMERA}/image_raw_event_inds", dimensions=1, kinds="iu", path=path)
        if self._events.shape[1] != 4 or not len(self._events):
            raise ValueError(f"{path}: expected events [E, 4], got shape {list(self._events.shape)}.")
        images, self.height, self.width = self._images.shape
        if images < 1 or not images == len(found) == len(inds):
            raise ValueError(
                f"{path}: {images} images, {len(found)} image_raw_ts and {len(inds)} image_raw_event_inds; "
                "expected as many of each."
            )
        self.times = increasing(found[:], "image_raw_ts", path)
        self._last_before = inds[:].astype(np.int64)
        wrong = (self._last_before < -1) | (self._last_before >= len(self._events))
        wrong[1:] |= self._last_before[1:] < self._last_before[:-1]
        if wrong.any():
            at = int(wrong.argmax())
            raise ValueError(
                f"{path}: expected 'image_raw_event_inds' to rise within -1 .. {len(self._events) - 1}, "
                f"got {self._last_before[at]} at image {at}."
            )

    def _read_truth_layout(self, path: Path) -> None:
        file = self._files[1]
        self._flow = dataset(file, f"{CAMERA}/flow_dist", dimensions=4, kinds="f", path=path)
        found = dataset(file, f"{CAMERA}/flow_dist_ts", dimensions=1, kinds="f", path=path)
        expected = (len(found), 2, self.height, self.width)
        if self._flow.shape != expected or len(found) < 2:
            raise ValueError(f"{path}: expected flow_dist {list(expected)}, got shape {list(self._flow.shape)}.")
        self._flow_times = increasing(found[:], "flow_dist_ts", path)


def increasing(times: NDArray[Any], name: str, path: Path) -> NDArray[np.float64]:
    """`times` as float64; ValueError where they are no rising numbers."""
    wrong = ~np.isfinite(times)
    wrong[1:] |= ~(times[1:] > times[:-1])
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(f"{path}: expected {name!r} to rise, got {times[max(at - 1, 0) : at + 1]} at index {at}.")
    return times.astype(np.float64)
