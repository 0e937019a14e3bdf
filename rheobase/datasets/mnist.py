"""MNIST and Fashion-MNIST from their four standard idx files on this machine."""

from pathlib import Path

import torch

from rheobase.datasets.idx import check_pair, content, parse
from rheobase.datasets.layouts import Static
from rheobase.datasets.published import find, folders, published
from rheobase.datasets.sequences import Data, Sequences
from rheobase.datasets.source import require_published
from rheobase.datasets.splits import WHOLE, Split


def mnist(*, steps: int = 8, root: str | Path | None = None, verify: bool = True, split: Split = WHOLE) -> Data:
    """MNIST: 60000 + 10000 handwritten digits, shape [1, 28, 28] in [0, 1], shown for `steps` steps.

    root: the folder of the four idx files; else $RHEOBASE_DATA/mnist, data/mnist, ~/.cache/rheobase/mnist.
    verify: refuse files whose content is not that of the published set.
    """
    return idx_data("mnist", root, verify, steps, split)


def fashion_mnist(*, steps: int = 8, root: str | Path | None = None, verify: bool = True, split: Split = WHOLE) -> Data:
    """Fashion-MNIST: 60000 + 10000 images of clothes, shape [1, 28, 28] in [0, 1], shown for `steps` steps.

    root: the folder of the four idx files; else $RHEOBASE_DATA/fashion-mnist, then the place of Debian's
        package dataset-fashion-mnist, data/fashion-mnist, ~/.cache/rheobase/fashion-mnist.
    verify: refuse files whose content is not that of the published set.
    """
    return idx_data("fashion-mnist", root, verify, steps, split)


def idx_data(name: str, root: str | Path | None, verify: bool, steps: int, split: Split) -> Data:
    """The data set in the four idx files of the set called `name`.

    Raises FileNotFoundError saying where to get missing files, ValueError for a damaged file.
    """
    layout, places = Static(steps), folders(name, root)
    train, test = (read_part(name, part, places, verify, layout) for part in ("train", "t10k"))
    return split.divide(name, train, test)


def read_part(name: str, part: str, places: list[Path], verify: bool, layout: Static) -> Sequences:
    """The images and labels of one published part, images as float32 in [0, 1]."""
    known = {file.path: file for file in published(name).files}
    names = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    where = find(name, names[0], places), find(name, names[1], places)
    arrays = []
    for path, file, dimensions in zip(where, names, (3, 1), strict=True):
        data = content(path)
        arrays.append(parse(data, path, dimensions=dimensions))
        if verify:
            require_published(data, path, known[file])
    images, labels = arrays
    check_pair(images, labels, where, classes=10)
    return Sequences(images.unsqueeze(1).to(torch.float32).div_(255), labels.to(torch.int64), layout, 10)
