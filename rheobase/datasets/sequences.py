"""One split of a data set, its time-first batches, and the three splits together."""

import hashlib
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from rheobase.datasets.layouts import Layout
from rheobase.datasets.samples import Chosen, Samples, rows
from rheobase.metrics import ACCURACY, Metric
from rheobase.transforms import Transform


@dataclass(frozen=True, eq=False)
class Sequences:
    """Labelled samples and how a batch of them becomes a time-first sequence.

    samples: `[M, ...]`, any dtype, finite; a tensor, or `Samples` that are read when wanted.
    targets: `[M]`, int64, each in 0 .. classes - 1.
    layout: makes `[T, N, ...]` of samples `[N, ...]`.
    transforms: change each batch, one after the other.
    """

    samples: Tensor | Samples = field(repr=False)
    targets: Tensor = field(repr=False)
    layout: Layout
    classes: int
    transforms: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        check_labels(tuple(self.samples.shape), self.targets, self.classes)
        if isinstance(self.samples, Tensor) and self.samples.is_floating_point() and not self.samples.isfinite().all():
            bad = int((~self.samples.isfinite()).sum())
            raise ValueError(f"Expected finite samples, got {bad} values that are NaN or infinite.")
        self.layout.describe(self.stored)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of one sample as it is stored."""
        return tuple(self.samples.shape[1:])

    @property
    def steps(self) -> int:
        """T of every batch."""
        return self.layout.describe(self.stored)[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one step, without N, after the transforms."""
        shape = self.layout.describe(self.stored)[1]
        if not self.transforms:
            return shape
        xs, _ = self.batch(torch.zeros(1, dtype=torch.int64), torch.Generator().manual_seed(0))
        return tuple(xs.shape[2:])

    @property
    def metric(self) -> Metric:
        """What a model's outputs for these samples are judged by."""
        return ACCURACY

    def batches(
        self,
        size: int,
        *,
        generator: torch.Generator | None = None,
        device: str | torch.device = "cpu",
        drop_last: bool = False,
    ) -> "Batches":
        """Batches of `size` samples, to be iterated over as often as wanted.

        generator: shuffles, anew on each iteration; in stored order without one.
        drop_last: leave out a last batch smaller than `size`.
        """
        return Batches(self, size, generator, torch.device(device), drop_last)

    def batch(
        self, indices: Tensor, generator: torch.Generator, device: str | torch.device = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """The samples at `indices`, `[N]` int64, as `(xs [T, N, ...] float32, target [N])`, transformed."""
        xs = self.layout.time_first(rows(self.samples, indices).to(device))
        target = self.targets[indices].to(device)
        for transform in self.transforms:
            xs, target = transform(xs, target, generator)
        return xs, target

    def transformed(self, *transforms: Transform) -> "Sequences":
        """With these transforms after its own."""
        return replace(self, transforms=(*self.transforms, *transforms))

    def select(self, indices: Tensor) -> "Sequences":
        """The samples at `indices`, `[K]` int64, in that order."""
        samples = self.samples
        chosen = samples[indices] if isinstance(samples, Tensor) else Chosen(samples, indices)
        return replace(self, samples=chosen, targets=self.targets[indices])

    def take(self, count: int, *, seed: int = 0) -> "Sequences":
        """The first `count` samples of the seeded stratified order, so `take(k)` begins `take(n)` for k < n.

        Each class has its share of the whole, to within one sample. Raises ValueError for a count too large.
        """
        if not 1 <= count <= len(self):
            raise ValueError(f"Expected a number of samples from 1 to {len(self)}, got {count}.")
        return self.select(stratified_order(self.targets, seed)[:count])

    def fingerprint(self) -> str:
        """SHA-256 of the samples and targets with their dtype and shape, as hexadecimal digits."""
        digest = hashlib.sha256()
        if isinstance(self.samples, Samples):
            digest.update(self.samples.digest().encode())
        for tensor in (self.samples, self.targets):
            if isinstance(tensor, Samples):
                continue
            digest.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
            digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


class Batched(Protocol):
    """What batches can be made of."""

    def __len__(self) -> int: ...

    def batch(
        self, indices: Tensor, generator: torch.Generator, device: str | torch.device = "cpu"
    ) -> tuple[Tensor, Tensor]: ...


def require_batches(batches: Sized, sequences: Batched, size: int) -> None:
    """Raises ValueError for a batch size below 1 and for one that leaves no batch of the sequences."""
    if size < 1:
        raise ValueError(f"Expected a batch size of at least 1, got {size}.")
    if not len(batches):
        raise ValueError(
            f"No batch is left: {len(sequences)} samples make no full batch of {size}. "
            "Use a smaller size or drop_last=False."
        )


@dataclass(frozen=True)
class Batches:
    """The batches of one split: iterating yields what its `batch` gives, `(xs [T, N, ...] float32, target [N])`."""

    sequences: Batched
    size: int
    generator: torch.Generator | None
    device: torch.device
    drop_last: bool

    def __post_init__(self) -> None:
        require_batches(self, self.sequences, self.size)

    def __len__(self) -> int:
        samples = len(self.sequences)
        return samples // self.size if self.drop_last else -(-samples // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.share(0, 1)

    def share(self, rank: int, processes: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every `processes`-th batch from the `rank`-th on: together all processes see each batch once."""
        samples = len(self.sequences)
        generator = self.generator or torch.Generator().manual_seed(0)
        order = torch.arange(samples) if self.generator is None else torch.randperm(samples, generator=generator)
        for start in range(rank * self.size, len(self) * self.size, processes * self.size):
            yield self.sequences.batch(order[start : start + self.size], generator, self.device)


@dataclass(frozen=True)
class Data:
    """A data set in three parts: learn from `train`, choose by `validation`, report `test`.

    The validation part is held out of what the set publishes as its train part.
    """

    name: str
    train: Sequences
    validation: Sequences
    test: Sequences

    def each(self, name: str, change: Callable[[str, Sequences], Sequences]) -> "Data":
        """The data set called `name` whose parts are `change(part's name, part)`."""
        return Data(
            name,
            change("train", self.train),
            change("validation", self.validation),
            change("test", self.test),
        )

    def transformed(self, *, train: tuple[Transform, ...] = (), every: tuple[Transform, ...] = ()) -> "Data":
        """With transforms of the train part, then of every part."""

        return self.each(self.name, lambda which, part: part.transformed(*(train if which == "train" else ()), *every))


def check_labels(shape: tuple[int, ...], targets: Tensor, classes: int) -> None:
    """Raises ValueError or TypeError unless `targets` are class numbers, one for each of the samples of `shape`."""
    if targets.dtype != torch.int64 or targets.ndim != 1:
        raise TypeError(f"Expected targets [M] of int64, got {list(targets.shape)} of {targets.dtype}.")
    if not shape or shape[0] != len(targets):
        raise ValueError(f"Expected one sample for each of {len(targets)} targets, got samples of shape {list(shape)}.")
    if not len(targets):
        raise ValueError("Expected at least one sample, got none.")
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= classes:
        raise ValueError(f"Expected targets in 0 .. {classes - 1}, got targets from {low} to {high}.")


def stratified_order(targets: Tensor, seed: int) -> Tensor:
    """A seeded random order `[M]` in which every window has each class in its share of the whole.

    Sample number r (from 0) of a class of c samples, in random order, stands at (r + 1/2) / c of the way.
    """
    shuffled = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    place = torch.empty(len(targets), dtype=torch.float64)
    for label in range(int(targets.max()) + 1):
        members = (targets[shuffled] == label).nonzero().squeeze(1)
        place[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / max(len(members), 1)
    return shuffled[place.argsort(stable=True)]
