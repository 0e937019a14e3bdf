"""N-MNIST: MNIST's digits as an event camera saw them in three saccades."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rheobase.datasets.event_frames import FRAMINGS, found, recordings, require_positive, require_published
from rheobase.datasets.layouts import Stored
from rheobase.datasets.sequences import Data, Sequences
from rheobase.datasets.splits import WHOLE, Split
from rheobase.events import read_bin
from rheobase.names import choose

NAME = "n-mnist"
CLASSES = 10
SIDE = 34
PUBLISHED = {"Train": 60000, "Test": 10000}


def n_mnist(
    *,
    steps: int = 12,
    root: str | Path | None = None,
    framing: Literal["time", "count"] = "time",
    sort: bool = False,
    verify: bool = True,
    split: Split = WHOLE,
) -> Data:
    """N-MNIST: 60000 + 10000 recordings of digits in three saccades, 10 classes, step shape [2, 34, 34].

    root: the folder of `Train/0 ... 9/*.bin` and `Test/0 ... 9/*.bin`; else the usual places.
    framing: T frames of equal duration, each a T-th of the some 300 ms, so T = 12 has four of each saccade;
        or of as many events each.
    sort: puts events into the order of their times; without it a file out of order is refused.
    verify: refuse a set that has not the published numbers of files.

    Frames are made on first use and kept, 2312 bytes a frame. Counts are as they are; channel 0 is brighter.
    A net that does not see the order of the frames does as well: no evidence of learning in time.
    """
    require_positive(steps=steps)
    count = choose("framing", framing, FRAMINGS)
    folder = found(NAME, "Train/0/*.bin", root)

    def frames(path: Path) -> NDArray[np.int32]:
        return count(read_bin(path, height=SIDE, width=SIDE, sort=sort), steps)

    def read(part: str) -> Sequences:
        labelled = [
            (path, digit) for digit in range(CLASSES) for path in sorted((folder / part / str(digit)).glob("*.bin"))
        ]
        if verify:
            require_published(NAME, folder / part, ".bin files", len(labelled), PUBLISHED[part])
        return recordings(
            NAME, folder, labelled, frames, {"steps": steps, "framing": framing, "sort": sort},
            shape=(steps, 2, SIDE, SIDE), classes=CLASSES, layout=Stored(),
        )  # fmt: skip

    return split.divide(NAME, read("Train"), read("Test"))
