"""The batches of any epoch of training, from any batch on."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.datasets.sequences import Batched, require_batches


@dataclass(frozen=True)
class Shuffled:
    """Batches that depend on the seed, the epoch and their place in it alone, not on what was drawn before.

    size: samples in a batch, in all processes together.
    drop_last: leave out a last batch smaller than `size`.
    rank, processes: of each batch this process gets every `processes`-th sample, from its `rank`-th on. All processes
        get as many: of a smaller last batch up to `processes` - 1 samples are left out.
    """

    sequences: Batched
    size: int
    seed: int
    device: torch.device
    drop_last: bool
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if self.size % self.processes:
            raise ValueError(
                f"Expected a batch size that {self.processes} processes can share evenly, got {self.size}: it is the "
                "number of samples in all of them together."
            )
        require_batches(self, self.sequences, self.size)

    def __len__(self) -> int:
        samples = len(self.sequences)
        full, rest = divmod(samples, self.size)
        return full + (rest >= self.processes and not self.drop_last)

    def epoch(self, number: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of epoch `number` from batch `first` on, counted from 0: `(xs [T, N, ...], target [N, ...])`."""
        order = torch.randperm(len(self.sequences), generator=seeded(self.seed, number))
        for batch in range(first, len(self)):
            indices = order[batch * self.size : (batch + 1) * self.size]
            share = indices[: len(indices) // self.processes * self.processes][self.rank :: self.processes]
            yield self.sequences.batch(share, seeded(self.seed, number, batch, self.rank), self.device)


def seeded(*numbers: int) -> torch.Generator:
    """A generator whose draws depend on all the numbers."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
