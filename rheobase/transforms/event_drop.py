"""Recordings with events missing."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.transforms.draws import integers, require_probability, uniform
from rheobase.transforms.transform import require_sequences
from rheobase.transforms.windows import within


@dataclass(frozen=True)
class EventDrop:
    """Drops events of a span of time, of an area, or here and there; of event counts `[T, N, C, H, W]`, none below 0.

    time: probability that a sample loses the frames whose middle lies in a span of 0.1, ..., 0.9 of its duration that
        begins anywhere (so it may reach beyond the end).
    area: probability that it loses a rectangle whose sides are 0.05, ..., 0.25 of the frame's, anywhere.
    scatter: probability that it loses each event with one chance of 0.1, ..., 0.9.
    cross: lose the rectangle's rows and columns entirely, as the authors' code does, a defect.

    The rest, 1/4 by default, stays as it is, and so does a sample that would lose everything. On recordings "scatter"
    drops an exact share and "time" cuts within what are frames here. A static sequence does not stay a view.

    Paper: Gu et al. 2021, EventDrop, IJCAI, algorithm 1; the ranges are those of the authors' code.
    """

    time: float = 0.25
    area: float = 0.25
    scatter: float = 0.25
    cross: bool = False

    def __post_init__(self) -> None:
        for name in ("time", "area", "scatter"):
            require_probability(name, getattr(self, name))
        require_probability("time + area + scatter", self.time + self.area + self.scatter)

    def __call__(self, xs: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        require_sequences(xs, "EventDrop")
        if xs.min() < 0:
            raise ValueError("EventDrop expects event counts, got values below 0: put it before Normalise.")
        samples = xs.shape[1]
        dice = uniform(0, 1, (samples,), generator)
        by_time = dice < self.time
        by_area = ~by_time & (dice < self.time + self.area)
        scattered = ~by_time & ~by_area & (dice < self.time + self.area + self.scatter)
        lost = (spans(len(xs), samples, generator) & by_time)[:, :, None, None] | (
            self.areas(samples, (xs.shape[3], xs.shape[4]), generator) & by_area.view(-1, 1, 1)
        )
        kept = xs * (~lost).to(xs)[:, :, None]
        chosen = scattered.nonzero().squeeze(1).to(xs.device)
        kept[:, chosen] = thinned(kept[:, chosen], integers(1, 9, (samples,), generator)[scattered] / 10, generator)
        empty = (kept.amax((0, 2, 3, 4)) == 0).nonzero().squeeze(1)
        kept[:, empty] = xs[:, empty]
        return kept, target

    def areas(self, samples: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """A rectangle, or a cross, for each sample: `[N, H, W]`, bool."""
        share = integers(1, 5, (samples,), generator) / 20
        runs = []
        for side in size:
            length = (share * side).round().long().clamp(min=1)
            start = (uniform(0, side, (samples,), generator) - length / 2).long().clamp(min=0)
            runs.append(within((start, start + length), side))
        rows, columns = runs[0][:, :, None], runs[1][:, None]
        return rows | columns if self.cross else rows & columns


def spans(steps: int, samples: int, generator: torch.Generator) -> Tensor:
    """Which frames lie in a random span, `[T, N]`, bool."""
    start, length = uniform(0, 1, (samples,), generator), integers(1, 9, (samples,), generator) / 10
    middle = (torch.arange(steps, dtype=torch.float64)[:, None] + 0.5) / steps
    return (middle >= start) & (middle <= start + length)


def thinned(counts: Tensor, share: Tensor, generator: torch.Generator) -> Tensor:
    """Counts `[T, K, C, H, W]` without the share, `[K]`, of events; a fraction of an event goes as a whole."""
    place = (counts.flatten() > 0).nonzero().squeeze(1)
    values = counts.flatten()[place].cpu()
    sample = place.cpu() // counts.shape[2:].numel() % max(len(share), 1)
    keep = (1 - share).to(values.dtype)[sample]
    whole = values.floor()
    kept = torch.binomial(whole, keep, generator=generator)
    kept += (values - whole) * (torch.rand(values.shape, generator=generator) < keep)
    return counts.flatten().index_copy(0, place, kept.to(counts.device)).view(counts.shape)
