"""ImageNet, or any set in its form: a folder for each part, in it a folder of images for each class."""

import os
from dataclasses import replace
from pathlib import Path

import torch

from rheobase.datasets.layouts import Layout, Static
from rheobase.datasets.photographs import Photographs, require_pillow
from rheobase.datasets.published import folders, missing
from rheobase.datasets.samples import Chosen, Samples
from rheobase.datasets.sequences import Data, Sequences
from rheobase.datasets.splits import Split
from rheobase.datasets.views import Centre, RandomView, View
from rheobase.transforms import Normalise, Scale

SUFFIXES = (".jpeg", ".jpg", ".png")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ONE_PERCENT = Split(validation=0.01)


def imagenet(
    *,
    steps: int = 4,
    root: str | Path | None = None,
    size: int = 224,
    augment: bool = True,
    split: Split = ONE_PERCENT,
) -> Data:
    """ImageNet-1k: 1281167 + 50000 photographs of 1000 classes, shape [3, 224, 224] normalised, for `steps` steps.

    Files are decoded when a batch wants them, and the list of them is made on each call. The test part is val/,
    the validation part is held out of train/ (1 % by default). A folder with other classes works alike; classes
    are numbered in the order of their folders' names.

    root: the folder of train/CLASS/*.JPEG and val/CLASS/*.JPEG; else $RHEOBASE_DATA/imagenet, data/imagenet,
        ~/.cache/rheobase/imagenet.
    size: height and width, pixels. The middle is seen, of images scaled to size * 256 / 224.
    augment: the train part shows a random part of each image, scaled to `size`, or its mirror image; drawn from
        torch's own generator, see `Photographs`.

    Raises FileNotFoundError saying where to get it, ValueError where the two folders do not have the same classes
    or, when it is read, for a damaged file.
    """
    if size < 1:
        raise ValueError(f"Expected size of at least 1, got {size}.")
    require_pillow()
    place = located(folders("imagenet", root))
    classes = class_names(place / "train")
    require_same(classes, class_names(place / "val"), place)
    train, test = (part_of(place / part, classes, Centre(size), Static(steps)) for part in ("train", "val"))
    data = split.divide("imagenet", train, test)
    if augment:
        data = replace(data, train=replace(data.train, samples=seen(data.train.samples, RandomView(size))))
    return data.transformed(every=(Scale(), Normalise(MEAN, DEVIATION)))


def located(places: list[Path]) -> Path:
    """The first folder with train/ and val/ in it."""
    for place in places:
        if (place / "train").is_dir() and (place / "val").is_dir():
            return place
    raise missing("imagenet", "train/CLASS/*.JPEG with val/CLASS/*.JPEG", places)


def class_names(folder: Path) -> list[str]:
    """The names of the folders in `folder`, sorted. ValueError where there are fewer than two."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise ValueError(
            f"{folder}: expected a folder for each of at least two classes, found {len(names)}. "
            "ImageNet's archives are to be unpacked and the images of val sorted into folders named as train's."
        )
    return names


def require_same(train: list[str], test: list[str], place: Path) -> None:
    """Raises ValueError naming the classes that only one of the parts has."""
    for have, lack, part in ((train, test, "val"), (test, train, "train")):
        absent = sorted(set(have) - set(lack))
        if absent:
            raise ValueError(
                f"{place / part}: {len(absent)} of {len(set(train) | set(test))} classes have no folder there: "
                f"{', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}."
            )


def part_of(folder: Path, classes: list[str], view: View, layout: Layout) -> Sequences:
    """The images below `folder`, class by class, each class in the order of the files' names."""
    names: list[str] = []
    counts: list[int] = []
    for label in classes:
        files = sorted(e.name for e in os.scandir(folder / label) if e.name.lower().endswith(SUFFIXES))
        if not files:
            raise ValueError(f"{folder / label}: expected images ({', '.join(SUFFIXES)}), found none.")
        names += [f"{label}/{file}" for file in files]
        counts.append(len(files))
    targets = torch.arange(len(classes)).repeat_interleave(torch.tensor(counts))
    return Sequences(Photographs(folder, names, view), targets, layout, len(classes))


def seen(samples: Samples | torch.Tensor, view: View) -> Samples:
    """The chosen photographs under another view."""
    assert isinstance(samples, Chosen)
    assert isinstance(samples.source, Photographs)
    return replace(samples, source=replace(samples.source, view=view))
