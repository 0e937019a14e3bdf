"""Events that a moving camera sees in still images, in the manner of N-MNIST."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from rheobase.datasets.cache import cached
from rheobase.datasets.camera import CORNERS, NMNIST, Camera
from rheobase.datasets.images import images
from rheobase.datasets.layouts import Stored
from rheobase.datasets.recording import record
from rheobase.datasets.samples import in_memory
from rheobase.datasets.sequences import Data, Sequences
from rheobase.datasets.splits import WHOLE, Split

FORMAT = 1
STANDARD = (0, 1, 2)
SOME = Split(limit=3000, evaluation_limit=1000)


def saccades(data: Data, *, bins: int = 12, camera: Camera = NMNIST) -> Data:
    """Event counts of the images of `data` under N-MNIST's three saccades: T = bins, step shape [2, 34, 34].

    data: samples `[M, 1, H, W]` in [0, 1].
    bins: of equal length, over the 300 ms; a divisor of 60.

    Made on first use, 200 to 300 images a second on one CPU core, and kept in $RHEOBASE_CACHE or
    ~/.cache/rheobase. A sample takes 2312 bytes a bin, in memory and on disk.
    """

    def seen(which: str, part: Sequences) -> Sequences:
        return recorded(which, part, torch.zeros_like(part.targets), [STANDARD], camera, bins)

    return data.each(f"saccade-{data.name}", seen)


def recorded(
    which: str,
    part: Sequences,
    chosen: torch.Tensor,
    orders: Sequence[Sequence[int]],
    camera: Camera,
    bins: int,
) -> Sequences:
    """The events of the images in `part`, with its targets; sample i follows `orders[chosen[i]]`."""
    channels = part.stored[0] if len(part.stored) == 3 else 0
    if channels != 1:
        raise ValueError(f"Expected grey images [M, 1, H, W], got samples of shape [M, ...] = {part.stored}.")
    events = cached(
        "saccades",
        settings(which, part, chosen, orders, camera, bins),
        lambda: record(in_memory(part.samples)[:, 0], chosen, orders, camera, bins=bins, stream=which),
    )
    return replace(part, samples=events, layout=Stored())


def settings(
    which: str,
    part: Sequences,
    chosen: torch.Tensor,
    orders: Sequence[Sequence[int]],
    camera: Camera,
    bins: int,
) -> dict[str, Any]:
    """Everything that the events depend on."""
    return {
        "format": FORMAT,
        "corners": CORNERS,
        "stream": which,
        "images and chosen": replace(part, targets=chosen, classes=len(orders)).fingerprint(),
        "orders": [list(order) for order in orders],
        "camera": asdict(camera),
        "bins": bins,
    }


def saccade_digits(*, bins: int = 12, camera: Camera = NMNIST, split: Split = WHOLE) -> Data:
    """Saccade events of the digits, 10 classes: T = bins, step shape [2, 34, 34]."""
    return saccades(images("digits", split), bins=bins, camera=camera)


def saccade_mnist(*, bins: int = 12, camera: Camera = NMNIST, split: Split = SOME) -> Data:
    """Saccade events of MNIST, 10 classes, 3000 train samples unless told: step shape [2, 34, 34]."""
    return saccades(images("mnist", split), bins=bins, camera=camera)


def saccade_fashion_mnist(*, bins: int = 12, camera: Camera = NMNIST, split: Split = SOME) -> Data:
    """Saccade events of Fashion-MNIST, 10 classes, 3000 train samples unless told: step shape [2, 34, 34]."""
    return saccades(images("fashion-mnist", split), bins=bins, camera=camera)
