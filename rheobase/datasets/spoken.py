"""Spoken words as spikes of an artificial cochlea: Heidelberg Digits (SHD) and Speech Commands (SSC)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rheobase.datasets.cache import cached
from rheobase.datasets.event_frames import (
    FORMAT,
    found,
    kept,
    require_positive,
    require_published,
    require_seconds,
    sizes,
)
from rheobase.datasets.layouts import Stored
from rheobase.datasets.sequences import Data, Sequences
from rheobase.datasets.splits import WHOLE, Split
from rheobase.events import SpokenFile, spike_frames

CHANNELS = 700
CLASSES = {"shd": 20, "ssc": 35}
PUBLISHED = {"shd_train": 8156, "shd_test": 2264, "ssc_train": 75466, "ssc_valid": 9981, "ssc_test": 20382}


def shd(
    *,
    steps: int = 100,
    root: str | Path | None = None,
    window: float = 0.01,
    verify: bool = True,
    split: Split = WHOLE,
) -> Data:
    """Spiking Heidelberg Digits: 8156 + 2264 spoken digits in two languages, 20 classes, step shape [700].

    root: the folder of `shd_train.h5` and `shd_test.h5`; else the usual places.
    window: seconds of a step, whole microseconds; spikes after `steps` windows are left out.
    verify: refuse files that have not the published number of words.

    A step counts the spikes of each channel. Words shorter than that end in empty steps, which are steps like
    others (S-TLLR fills up to the longest word of a batch, and leaves out a word's last, incomplete window).
    Two of the test part's twelve speakers are not in the train part. Made on first use and kept, 70 kB a word.
    """
    train, test = (words("shd", part, steps, root, window, verify) for part in ("train", "test"))
    return split.divide("shd", train, test)


def ssc(
    *,
    steps: int = 100,
    root: str | Path | None = None,
    window: float = 0.01,
    verify: bool = True,
    split: Split = WHOLE,
) -> Data:
    """Spiking Speech Commands: 75466 + 9981 + 20382 spoken words, 35 classes, step shape [700].

    The validation part is the published one; so `validation`, a share held out of train, must be left alone.

    root: the folder of `ssc_train.h5`, `ssc_valid.h5` and `ssc_test.h5`; else the usual places.
    window: seconds of a step, whole microseconds; spikes after `steps` windows are left out.
    verify: refuse files that have not the published number of words.

    A step counts the spikes of each channel. Made on first use and kept: 7 GB for 100 steps.
    """
    if split.validation != WHOLE.validation:
        raise ValueError(f"'ssc' has a published validation part: leave out validation={split.validation}.")
    train, valid, test = (words("ssc", part, steps, root, window, verify) for part in ("train", "valid", "test"))
    few = split.evaluation_limit
    if few is not None and few > max(len(valid), len(test)):
        raise ValueError(
            f"Expected evaluation_limit up to {max(len(valid), len(test))}, got {few}: "
            f"'ssc' has {len(valid)} validation and {len(test)} test samples."
        )
    return Data(
        "ssc",
        train=train.take(len(train) if split.limit is None else split.limit, seed=split.seed),
        validation=valid if few is None else valid.take(min(few, len(valid)), seed=split.seed),
        test=test if few is None else test.take(min(few, len(test))),
    )


def words(name: str, part: str, steps: int, root: str | Path | None, window: float, verify: bool) -> Sequences:
    """One published part as counts `[steps, 700]`."""
    require_positive(steps=steps)
    require_seconds(window)
    file = f"{name}_{part}"
    path = found(name, f"{file}.h5", root) / f"{file}.h5"
    labels = labels_of(path)
    if verify:
        require_published(name, path, "words", len(labels), PUBLISHED[file])

    def build() -> Iterator[NDArray[np.int32]]:
        with SpokenFile(path) as spoken:
            for index in range(len(spoken)):
                times, units = spoken.spikes(index)
                yield spike_frames(times, units, window=window, steps=steps, channels=CHANNELS)

    samples = kept(
        name, path.parent, [path], {"steps": steps, "window": window}, build,
        count=len(labels), shape=(steps, CHANNELS),
    )  # fmt: skip
    return Sequences(samples, labels, Stored(), CLASSES[name])


def labels_of(path: Path) -> Tensor:
    """The class of each word, kept beside the counts so that these are found again without the file's content."""

    def build() -> Tensor:
        with SpokenFile(path) as spoken:
            return torch.from_numpy(spoken.labels)

    return cached("spoken-labels", {"format": FORMAT, "files": sizes(path.parent, [path])}, build)
