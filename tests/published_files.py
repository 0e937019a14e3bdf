"""Small files of every published data set that recipes use, in the exact formats."""

from pathlib import Path

import numpy as np
from datasets.writers import write_cifar10, write_cifar100, write_imagenet
from events.writers import (
    recording,
    write_aedat2,
    write_aedat3,
    write_bin,
    write_gesture_labels,
    write_mvsec,
    write_spoken,
)

from rheobase.datasets.cifar10_dvs import CLASSES


def write_published(root: Path) -> None:
    """A folder for each data set in `root`, for $RHEOBASE_DATA."""
    write_cifar10(root / "cifar10", 20)
    write_cifar100(root / "cifar100", 200, 100)
    write_imagenet(root / "imagenet", per_class=20)
    write_cifar10_dvs(root / "cifar10-dvs")
    write_gesture(root / "dvs128-gesture")
    write_caltech(root / "n-caltech101")
    write_shd(root / "shd")
    write_scenes(root / "mvsec")


def write_cifar10_dvs(folder: Path, per_class: int = 12) -> None:
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(per_class):
            events = recording(100 * label + index, 20_000)
            write_aedat2(folder / name / f"cifar10_{name}_{index}.aedat", events)


def write_gesture(folder: Path) -> None:
    folder.mkdir(parents=True)
    parts = {"train": [f"user0{i}_led" for i in range(1, 4)], "test": ["user24_led"]}
    for part, names in parts.items():
        for seed, name in enumerate(names):
            write_aedat3(folder / f"{name}.aedat", recording([seed, len(part)], 60_000, start=0, stop=18_000_000))
            rows = [(label + 1, label * 1_600_000, (label + 1) * 1_600_000) for label in range(11)]
            write_gesture_labels(folder / f"{name}_labels.csv", rows)
        (folder / f"trials_to_{part}.txt").write_text("".join(f"{name}.aedat\n" for name in names))


def write_caltech(root: Path, per_class: int = 12) -> None:
    for label, name in enumerate(("accordion", "airplanes", "anchor")):
        folder = root / "Caltech101" / name
        folder.mkdir(parents=True)
        for index in range(per_class):
            events = recording([label, index], 8_000, height=180, width=240, start=5000)
            write_bin(folder / f"image_{index + 1:04d}.bin", events)


def write_scenes(folder: Path, size: int = 36, images: int = 24) -> None:
    """A pattern of waves that moves right by a pixel an image, and events that know nothing of it."""
    folder.mkdir(parents=True)
    times = 5.0 + 0.02 * np.arange(images)
    for seed, name in enumerate(("outdoor_day2", "outdoor_day1", "indoor_flying1", "indoor_flying2", "indoor_flying3")):
        y, x = np.mgrid[:size, :size]
        moved = x - np.arange(images)[:, None, None]
        pictures = (128 + 100 * np.sin(2 * np.pi * moved / 12) * np.cos(2 * np.pi * y / 16)).astype(np.uint8)
        events = recording(seed, 20_000, height=size, width=size, start=5_000_000, stop=5_000_000 + 20_000 * images)
        flows = np.zeros((images, 2, size, size))
        flows[:, 0] = 1.0
        write_mvsec(folder, name, events, pictures, times, flows, times)


def write_shd(folder: Path) -> None:
    folder.mkdir(parents=True)
    for part, count in (("train", 60), ("test", 20)):
        rng = np.random.default_rng(len(part))
        times = [np.sort(rng.uniform(0, 1, 6000)) for _ in range(count)]
        write_spoken(
            folder / f"shd_{part}.h5", times, [rng.integers(0, 700, 6000) for _ in times], np.arange(count) % 20
        )
