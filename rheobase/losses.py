"""Losses of one step's output, the mean over the batch, and accuracy of a whole sequence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rheobase.flow_losses import SelfSupervisedFlow


def _require_classes(output: Tensor, target: Tensor, loss: str) -> None:
    if target.is_floating_point() and target.shape == output.shape:
        return
    if target.is_floating_point() or target.dim() != 1 or output.dim() != 2:
        raise TypeError(
            f"{loss} expects outputs [N, classes] and integer class targets [N] or probabilities "
            f"[N, classes], got {list(output.shape)} and {target.dtype} {list(target.shape)}."
        )
    if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < output.shape[1]:
        raise ValueError(
            f"{loss} expects targets in 0..{output.shape[1] - 1}, as the model has {output.shape[1]} outputs, got "
            f"{int(target.min())}..{int(target.max())}."
        )


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of logits `[N, C]` with classes `[N]` or probabilities `[N, C]`."""
    _require_classes(output, target, "cross_entropy")
    return F.cross_entropy(output, target)


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over batch and outputs; integer classes `[N]` are taken as one-hot rows."""
    if not target.is_floating_point() and target.dim() == output.dim() - 1:
        _require_classes(output, target, "mse")
        target = F.one_hot(target, output.shape[1])
    if output.shape != target.shape:
        raise ValueError(f"mse expects a target shaped like the output {list(output.shape)}, got {list(target.shape)}.")
    return F.mse_loss(output, target.to(output.dtype))


@dataclass(frozen=True)
class CrossEntropyMSE:
    """(1 - weight) * cross entropy + weight * mean squared error (SLTT, OTTT).

    weight: share of the squared error: 0.05 on CIFAR in both papers, 0.001 in OTTT on event data.
    towards: what the squared error pulls the output to: "one_hot", or "one", the constant 1 for every class (SLTT on
        CIFAR and DVS-Gesture; the idea is TET's, Deng et al., ICLR 2022).
    """

    weight: float = 0.05
    towards: Literal["one_hot", "one"] = "one_hot"

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(f"Expected weight in [0, 1], got {self.weight}.")
        if self.towards not in ("one_hot", "one"):
            raise ValueError(f'Expected towards "one_hot" or "one", got {self.towards!r}.')

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        pull = mse(output, target if self.towards == "one_hot" else torch.ones_like(output))
        return (1 - self.weight) * cross_entropy(output, target) + self.weight * pull


def accuracy(outputs: Tensor, target: Tensor) -> float:
    """The share of samples whose largest mean output is their class. outputs: `[T, N, C]`; target: `[N]`."""
    return float((outputs.mean(0).argmax(1) == target).float().mean())


LOSSES: dict[str, Callable[..., Any]] = {  # functions, and classes with options that make one
    "cross_entropy": cross_entropy,
    "mse": mse,
    "cross_entropy_mse": CrossEntropyMSE,
    "self_supervised_flow": SelfSupervisedFlow,
}
