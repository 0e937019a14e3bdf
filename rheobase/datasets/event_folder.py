"""Recordings of one's own: a folder of event files for each class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rheobase.datasets.event_frames import TEST_SEED, Framing, framed, recordings, require_positive
from rheobase.datasets.layouts import Stored
from rheobase.datasets.sequences import Data, Sequences, stratified_order
from rheobase.datasets.splits import WHOLE, Split
from rheobase.events import Events, read_events
from rheobase.explained import explained

NAME = "event-folder"


def event_folder(
    *,
    root: str | Path,
    height: int,
    width: int,
    steps: int = 10,
    framing: Framing = "time",
    window: int | None = None,
    merge: int = 1,
    sort: bool = False,
    split: Split = WHOLE,
) -> Data:
    """Your own recordings: a folder of event files for each class, in train/ and test/ or in one folder.

    root: the folder of `train/CLASS/FILE` and `test/CLASS/FILE`, or of `CLASS/FILE`, of which a tenth is then drawn
        for the test, from each class its share. Files as `rheobase.events.read_events` takes them, each one sample.
    height, width: of the sensor, pixels.
    framing: T frames of equal duration from a recording's first event to its last ("time"), of as many events each
        ("count"), or of `window` microseconds from its first event on, what comes later being left out ("window").
    merge: so many pixels by so many become one, their counts added up: 640 x 480 pixels by 8 are frames of 80 x 60.
    sort: puts events into the order of their times; without it a file out of order is refused.

    Classes are numbered in the order of their folders' names. Step shape [2, height, width], channel 0 brighter.
    Frames are made on first use and kept, until a file changes.
    """
    require_positive(height=height, width=width, steps=steps, merge=merge)
    frames_of, folder = framed(framing, window), Path(root).expanduser()
    parts = parts_of(folder)
    classes = sorted(path.name for path in folders_in(parts[0]))
    for part in parts[1:]:
        if (others := sorted(path.name for path in folders_in(part))) != classes:
            raise refusal(part, f"expected the classes of {parts[0]}, {', '.join(classes)}, got {', '.join(others)}")

    def frames(path: Path) -> NDArray[np.int32]:
        return frames_of(merged(read_events(path, height=height, width=width, sort=sort), merge), steps)

    def read(part: Path) -> Sequences:
        files = [(path, number) for number, name in enumerate(classes) for path in files_in(part / name)]
        settings = {
            "steps": steps, "sensor": [height, width], "framing": framing, "window": window, "merge": merge,
            "sort": sort, "changed": [path.stat().st_mtime_ns for path, _ in files],
        }  # fmt: skip
        shape = (steps, 2, -(-height // merge), -(-width // merge))
        return recordings(NAME, folder, files, frames, settings, shape=shape, classes=len(classes), layout=Stored())

    if len(parts) == 2:
        return split.divide(NAME, read(parts[0]), read(parts[1]))
    whole = read(parts[0])
    order = stratified_order(whole.targets, TEST_SEED)
    tenth = max(1, round(len(whole) / 10))
    return split.divide(NAME, whole.select(order[tenth:]), whole.select(order[:tenth]))


def parts_of(folder: Path) -> list[Path]:
    """The folders of the train and the test part, or the one that holds both."""
    if not folder.is_dir():
        raise explained(
            FileNotFoundError(f"No folder {folder.absolute()}: root= is that of your recordings."), "data-files"
        )
    inner = {path.name.lower(): path for path in folders_in(folder)}
    if not inner:
        raise refusal(folder, "expected a folder for each class in it, or train/ and test/ with such folders, got none")
    if inner.keys() == {"train", "test"}:
        return [inner["train"], inner["test"]]
    if {"train", "test"} & inner.keys():
        raise refusal(folder, f"expected train/ and test/ and nothing beside them, got {', '.join(sorted(inner))}")
    return [folder]


def folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def files_in(folder: Path) -> list[Path]:
    """The recordings of a class, sorted by name; hidden files are none."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if not files:
        raise refusal(folder, "expected at least one recording of this class, got none")
    return files


def refusal(folder: Path, what: str) -> ValueError:
    return explained(ValueError(f"{folder}: {what}."), "data-files")


def merged(events: Events, by: int) -> Events:
    """The events of a sensor with larger pixels."""
    height, width = -(-events.height // by), -(-events.width // by)
    return Events(events.t, events.x // by, events.y // by, events.p, height, width)
