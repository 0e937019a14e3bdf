"""What was recorded for DVS128-Gesture: who made which gesture when, in the published two parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rheobase.datasets.event_frames import require_published
from rheobase.datasets.published import missing
from rheobase.events import read_gesture_labels

NAME = "dvs128-gesture"
LISTS = {"train": ("trials_to_train.txt", 98), "test": ("trials_to_test.txt", 24)}


@dataclass(frozen=True)
class Trial:
    """One gesture in a recording.

    file: the recording.
    label: class 0 .. 10.
    start, stop: microseconds on the recording's clock.
    """

    file: Path
    label: int
    start: int
    stop: int

    def windows(self, length: int) -> int:
        """How many whole windows of `length` microseconds there are, at least 1."""
        return max((self.stop - self.start) // length, 1)


def trials(folder: Path, part: str, *, repeats: bool, verify: bool) -> list[Trial]:
    """The trials of the "train" or "test" part, in the order of the list of recordings and of their labels.

    repeats: keep all trials; else of each class in a recording the last.
    verify: refuse a list that has not the published number of recordings.

    Raises FileNotFoundError for a recording without its files, ValueError for one that is listed twice.
    """
    name, published = LISTS[part]
    if not (folder / name).is_file():
        raise missing(NAME, name, [folder])
    listed = [line.strip() for line in (folder / name).read_text("utf-8").splitlines() if line.strip()]
    if verify:
        require_published(NAME, folder / name, "recordings", len(listed), published)
    if len(set(listed)) < len(listed):
        twice = next(file for file in listed if listed.count(file) > 1)
        raise ValueError(f"{folder / name}: {twice} is listed twice.")
    return [trial for file in listed for trial in of_recording(folder, file, repeats)]


def of_recording(folder: Path, file: str, repeats: bool) -> list[Trial]:
    """The trials of one recording."""
    path = folder / file
    labels = path.with_name(f"{path.stem}_labels.csv")
    for needed in (path, labels):
        if not needed.is_file():
            raise missing(NAME, needed.name, [folder])
    found = [Trial(path, kind - 1, start, stop) for kind, start, stop in read_gesture_labels(labels)]
    if repeats:
        return found
    last = {trial.label: trial for trial in found}
    return [trial for trial in found if trial is last[trial.label]]


def require_disjoint(train: Sequence[Trial], test: Sequence[Trial], folder: Path) -> None:
    """Raises ValueError where a recording is in both parts."""
    both = {trial.file.name for trial in train} & {trial.file.name for trial in test}
    if both:
        raise ValueError(f"{folder}: {sorted(both)[0]} is listed for training and for the test.")
