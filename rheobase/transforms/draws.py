"""What transforms draw for each sample: on the CPU, so that every device sees the same numbers."""

import torch
from torch import Tensor


def chance(p: float, count: int, generator: torch.Generator) -> Tensor:
    """To which of `count` samples it happens, with probability `p` each: `[count]`, bool."""
    return torch.rand(count, generator=generator) < p


def integers(low: int, high: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Whole numbers from `low` to `high`, both included."""
    return torch.randint(low, high + 1, shape, generator=generator)


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Numbers from `low` to `high`, float64."""
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def require_probability(name: str, p: float) -> None:
    """Raises ValueError unless `p` is in [0, 1]."""
    if not 0 <= p <= 1:
        raise ValueError(f"Expected {name} to be a probability in [0, 1], got {p}.")


def require_at_least(name: str, value: float, least: float) -> None:
    """Raises ValueError unless `value` is at least `least`."""
    if value < least:
        raise ValueError(f"Expected {name} of at least {least}, got {value}.")
