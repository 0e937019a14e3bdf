"""Which steps of a sequence learn."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch

from rheobase.processes import of_first

Learns = Callable[[int], bool]


class Schedule(ABC):
    """Which steps learn; traces run at the others as well."""

    @abstractmethod
    def draw(self, steps: int | None) -> tuple[Learns, int | None]:
        """Whether step t, counted from 0, learns, as a function, and how many do; drawn once per sequence.

        steps: None for a sequence of unknown length, which only `EveryStep` can take.
        """


def _known(schedule: Schedule, steps: int | None) -> int:
    if steps is None:
        raise ValueError(f"{schedule} needs to know the number of steps: pass a tensor or a list of steps.")
    return steps


@dataclass(frozen=True)
class EveryStep(Schedule):
    """All steps learn."""

    def draw(self, steps: int | None) -> tuple[Learns, int | None]:
        return lambda t: True, steps


@dataclass(frozen=True)
class RandomSteps(Schedule):
    """`count` steps learn, drawn uniformly without replacement for each sequence (SLTT-K).

    Processes that train together learn at the same steps, those that the first of them draws.
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"Expected at least 1 learning step, got {self.count}.")

    def draw(self, steps: int | None) -> tuple[Learns, int | None]:
        steps = _known(self, steps)
        if self.count > steps:
            raise ValueError(f"Expected at most T = {steps} learning steps, got {self.count}.")
        drawn = frozenset(of_first(torch.randperm(steps)[: self.count]).tolist())
        return drawn.__contains__, self.count


@dataclass(frozen=True)
class GivenSteps(Schedule):
    """The steps `at` learn, counted from 0."""

    at: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.at or len(set(self.at)) < len(self.at) or min(self.at) < 0:
            raise ValueError(f"Expected different steps, counted from 0, got {self.at}.")

    def draw(self, steps: int | None) -> tuple[Learns, int | None]:
        steps = _known(self, steps)
        if max(self.at) >= steps:
            raise ValueError(f"Expected learning steps in 0..{steps - 1}, as T = {steps}, got {self.at}.")
        return frozenset(self.at).__contains__, len(self.at)


@dataclass(frozen=True)
class LastSteps(Schedule):
    """The last `count` steps learn (S-TLLR)."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"Expected at least 1 learning step, got {self.count}.")

    def draw(self, steps: int | None) -> tuple[Learns, int | None]:
        steps = _known(self, steps)
        if self.count > steps:
            raise ValueError(f"Expected at most T = {steps} learning steps, got {self.count}.")
        first = steps - self.count
        return lambda t: t >= first, self.count
