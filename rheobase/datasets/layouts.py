"""How stored samples become time-first sequences: one small class a layout."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Layout(Protocol):
    """Turns a batch of stored samples `[N, *stored]` into a sequence `[T, N, *step]`."""

    def describe(self, stored: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """T and the shape of one step without N, for samples of shape `stored`."""

    def time_first(self, samples: Tensor) -> Tensor:
        """The sequence `[T, N, *step]`, float32, of samples `[N, *stored]`."""


@dataclass(frozen=True)
class Static:
    """The same sample at every step: a view with stride 0 in time, no copy in memory.

    steps: T, at least 1.
    """

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"Expected steps of at least 1, got {self.steps}.")

    def describe(self, stored: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        return self.steps, stored

    def time_first(self, samples: Tensor) -> Tensor:
        return samples.to(torch.float32).unsqueeze(0).expand(self.steps, *samples.shape)


@dataclass(frozen=True)
class Stored:
    """Samples that are sequences already, `[T, *step]` each, of any dtype (counts as uint8, say)."""

    def describe(self, stored: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        if not stored:
            raise ValueError("Expected stored sequences [M, T, ...], got samples of shape [M].")
        return stored[0], stored[1:]

    def time_first(self, samples: Tensor) -> Tensor:
        return samples.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class Rows:
    """Images `[C, H, W]` read row by row from the top: T = H, one step is `[C * W]`, channel by channel."""

    def describe(self, stored: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        channels, height, width = image_shape(stored)
        return height, (channels * width,)

    def time_first(self, samples: Tensor) -> Tensor:
        return samples.to(torch.float32).permute(2, 0, 1, 3).flatten(2).contiguous()


@dataclass(frozen=True)
class Pixels:
    """Images `[C, H, W]` read pixel by pixel, row after row: T = H * W, one step is `[C]`."""

    def describe(self, stored: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        channels, height, width = image_shape(stored)
        return height * width, (channels,)

    def time_first(self, samples: Tensor) -> Tensor:
        return samples.to(torch.float32).flatten(2).permute(2, 0, 1).contiguous()


def image_shape(stored: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width of image samples; ValueError where they are not images."""
    if len(stored) != 3:
        raise ValueError(
            f"Expected images [M, C, H, W], got samples of shape [M{''.join(f', {n}' for n in stored)}]. "
            "Flat images need `samples.unflatten(1, (C, H, W))`."
        )
    return stored[0], stored[1], stored[2]
