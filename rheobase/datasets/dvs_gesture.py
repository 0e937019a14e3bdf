"""DVS128-Gesture: hand and arm gestures before an event camera."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from rheobase.datasets.event_frames import FRACTION, found, kept, layout_of, require_positive, resized
from rheobase.datasets.gesture_trials import NAME, Trial, require_disjoint, trials
from rheobase.datasets.layouts import Static
from rheobase.datasets.samples import in_memory
from rheobase.datasets.sequences import Data, Sequences
from rheobase.datasets.splits import WHOLE, Split
from rheobase.events import Events, frames_by_count, frames_by_window, read_aedat3
from rheobase.names import choose
from rheobase.transforms import RandomCrop, Resize, Transform

CLASSES = 11
SIDE = 128
WINDOW = 75_000


def dvs_gesture(
    *,
    steps: int = 20,
    root: str | Path | None = None,
    size: int = SIDE,
    framing: Literal["count", "window"] = "count",
    pipeline: Literal["clean", "paper"] = "clean",
    augment: Literal["none", "crop"] = "none",
    repeats: bool = True,
    sort: bool = False,
    verify: bool = True,
    split: Split = WHOLE,
) -> Data:
    """DVS128-Gesture: 1176 + 288 recordings of gestures, 11 classes, step shape [2, 128, 128].

    root: the folder with `trials_to_train.txt`, `trials_to_test.txt`, the .aedat files and their `_labels.csv`;
        else the usual places.
    size: height and width of a frame; 128 is the sensor's.
    framing: "count" makes of each gesture T frames of as many events each (SLTT, OTTT); "window" cuts it into
        slices of T frames of 75 ms, each a sample, and leaves out an incomplete last one (S-TLLR with size=32,
        augment="crop", repeats=False).
    pipeline: "clean" keeps fractions of counts where it resizes, and tests by slices too. "paper" rounds resized
        counts to whole numbers, so that most become 0, and with "window" tests by whole gestures, as S-TLLR does:
        in frames of 75 ms, followed by empty ones up to the longest (there are none after it in S-TLLR, which
        tests one by one).
    augment: of the train part: "crop" pads size / 8 pixels and crops, all frames of a sample alike (S-TLLR: 4).
    repeats: where a recording has a class twice, as mostly of class 8, keep both, as SpikingJelly does; False
        keeps the last, which leaves 11 for a recording, about tonic's 1077 + 264 (of which we know only the
        number).
    sort: puts events into the order of their times; without it a file out of order is refused.
    verify: refuse lists that have not the published 98 and 24 recordings.

    The test part has other persons than the train part. Validation is held out of train gesture by gesture: no
    gesture has slices in both, but persons are in both. `limit` and `evaluation_limit` count gestures.

    Frames are made on first use, and kept. Channel 0 is brighter. Times are those of the labels, so a slice begins
    with the label's start (in S-TLLR with the first event after it), and slices follow each other at once (there every
    1.575 s for 20 frames, which leaves 75 ms out).
    """
    require_positive(steps=steps, size=size)
    slices = choose("framing", framing, {"window": True, "count": False})
    clean = choose("pipeline", pipeline, {"clean": True, "paper": False})
    crop: tuple[Transform, ...] = choose("augmentation", augment, {"none": (), "crop": (RandomCrop(size, size // 8),)})
    if not clean and not slices and size == SIDE:
        raise ValueError(
            "framing='count' at size=128 has no defect in the papers: pipeline='paper' is the clean one, leave it out."
        )
    form = Form(steps, size, slices, 1 if size == SIDE or not clean else FRACTION, sort)
    folder = found(NAME, "trials_to_train.txt", root)
    published = {part: trials(folder, part, repeats=repeats, verify=verify) for part in ("train", "test")}
    require_disjoint(published["train"], published["test"], folder)
    forms = {"train": form, "test": form if clean or not slices else whole(form, published["test"])}
    rows = {part: of_trials(folder, published[part], forms[part]) for part in published}

    def expanded(which: str, part: Sequences) -> Sequences:
        of, owner = rows["test" if which == "test" else "train"]
        chosen = torch.cat([(owner == trial).nonzero().squeeze(1) for trial in in_memory(part.samples)])
        return of.select(chosen)

    numbered = (of_numbers(published[part]) for part in ("train", "test"))
    return split.divide(NAME, *numbered).each(NAME, expanded).transformed(train=crop)


@dataclass(frozen=True)
class Form:
    """What frames are made of a trial.

    slices: samples of `steps` windows each; else one sample of frames of as many events each.
    """

    steps: int
    size: int
    slices: bool
    fraction: int
    sort: bool

    def samples(self, trial: Trial) -> int:
        """How many samples there are of a trial."""
        return trial.windows(self.steps * WINDOW) if self.slices else 1

    def end(self, trial: Trial) -> int:
        """Microseconds up to which events count: an incomplete last window is left out."""
        return min(trial.stop, trial.start + trial.windows(WINDOW) * WINDOW) if self.slices else trial.stop

    def frames(self, events: Events, trial: Trial) -> Iterator[NDArray[np.int32]]:
        """The samples `[T, 2, size, size]` of a trial, from the events of its recording."""
        seen = events.between(trial.start, self.end(trial))
        if not len(seen):
            raise ValueError(f"{trial.file}: no events of the gesture from {trial.start} to {trial.stop} us.")
        for number in range(self.samples(trial)):
            if self.slices:
                start = trial.start + number * self.steps * WINDOW
                counts = frames_by_window(seen, WINDOW, self.steps, start)
            else:
                counts = frames_by_count(seen, self.steps)
            yield counts if self.size == SIDE else resized(counts, Resize(self.size, "bilinear"), self.fraction)


def whole(form: Form, of: Sequence[Trial]) -> Form:
    """The form in which every trial is one sample of windows, as many as the longest has."""
    return Form(max(trial.windows(WINDOW) for trial in of), form.size, True, form.fraction, form.sort)


def of_trials(folder: Path, of: Sequence[Trial], form: Form) -> tuple[Sequences, torch.Tensor]:
    """All samples of the trials, and for each of them the number of its trial, `[M]`."""
    files = list(dict.fromkeys(trial.file for trial in of))
    owner = torch.tensor([number for number, trial in enumerate(of) for _ in range(form.samples(trial))])
    targets = torch.tensor([trial.label for trial in of])[owner]

    def build() -> Iterator[NDArray[np.int32]]:
        for file in files:
            events = read_aedat3(file, sort=form.sort)
            for trial in of:
                if trial.file == file:
                    yield from form.frames(events, trial)

    spans = [[trial.file.name, trial.label, trial.start, trial.stop] for trial in of]
    samples = kept(
        NAME, folder, files, {"form": astuple(form), "trials": spans}, build,
        count=len(owner), shape=(form.steps, 2, form.size, form.size),
    )  # fmt: skip
    return Sequences(samples, targets, layout_of(form.fraction), CLASSES), owner


def of_numbers(of: Sequence[Trial]) -> Sequences:
    """The trials as samples that are their own numbers, to be divided before they are cut into slices."""
    targets = torch.tensor([trial.label for trial in of])
    return Sequences(torch.arange(len(of)), targets, Static(1), CLASSES)
