"""The image sets that other data sets are made of, by name."""

from collections.abc import Callable

from rheobase.datasets.digits import digit_images
from rheobase.datasets.mnist import fashion_mnist, mnist
from rheobase.datasets.sequences import Data
from rheobase.datasets.splits import Split
from rheobase.names import choose

IMAGES: dict[str, Callable[[Split], Data]] = {
    "digits": lambda split: digit_images(split=split),
    "mnist": lambda split: mnist(split=split),
    "fashion-mnist": lambda split: fashion_mnist(split=split),
}


def images(source: str, split: Split) -> Data:
    """The image set called `source`, samples `[M, 1, H, W]` in [0, 1]."""
    return choose("image set", source, IMAGES)(split)
