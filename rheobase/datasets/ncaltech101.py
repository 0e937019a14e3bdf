"""N-Caltech101: Caltech101's images as an event camera saw them in three saccades."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rheobase.datasets.event_frames import (
    FRACTION,
    found,
    layout_of,
    random_parts,
    recordings,
    require_positive,
    require_published,
    require_seconds,
    resized,
)
from rheobase.datasets.sequences import Data
from rheobase.datasets.splits import WHOLE, Split
from rheobase.events import frames_by_window, read_bin
from rheobase.transforms import Resize

NAME = "n-caltech101"
HEIGHT, WIDTH = 180, 240
PUBLISHED_CLASSES, PUBLISHED_FILES = 101, 8709


def n_caltech101(
    *,
    steps: int = 10,
    root: str | Path | None = None,
    height: int = 45,
    width: int = 60,
    window: float = 0.03,
    sort: bool = False,
    verify: bool = True,
    split: Split = WHOLE,
) -> Data:
    """N-Caltech101: 7839 + 870 recordings of images in three saccades, 101 classes, step shape [2, 45, 60].

    root: the folder of the class folders with `image_NNNN.bin`; else the usual places.
    height, width: of a frame; 180 and 240 are those of the largest recording.
    window: seconds of a frame, the first beginning with the first event; what comes later is left out.
    sort: puts events into the order of their times; without it a file out of order is refused.
    verify: refuse a set that has not the 8709 files of 101 classes.

    Classes are the folders in the order of their names. BACKGROUND_Google is one of them: the set has 100
    objects and the background (Faces was left out of Caltech101's 102), and the papers count 101. It has no
    published test part: a tenth is drawn by seed 42, as in S-TLLR, from files sorted by name.

    Frames are made on first use and kept: the mean counts of merged pixels (bilinear, antialiased) in steps of
    1 / 256. Channel 0 is brighter.
    """
    require_positive(steps=steps, height=height, width=width)
    duration = round(window * 1e6)
    if duration < 1:
        raise ValueError(f"Expected a window of at least 1e-6 s, got {window} s.")
    require_seconds(window)
    folder = found(NAME, "*/*.bin", root)
    fraction = 1 if (height, width) == (HEIGHT, WIDTH) else FRACTION
    labels = sorted({path.parent.name for path in folder.glob("*/*.bin")})
    labelled = [
        (path, label) for label, name in enumerate(labels) for path in sorted((folder / name).glob("*.bin"))
    ]  # fmt: skip
    if verify:
        require_published(NAME, folder, "class folders", len(labels), PUBLISHED_CLASSES)
        require_published(NAME, folder, ".bin files", len(labelled), PUBLISHED_FILES)

    def frames(path: Path) -> NDArray[np.int32]:
        events = read_bin(path, height=HEIGHT, width=WIDTH, sort=sort)
        counts = frames_by_window(events, duration, steps)
        return counts if fraction == 1 else resized(counts, Resize((height, width), "bilinear"), fraction)

    whole = recordings(
        NAME, folder, labelled, frames,
        {"steps": steps, "size": [height, width], "window": duration, "sort": sort},
        shape=(steps, 2, height, width), classes=len(labels), layout=layout_of(fraction),
    )  # fmt: skip
    return split.divide(NAME, *random_parts(whole))
