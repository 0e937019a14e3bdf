"""MVSEC: events, grey images and true optical flow from a car and a drone."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rheobase.datasets.event_frames import FRAMINGS, found, require_positive
from rheobase.datasets.flow_sequences import CHANNELS, FlowData, FlowSequences
from rheobase.datasets.published import missing
from rheobase.datasets.samples import Samples
from rheobase.datasets.splits import WHOLE, Split
from rheobase.events import MvsecFile
from rheobase.metrics import ENDPOINT_ERROR, FLOW_LOSS
from rheobase.names import choose

NAME = "mvsec"
SCENES = ("outdoor_day1", "outdoor_day2", "indoor_flying1", "indoor_flying2", "indoor_flying3")


def mvsec(
    *,
    train: str = "outdoor_day2",
    test: str = "outdoor_day1",
    steps: int = 10,
    root: str | Path | None = None,
    size: int = 256,
    gap: int = 1,
    framing: Literal["count", "time"] = "count",
    sort: bool = False,
    split: Split = WHOLE,
) -> FlowData:
    """MVSEC: optical flow between grey images from the events between them, step shape [2, 256, 256].

    train, test: one of outdoor_day1, outdoor_day2, indoor_flying1, indoor_flying2, indoor_flying3. The train part's
        flow is taken for unknown: it is learned from the images.
    root: the folder of `NAME_data.hdf5` and, for the test, `NAME_gt.hdf5`; else the usual places.
    size: height and width of the middle of the picture that is cut out, at most 260.
    gap: images from the one before to the one after; the papers report 1 and 4.
    framing: T frames of as many events each, or of equal duration.
    sort: puts events into the order of their times; without it a file out of order is refused.
    split: validation is one piece of the train recording, at a place drawn from `seed`, as neighbours look alike;
        limits keep samples at random over the recording, in the order of time.

    The test part has the images whose flow is known all the time until the next. Nothing is turned, flipped or scaled.
    Events and images are read from the files for each batch and not kept: all frames of outdoor_day2 would take 38 GB.
    A model is chosen by its loss on the validation part, whose flow is not known, and tested by its endpoint error.
    """
    require_positive(steps=steps, size=size, gap=gap)
    choose("framing", framing, FRAMINGS)
    for scene in (train, test):
        choose("MVSEC scene", scene, dict.fromkeys(SCENES))
    if train == test:
        raise ValueError(f"Expected two scenes to train and to test with, got {train!r} for both.")
    form = Form(steps, size, gap, framing, sort)
    learned = recording(found(NAME, f"{train}_data.hdf5", root), train, form, with_truth=False)
    tested = recording(found(NAME, f"{test}_gt.hdf5", root), test, form, with_truth=True)
    rest, held_out = piece(len(learned), split, gap)
    few = split.evaluation_limit
    return FlowData(
        NAME,
        train=learned.select(some(rest, split.limit, split.seed)),
        validation=learned.select(some(held_out, few and min(few, len(held_out)), 0)),
        test=tested.select(some(torch.arange(len(tested)), few and min(few, len(tested)), 0)),
    )


@dataclass(frozen=True)
class Form:
    """How samples are made of a recording; see `mvsec`."""

    steps: int
    size: int
    gap: int
    framing: str
    sort: bool


@dataclass(frozen=True, eq=False)
class Pairs:
    """Images of a recording, `first`, each with the one `gap` images later; the true flow where `truth` is given."""

    data: Path
    truth: Path | None
    first: Tensor = field(repr=False)
    form: Form

    def digest(self, of: str) -> str:
        """Of what is made of them, by the files' names and sizes."""
        sources = [(path.name, path.stat().st_size) for path in (self.data, self.truth) if path]
        told = json.dumps([of, sources, asdict(self.form), self.first.tolist()])
        return hashlib.sha256(told.encode()).hexdigest()


class Frames(Samples):
    """Counts `[M, T, 2, size, size]` of the events between the images of each pair."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.shape = len(pairs.first), pairs.form.steps, 2, pairs.form.size, pairs.form.size
        self.dtype = torch.int32

    def read(self, indices: Tensor) -> Tensor:
        form, count = self.pairs.form, FRAMINGS[self.pairs.form.framing]
        with MvsecFile(self.pairs.data, sort=form.sort) as file:
            counts = [
                middle(count(file.events(first, first + form.gap), form.steps), form.size)
                for first in self.pairs.first[indices].tolist()
            ]
        return torch.from_numpy(np.stack(counts))

    def digest(self) -> str:
        return self.pairs.digest("frames")


class Targets(Samples):
    """The images of each pair, the true flow, and where it is known: `[M, 5, size, size]`."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.shape = len(pairs.first), CHANNELS, pairs.form.size, pairs.form.size
        self.dtype = torch.float32

    def read(self, indices: Tensor) -> Tensor:
        with MvsecFile(self.pairs.data, self.pairs.truth) as file:
            targets = [self._target(file, first) for first in self.pairs.first[indices].tolist()]
        return torch.from_numpy(np.stack(targets))

    def digest(self) -> str:
        return self.pairs.digest("targets")

    def _target(self, file: MvsecFile, first: int) -> NDArray[np.float32]:
        last = first + self.pairs.form.gap
        target = np.zeros((CHANNELS, file.height, file.width), np.float32)
        target[0], target[1] = file.image(first), file.image(last)
        target[:2] /= 255
        if self.pairs.truth is not None:
            target[2:4], target[4] = file.flow(first, last)
        return middle(target, self.pairs.form.size)


def recording(folder: Path, scene: str, form: Form, *, with_truth: bool) -> FlowSequences:
    """All samples of a scene, those whose flow is known where the truth is wanted."""
    data, truth = folder / f"{scene}_data.hdf5", folder / f"{scene}_gt.hdf5" if with_truth else None
    if not data.is_file():
        raise missing(NAME, data.name, [folder])
    with MvsecFile(data, truth) as file:
        if form.size > min(file.height, file.width):
            raise ValueError(f"Expected a size up to {min(file.height, file.width)}, got {form.size}.")
        every = range(len(file) - form.gap)
        first = [index for index in every if truth is None or file.has_flow(index, index + form.gap)]
    if not first:
        raise ValueError(f"{truth or data}: no two images {form.gap} apart{' whose flow is known' if truth else ''}.")
    pairs = Pairs(data, truth, torch.tensor(first), form)
    return FlowSequences(Frames(pairs), Targets(pairs), metric=ENDPOINT_ERROR if truth else FLOW_LOSS)


def piece(samples: int, split: Split, gap: int) -> tuple[Tensor, Tensor]:
    """The train samples and the validation samples, in the order of time: no event is in both."""
    held_out = round(split.validation * samples)
    generator = torch.Generator().manual_seed(split.seed)
    start = int(torch.randint(samples - held_out + 1, (), generator=generator)) if held_out < samples else 0
    order = torch.arange(samples)
    rest = order[(order <= start - gap) | (order >= start + held_out + gap - 1)]
    if not held_out or not len(rest):
        raise ValueError(f"A validation share of {split.validation} of {samples} train samples leaves an empty part.")
    return rest, order[start : start + held_out]


def some(samples: Tensor, limit: int | None, seed: int) -> Tensor:
    """`limit` of the samples, drawn by a seed, in their order; all where it is None."""
    if limit is None:
        return samples
    if limit > len(samples):
        raise ValueError(f"Expected limit up to {len(samples)}, the train samples of {NAME!r}, got {limit}.")
    drawn = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))[:limit]
    return samples[drawn.sort().values]


def middle(pictures: NDArray[Any], size: int) -> NDArray[Any]:
    """The middle `[..., size, size]` of pictures `[..., H, W]`."""
    top, left = ((side - size) // 2 for side in pictures.shape[-2:])
    return pictures[..., top : top + size, left : left + size]
