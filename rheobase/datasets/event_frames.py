"""From the files of a published event set to cached frames: what these sets share.

Frames are made once and kept (`cached_rows`), found again by every setting and by the names and sizes of the
files they come from. A file that is exchanged for another of the same size is thus not noticed.

Where frames are made smaller, that is done before they are kept: 48 x 48 takes a seventh of 128 x 128. Frames of the
sensor's size are kept as counts, smaller ones in fixed point.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rheobase.datasets.cache import cached_rows
from rheobase.datasets.layouts import Layout, Stored
from rheobase.datasets.published import folders, missing
from rheobase.datasets.samples import Mapped
from rheobase.datasets.sequences import Sequences
from rheobase.events import Events, frames_by_count, frames_by_time, frames_by_window
from rheobase.explained import explained
from rheobase.names import choose
from rheobase.transforms import PixelTransform

FORMAT = 1
FRACTION = 256
TEST_SEED = 42
LONGEST = 10  # s

Framing = Literal["count", "time", "window"]
FRAMINGS: dict[str, Callable[[Events, int], NDArray[np.int32]]] = {"count": frames_by_count, "time": frames_by_time}


@dataclass(frozen=True)
class FixedPoint:
    """As `Stored`, of whole numbers that are multiples of 1 / fraction: resized counts in half the space.

    fraction: what the stored numbers are divided by, at least 1.
    """

    fraction: int

    def __post_init__(self) -> None:
        require_positive(fraction=self.fraction)

    def describe(self, stored: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        return Stored().describe(stored)

    def time_first(self, samples: Tensor) -> Tensor:
        return Stored().time_first(samples).div_(self.fraction)


def framed(framing: Framing, window: int | None) -> Callable[[Events, int], NDArray[np.int32]]:
    """What makes so many frames of events: of as many events each, of equal duration, or of `window` microseconds each.

    Raises ValueError for a window that has no effect, or is missing.
    """
    choose("framing", framing, dict.fromkeys((*FRAMINGS, "window")))
    if (framing == "window") != (window is not None):
        raise ValueError(f"framing='window' has a window, microseconds, the others none; got {framing!r}, {window}.")
    if window is None:
        return FRAMINGS[framing]
    require_positive(window=window)
    return lambda events, steps: frames_by_window(events, window, steps)


def layout_of(fraction: int) -> Layout:
    """The layout of frames that are stored as multiples of 1 / fraction."""
    return Stored() if fraction == 1 else FixedPoint(fraction)


def resized(frames: NDArray[np.int32], change: PixelTransform, fraction: int) -> NDArray[np.int32]:
    """What `change` makes of counts `[T, C, H, W]`, in multiples of 1 / fraction, rounded half to even."""
    xs = torch.from_numpy(np.ascontiguousarray(frames)).to(torch.float32).unsqueeze(1)
    target, unused = torch.zeros(1, dtype=torch.int64), torch.Generator()
    small, _ = change(xs, target, unused)
    whole: NDArray[np.int32] = (small.squeeze(1) * fraction).round_().to(torch.int32).numpy()
    return whole


def found(name: str, pattern: str, root: str | Path | None) -> Path:
    """The first folder for the set called `name` in which something matches `pattern`.

    Raises FileNotFoundError saying where it looked and how to get the files.
    """
    places = folders(name, root)
    for place in places:
        if next(place.glob(pattern), None) is not None:
            return place
    raise missing(name, pattern, places)


def kept(
    name: str,
    folder: Path,
    files: Sequence[Path],
    settings: Mapping[str, Any],
    build: Callable[[], Iterable[NDArray[Any]]],
    *,
    count: int,
    shape: tuple[int, ...],
) -> Mapped:
    """`cached_rows` under a key that also has the names, below `folder`, and sizes of the files."""
    key = {"format": FORMAT, "files": sizes(folder, files), **settings}
    return cached_rows(name, key, build, count=count, shape=shape)


def sizes(folder: Path, files: Sequence[Path]) -> list[tuple[str, int]]:
    """Each file's path below `folder` and its bytes."""
    return [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]


def recordings(
    name: str,
    folder: Path,
    labelled: Sequence[tuple[Path, int]],
    frames: Callable[[Path], NDArray[np.int32]],
    settings: Mapping[str, Any],
    *,
    shape: tuple[int, ...],
    classes: int,
    layout: Layout,
) -> Sequences:
    """The set, or part of one, that has one recording in each file.

    labelled: files and their classes, in the order of the samples.
    frames: makes `shape`, that of one sample, of a file.
    settings: all that `frames` depends on.
    """
    files, targets = [path for path, _ in labelled], [target for _, target in labelled]

    def build() -> Iterator[NDArray[np.int32]]:
        return map(frames, files)

    samples = kept(name, folder, files, settings, build, count=len(files), shape=shape)
    return Sequences(samples, torch.tensor(targets, dtype=torch.int64), layout, classes)


def random_parts(whole: Sequences) -> tuple[Sequences, Sequences]:
    """Nine tenths of the samples for training and a tenth for the test, drawn once and for all by seed 42."""
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(TEST_SEED))
    train = len(whole) - len(whole) // 10
    return whole.select(order[:train]), whole.select(order[train:])


def require_published(name: str, folder: Path, what: str, count: int, published: int) -> None:
    """Raises ValueError unless the set is complete: another one has another split."""
    if count != published:
        raise explained(
            ValueError(
                f"{folder}: expected the {published} {what} that {name!r} is published with, found {count}. Unpack "
                "what is missing, or pass verify=False for a set of your own."
            ),
            "data-files",
        )


def require_seconds(window: float) -> None:
    """Raises ValueError for a window as long as none of these recordings is: it is meant in another unit."""
    if window >= LONGEST:
        raise ValueError(f"Expected a window in seconds, below {LONGEST}, got {window}: 10 ms are window=0.01.")


def require_positive(**numbers: int) -> None:
    """Raises ValueError for a number that is less than 1."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"Expected {name} of at least 1, got {number}.")
