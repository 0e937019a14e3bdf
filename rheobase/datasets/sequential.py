"""Images read a row or a pixel at a time: long sequences from any image set."""

from dataclasses import replace

from rheobase.datasets.images import images
from rheobase.datasets.layouts import Pixels, Rows
from rheobase.datasets.sequences import Data
from rheobase.datasets.splits import WHOLE, Split


def row_sequential(data: Data) -> Data:
    """The images of `data`, `[C, H, W]`, one row a step: T = H, step shape [C * W]."""
    return data.each(f"row-{data.name}", lambda _, part: replace(part, layout=Rows()))


def pixel_sequential(data: Data) -> Data:
    """The images of `data`, `[C, H, W]`, one pixel a step: T = H * W, step shape [C]."""
    return data.each(f"pixel-{data.name}", lambda _, part: replace(part, layout=Pixels()))


def row_digits(*, split: Split = WHOLE) -> Data:
    """Digits a row a step: T = 8, step shape [8]."""
    return row_sequential(images("digits", split))


def pixel_digits(*, split: Split = WHOLE) -> Data:
    """Digits a pixel a step: T = 64, step shape [1]."""
    return pixel_sequential(images("digits", split))


def row_mnist(*, split: Split = WHOLE) -> Data:
    """MNIST a row a step: T = 28, step shape [28]."""
    return row_sequential(images("mnist", split))


def pixel_mnist(*, split: Split = WHOLE) -> Data:
    """MNIST a pixel a step: T = 784, step shape [1]."""
    return pixel_sequential(images("mnist", split))


def row_fashion_mnist(*, split: Split = WHOLE) -> Data:
    """Fashion-MNIST a row a step: T = 28, step shape [28]."""
    return row_sequential(images("fashion-mnist", split))


def pixel_fashion_mnist(*, split: Split = WHOLE) -> Data:
    """Fashion-MNIST a pixel a step: T = 784, step shape [1]."""
    return pixel_sequential(images("fashion-mnist", split))
