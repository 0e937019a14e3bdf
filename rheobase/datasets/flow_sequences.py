"""Sequences whose target is optical flow, in the manner of those whose target is a class."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rheobase.datasets.layouts import Layout, Stored
from rheobase.datasets.samples import Chosen, Samples, rows
from rheobase.datasets.sequences import Batches
from rheobase.metrics import FLOW_LOSS, Metric

CHANNELS = 5


@dataclass(frozen=True, eq=False)
class FlowSequences:
    """Event frames, the grey images before and after them, and the true flow where it is known.

    samples: `[M, T, C, H, W]`, counts of events.
    targets: `[M, 5, H, W]`: the image before, the image after, both in [0, 1]; how far a pixel moves along x, along y,
        in pixels; 1 where that is known, else 0.
    layout: makes `[T, N, ...]` of samples `[N, ...]`.
    metric: what a model's outputs are judged by: `ENDPOINT_ERROR` where the flow is known.
    """

    samples: Tensor | Samples = field(repr=False)
    targets: Tensor | Samples = field(repr=False)
    layout: Layout = field(default_factory=Stored)
    metric: Metric = FLOW_LOSS

    def __post_init__(self) -> None:
        stored, targets = tuple(self.samples.shape), tuple(self.targets.shape)
        if len(stored) != 5 or targets != (stored[0], CHANNELS, *stored[3:]):
            raise ValueError(
                f"Expected samples [M, T, C, H, W] and targets [M, {CHANNELS}, H, W], got shapes {list(stored)} and "
                f"{list(targets)}."
            )
        if not stored[0]:
            raise ValueError("Expected at least one sample, got none.")

    def __len__(self) -> int:
        return int(self.samples.shape[0])

    @property
    def steps(self) -> int:
        """T of every batch."""
        return self.layout.describe(tuple(self.samples.shape[1:]))[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one step, without N."""
        return self.layout.describe(tuple(self.samples.shape[1:]))[1]

    @property
    def classes(self) -> int:
        """The channels of a model's output: flow along x and along y."""
        return 2

    def batches(
        self,
        size: int,
        *,
        generator: torch.Generator | None = None,
        device: str | torch.device = "cpu",
        drop_last: bool = False,
    ) -> Batches:
        """Batches of `size` samples, to be iterated over as often as wanted.

        generator: shuffles, anew on each iteration; in stored order without one.
        drop_last: leave out a last batch smaller than `size`.
        """
        return Batches(self, size, generator, torch.device(device), drop_last)

    def batch(
        self, indices: Tensor, generator: torch.Generator, device: str | torch.device = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """The samples at `indices`, `[N]` int64, as `(xs [T, N, C, H, W], target [N, 5, H, W])`, float32.

        generator: not used, as nothing is drawn. The last channel of the target is 1 where the flow is known and there
        was an event, as errors are measured.
        """
        xs = self.layout.time_first(rows(self.samples, indices).to(device))
        target = rows(self.targets, indices).to(device, torch.float32)
        seen = (xs != 0).any(dim=0).any(dim=1, keepdim=True)
        return xs, torch.cat([target[:, :-1], target[:, -1:] * seen], dim=1)

    def select(self, indices: Tensor) -> "FlowSequences":
        """The samples at `indices`, `[K]` int64, in that order."""
        return replace(self, samples=chosen(self.samples, indices), targets=chosen(self.targets, indices))


@dataclass(frozen=True)
class FlowData:
    """A data set in three parts: learn from `train`, choose by `validation`, report `test`."""

    name: str
    train: FlowSequences
    validation: FlowSequences
    test: FlowSequences


def chosen(samples: Tensor | Samples, indices: Tensor) -> Tensor | Samples:
    return samples[indices] if isinstance(samples, Tensor) else Chosen(samples, indices)
