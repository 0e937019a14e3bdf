"""What all transforms have in common."""

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor


class Transform(Protocol):
    """Changes a batch: sequences `[T, N, C, H, W]` and their targets.

    target: `[N]` class numbers; `[N, classes]` probabilities after a transform that mixes samples.
    generator: of the random numbers, on the CPU whatever the device.
    """

    def __call__(self, xs: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


class PixelTransform(ABC):
    """A transform of the sequences alone; what it draws for a sample is the same in all of its frames.

    A sequence of one frame shown T times stays a view of that frame.
    """

    def __call__(self, xs: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        require_sequences(xs, type(self).__name__)
        if xs.stride(0) == 0:
            frame = self.changed(xs[:1], generator)
            return frame.expand(len(xs), *frame.shape[1:]), target
        return self.changed(xs, generator), target

    @abstractmethod
    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        """The changed sequences; `xs` `[T, N, C, H, W]`, float32 or float64, is left as it is."""


def require_sequences(xs: Tensor, transform: str) -> None:
    """Raises ValueError or TypeError unless `xs` are floating sequences `[T, N, C, H, W]`."""
    if xs.ndim != 5:
        raise ValueError(f"{transform} expects sequences [T, N, C, H, W], got shape {list(xs.shape)}.")
    if not xs.is_floating_point():
        raise TypeError(f"{transform} expects floating-point sequences, got {xs.dtype}: use `xs.float()`.")


def require_channels(xs: Tensor, channels: int, transform: str) -> None:
    """Raises ValueError unless C of `xs` `[T, N, C, H, W]` is `channels`."""
    if xs.shape[2] != channels:
        raise ValueError(f"{transform} expects {channels} channels [T, N, {channels}, H, W], got {list(xs.shape)}.")
