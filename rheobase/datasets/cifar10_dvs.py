"""CIFAR10-DVS: images of CIFAR-10, moved on a screen, as an event camera saw them."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from rheobase.datasets.event_frames import (
    FRACTION,
    FRAMINGS,
    found,
    layout_of,
    random_parts,
    recordings,
    require_positive,
    require_published,
    resized,
)
from rheobase.datasets.sequences import Data, Sequences
from rheobase.datasets.splits import WHOLE, Split
from rheobase.events import read_aedat2
from rheobase.names import choose
from rheobase.transforms import Flip, Normalise, RandomCrop, Resize, Roll, Transform, TwoChannelResize

NAME = "cifar10-dvs"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_CLASS = 1000
SIDE = 128
# of the paper's pipeline, here in the order brighter, darker
MEAN, STD = (0.1295, 0.2728), (0.1290, 0.2225)


def cifar10_dvs(
    *,
    steps: int = 10,
    root: str | Path | None = None,
    size: int = 48,
    framing: Literal["count", "time"] = "count",
    pipeline: Literal["clean", "paper"] = "clean",
    augment: Literal["none", "roll", "crop"] = "roll",
    normalise: bool = False,
    split_by: Literal["index", "random"] = "index",
    sort: bool = False,
    verify: bool = True,
    split: Split = WHOLE,
) -> Data:
    """CIFAR10-DVS: 9000 + 1000 recordings of moving images, 10 classes, step shape [2, 48, 48].

    root: the folder of the ten class folders with `cifar10_CLASS_INDEX.aedat`; else the usual places.
    size: height and width of a frame; 128 is the sensor's.
    framing: T frames of as many events each, or of equal duration.
    pipeline: "clean" resizes the counts of each channel as numbers, to the mean count of the merged pixels (bilinear,
        antialiased), in steps of 1 / 256. "paper" goes through 8-bit images of two channels, as the code of OTTT,
        SLTT, S-TLLR and rate-based backpropagation does: counts become nearly binary, and darker events survive only
        near brighter ones (`rheobase.transforms.TwoChannelResize`).
    augment: of the train part: "roll" flips half of the samples and rolls all by up to 5 pixels (rate-based
        backpropagation), "crop" pads 4 pixels and crops (OTTT, S-TLLR); one draw for all frames of a sample.
    normalise: by OTTT's mean and deviation, which are those of the paper's pipeline alone.
    split_by: "index" tests with the last tenth of each class's files by their number, as OTTT, SLTT and S-TLLR do;
        "random" with a tenth drawn by seed 42, as later code of the laboratory of rate-based backpropagation does.
    sort: puts events into the order of their times; without it a file out of order is refused.
    verify: refuse a set that has not 1000 files of each class.

    Frames are made on first use, 10 ms a file on a CPU core ("paper" 25 ms), and kept; either split uses the same.
    Channel 0 is brighter.
    """
    require_positive(steps=steps, size=size)
    count, chosen = choose("framing", framing, FRAMINGS), choose("augmentation", augment, augmentations(size))
    clean = choose("pipeline", pipeline, {"clean": True, "paper": False})
    split_parts = choose("split", split_by, {"index": index_parts, "random": random_parts})
    if normalise and clean:
        raise ValueError(
            "normalise=True has the mean and deviation of pipeline='paper': choose that, or leave normalise out."
        )
    folder = found(NAME, f"{CLASSES[0]}/*.aedat", root)
    fraction = 255 if not clean else 1 if size == SIDE else FRACTION

    def frames(path: Path) -> NDArray[np.int32]:
        counts = count(read_aedat2(path, layout="cifar10-dvs", sort=sort), steps)
        if not clean:
            return through_bytes(counts, size)
        return counts if size == SIDE else resized(counts, Resize(size, "bilinear"), fraction)

    whole = recordings(
        NAME, folder, labelled_files(folder, verify), frames,
        {"steps": steps, "size": size, "framing": framing, "pipeline": pipeline, "sort": sort},
        shape=(steps, 2, size, size), classes=len(CLASSES), layout=layout_of(fraction),
    )  # fmt: skip
    normal: tuple[Transform, ...] = (Normalise(MEAN, STD),) if normalise else ()
    return split.divide(NAME, *split_parts(whole)).transformed(train=chosen, every=normal)


def augmentations(size: int) -> dict[str, tuple[Transform, ...]]:
    """Changes of the train part by the papers."""
    return {"none": (), "roll": (Flip(0.5), Roll(5)), "crop": (RandomCrop(size, 4),)}


def labelled_files(folder: Path, verify: bool) -> list[tuple[Path, int]]:
    """The recordings and their classes, class by class in the order of the numbers in their names."""
    labelled = []
    for label, name in enumerate(CLASSES):
        files = sorted((folder / name).glob("*.aedat"), key=number)
        if verify:
            require_published(NAME, folder / name, ".aedat files", len(files), PER_CLASS)
        labelled += [(path, label) for path in files]
    return labelled


def number(path: Path) -> int:
    """The index in a name such as `cifar10_airplane_17.aedat`."""
    digits = path.stem.rpartition("_")[2]
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{path}: expected a name that ends in _INDEX.aedat, such as cifar10_airplane_17.aedat.")
    return int(digits)


def index_parts(whole: Sequences) -> tuple[Sequences, Sequences]:
    """The first nine tenths of each class for training, the last for the test."""
    members = [(whole.targets == label).nonzero().squeeze(1) for label in range(whole.classes)]
    train = torch.cat([own[: len(own) - len(own) // 10] for own in members])
    return whole.select(train), whole.select(torch.cat([own[len(own) - len(own) // 10 :] for own in members]))


def through_bytes(counts: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """Counts `[T, 2, H, W]` as the papers' code resizes them, in multiples of 1 / 255; see `TwoChannelResize`.

    There darker is channel 0, so darker events survive only near brighter ones.
    """
    return resized(counts[:, ::-1], TwoChannelResize(size), 255)[:, ::-1]
