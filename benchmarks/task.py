"""What one case gets to work on, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from benchmarks.nets import NETS, Kit

Mark = Callable[[], None]


def unmarked() -> None:
    pass


class Step(Protocol):
    """One whole training step: reset, zero_grad, forward, loss, backward, update."""

    def __call__(self, mark: Mark) -> Tensor:
        """The loss, detached. mark: to be called right before each backward pass; the memory is read there."""
        ...


@dataclass(frozen=True)
class Task:
    """A network's name, its number of steps, and the data. built: the networks made for it."""

    net: str
    steps: int
    quick: bool
    device: torch.device
    xs: Tensor
    y: Tensor
    built: list[nn.Module] = field(default_factory=list)

    @classmethod
    def of(cls, net: str, steps: int, quick: bool, device: torch.device) -> "Task":
        found = NETS[net]
        xs, y = found.inputs(steps, quick, device), found.targets(steps, quick, device)
        return cls(net, steps, quick, device, xs, y)

    def build(self, kit: Kit) -> nn.Module:
        """The network in train mode; every kit gets the same initial weights."""
        torch.manual_seed(0)
        net = NETS[self.net].build(kit, self.quick).to(self.device).train()
        self.built.append(net)
        return net

    @property
    def segment(self) -> int:
        """Steps between checkpoints, sqrt(T) rounded up."""
        return int((self.steps - 1) ** 0.5) + 1


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
