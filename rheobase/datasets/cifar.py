"""CIFAR-10 and CIFAR-100 from their standard files on this machine, the Python or the binary version."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rheobase.datasets.cifar_augmentation import Augmentation, Pipeline, augmented
from rheobase.datasets.cifar_pickle import PIXELS, read_batch
from rheobase.datasets.idx import content
from rheobase.datasets.layouts import Static
from rheobase.datasets.published import find, folders, missing, published
from rheobase.datasets.sequences import Data, Sequences
from rheobase.datasets.source import require_published
from rheobase.datasets.splits import WHOLE, Split


@dataclass(frozen=True)
class Form:
    """How one of the two sets is stored.

    classes: how many there are.
    label: the key of the labels in the Python version.
    label_bytes: before the pixels of each image in the binary version; the last is the label.
    train, test: the Python version's files; the binary version's have `.bin` added.
    """

    classes: int
    label: str
    label_bytes: int
    train: tuple[str, ...]
    test: tuple[str, ...]


FORMS = {
    "cifar10": Form(10, "labels", 1, tuple(f"data_batch_{n}" for n in range(1, 6)), ("test_batch",)),
    "cifar100": Form(100, "fine_labels", 2, ("train",), ("test",)),
}


def cifar10(
    *,
    steps: int = 6,
    root: str | Path | None = None,
    verify: bool = True,
    pipeline: Pipeline = "clean",
    augment: Augmentation = "basic",
    split: Split = WHOLE,
) -> Data:
    """CIFAR-10: 50000 + 10000 colour photographs of 10 classes, shape [3, 32, 32] normalised, for `steps` steps.

    root: the folder of the files, or of the unpacked archive; else $RHEOBASE_DATA/cifar10, data/cifar10,
        ~/.cache/rheobase/cifar10.
    verify: refuse files whose content is not that of the published set; of the binary version, for which no
        checksums are published, the sizes and the number of images of each class.
    pipeline: "paper" has the papers' known defects, see `augmented`; their numbers are not to be compared.
    augment: of the train part, see `augmented`.
    """
    return cifar("cifar10", steps, root, verify, pipeline, augment, split)


def cifar100(
    *,
    steps: int = 6,
    root: str | Path | None = None,
    verify: bool = True,
    pipeline: Pipeline = "clean",
    augment: Augmentation = "basic",
    split: Split = WHOLE,
) -> Data:
    """CIFAR-100: 50000 + 10000 colour photographs of 100 classes, shape [3, 32, 32] normalised, for `steps` steps.

    Options as for `cifar10`; the targets are the fine labels.
    """
    return cifar("cifar100", steps, root, verify, pipeline, augment, split)


def cifar(
    name: str,
    steps: int,
    root: str | Path | None,
    verify: bool,
    pipeline: Pipeline,
    augment: Augmentation,
    split: Split,
) -> Data:
    """The data set called `name`, its images as bytes in memory.

    Raises FileNotFoundError saying where to get missing files, ValueError for a damaged file.
    """
    form, layout = FORMS[name], Static(steps)
    place, suffix = located(name, form, folders(name, root))
    train, test = (
        Sequences(*read_part(name, [f"{file}{suffix}" for file in files], place, verify), layout, form.classes)
        for files in (form.train, form.test)
    )
    return augmented(name, split.divide(name, train, test), pipeline, augment)


def located(name: str, form: Form, places: list[Path]) -> tuple[Path, str]:
    """The folder of the files and what is added to their names; FileNotFoundError saying how to get them."""
    first = form.train[0]
    for place in places:
        for suffix in ("", ".bin"):
            if any((place / f"{first}{suffix}{packed}").is_file() for packed in ("", ".gz")):
                return place, suffix
    raise missing(name, f"{first} (or {first}.bin)", places)


def read_part(name: str, files: list[str], place: Path, verify: bool) -> tuple[Tensor, Tensor]:
    """The images `[M, 3, 32, 32]`, uint8, and labels `[M]`, int64, of the files of one part, in their order."""
    form, source = FORMS[name], published(name)
    known = {file.path: file for file in (*source.files, *source.instead)}
    images, labels = [], []
    for file in files:
        path = find(name, file, [place])
        data = content(path)
        if verify:
            require_published(data, path, known[file])
        pixels, numbers = read_records(data, path, form) if file.endswith(".bin") else read_pickle(data, path, form)
        check_range(numbers, path, form.classes)
        images.append(pixels)
        labels.append(numbers)
    targets = torch.from_numpy(np.concatenate(labels))
    if verify:
        require_balance(targets, place, form.classes)
    return torch.from_numpy(np.concatenate(images)).view(-1, 3, 32, 32), targets


def read_pickle(data: bytes, path: Path, form: Form) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = read_batch(data, path, form.label)
    try:
        return pixels, np.array(labels, np.int64)
    except OverflowError as error:
        raise ValueError(f"{path}: a label is far outside 0 .. {form.classes - 1}.") from error


def read_records(data: bytes, path: Path, form: Form) -> tuple[np.ndarray, np.ndarray]:
    """The pixels `[n, 3072]` and labels `[n]` in the bytes of a file of the binary version."""
    record = form.label_bytes + PIXELS
    if not data or len(data) % record:
        raise ValueError(
            f"{path}: expected records of {record} bytes, got {len(data)} bytes: "
            f"it ends {len(data) % record} bytes into record {len(data) // record}."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    return records[:, form.label_bytes :], records[:, form.label_bytes - 1].astype(np.int64)


def check_range(labels: np.ndarray, path: Path, classes: int) -> None:
    """Raises ValueError naming the first label outside 0 .. classes - 1."""
    wrong = ((labels < 0) | (labels >= classes)).nonzero()[0]
    if len(wrong):
        raise ValueError(f"{path}: expected labels in 0 .. {classes - 1}, got {labels[wrong[0]]} for image {wrong[0]}.")


def require_balance(targets: Tensor, place: Path, classes: int) -> None:
    """Raises ValueError unless each class has as many images, as in the published parts."""
    counts = targets.bincount(minlength=classes)
    if counts.min() != counts.max():
        raise ValueError(
            f"{place}: not the published set: expected {len(targets) // classes} images of each class, got "
            f"{int(counts.min())} to {int(counts.max())}. Fetch it again, or pass verify=False for a set of your own."
        )
