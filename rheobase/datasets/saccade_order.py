"""In which order did the camera move? A task that only temporal credit solves."""

import zlib
from dataclasses import replace
from itertools import permutations

import torch
from torch import Tensor

from rheobase.datasets.camera import NMNIST, Camera
from rheobase.datasets.images import images
from rheobase.datasets.saccades import recorded
from rheobase.datasets.sequences import Data, Sequences
from rheobase.datasets.splits import WHOLE, Split

ORDERS = tuple(permutations(range(3)))


def saccade_order(*, source: str = "digits", bins: int = 12, camera: Camera = NMNIST, split: Split = WHOLE) -> Data:
    """Which of the 3! orders did the camera's three saccades have? 6 classes, step shape [2, 34, 34].

    The image is one of `source` ("digits", "mnist", "fashion-mnist") and says nothing of the label, which is
    drawn at random, each order equally often. The three moves are the same in every class: three orders go
    round one closed triangle and three round its mirror image, so who sees only what happens and not when
    can tell the two triangles apart but no more, and is right once in three times; chance is once in six.

    bins: T, a divisor of 60.
    """
    data = images(source, split)

    def ordered(which: str, part: Sequences) -> Sequences:
        labels = drawn_orders(len(part), zlib.crc32(f"{which} {split.seed}".encode()))
        return recorded(which, replace(part, targets=labels, classes=len(ORDERS)), labels, ORDERS, camera, bins)

    return data.each("saccade-order", ordered)


def drawn_orders(count: int, seed: int) -> Tensor:
    """`count` labels, seeded; each run of six has every label once, so fewer labels begin more of them."""
    generator = torch.Generator().manual_seed(seed)
    runs = [torch.randperm(len(ORDERS), generator=generator) for _ in range(-(-count // len(ORDERS)))]
    return torch.cat(runs)[:count]
