"""How large the models are on the data they were published for."""

from collections.abc import Callable

import torch
from torch import nn

IMAGE, EVENTS = (3, 32, 32), (2, 48, 48)
PHOTOGRAPH = (3, 224, 224)

# The shape of one step and the number of classes; 3x32x32 and 10 for models that are not listed.
INPUTS: dict[str, tuple[tuple[int, ...], int]] = {
    "flow": ((2, 256, 256), 2),
    "mlp": ((784,), 10),
    "mobilenet": (PHOTOGRAPH, 1000),
    "ms-resnet18": (PHOTOGRAPH, 1000),
    "nf-resnet101": (PHOTOGRAPH, 1000),
    "nf-resnet34": (PHOTOGRAPH, 1000),
    "nf-resnet50": (PHOTOGRAPH, 1000),
    "preact-resnet34": (PHOTOGRAPH, 1000),
    "recurrent": ((700,), 20),
    "sew-resnet34": (PHOTOGRAPH, 1000),
    "stllr-resnet18": (EVENTS, 10),
    "vgg11-bn": (EVENTS, 10),
    "vgg9": (EVENTS, 10),
    "vggsnn": (EVENTS, 10),
}


def published_input(name: str) -> tuple[tuple[int, ...], int]:
    """The shape of one step and the number of classes that the model called `name` is known for."""
    return INPUTS.get(name, (IMAGE, 10))


def parameters(make: Callable[..., nn.Module], shape: tuple[int, ...], classes: int) -> int:
    """The number of parameters of `make(shape, classes)`; no memory is taken for them."""
    with torch.device("meta"):
        return sum(p.numel() for p in make(shape, classes).parameters())
