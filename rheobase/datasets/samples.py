"""Samples that are read from disk when a batch wants them."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class Samples(ABC):
    """As a tensor `[M, ...]` of which only the rows that are asked for are in memory."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def read(self, indices: Tensor) -> Tensor:
        """The samples at `indices`, `[K]` int64, in that order: `[K, ...]`."""

    @abstractmethod
    def digest(self) -> str:
        """SHA-256, hexadecimal, of what the samples are made of."""


@dataclass(frozen=True, eq=False)
class Chosen(Samples):
    """The samples of `source` at `indices`, `[M]` int64."""

    source: Samples
    indices: Tensor = field(repr=False)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return len(self.indices), *self.source.shape[1:]

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return self.source.dtype

    def read(self, indices: Tensor) -> Tensor:
        return self.source.read(self.indices[indices])

    def digest(self) -> str:
        return hashlib.sha256(self.source.digest().encode() + self.indices.numpy().tobytes()).hexdigest()


class Mapped(Samples):
    """The array in a .npy file, its first dimension the samples; the system reads what is used.

    Raises ValueError for what is no such file, or is shorter than its header says.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self._digest = path, digest
        try:
            self._array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path}: not a complete .npy file ({error}).") from error
        self.shape = tuple(self._array.shape)
        self.dtype = torch.from_numpy(np.empty(0, self._array.dtype)).dtype

    def read(self, indices: Tensor) -> Tensor:
        return torch.from_numpy(self._array[indices.numpy()])

    def digest(self) -> str:
        return self._digest


def rows(samples: Tensor | Samples, indices: Tensor) -> Tensor:
    """The samples at `indices`, in memory."""
    return samples[indices] if isinstance(samples, Tensor) else samples.read(indices)


def in_memory(samples: Tensor | Samples) -> Tensor:
    """All of them as one tensor."""
    return samples if isinstance(samples, Tensor) else samples.read(torch.arange(len(samples)))
