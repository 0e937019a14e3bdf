"""How well the gradient of one rule agrees with that of another."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import Target


@dataclass(frozen=True)
class Agreement:
    """cosine: between the two gradients of all parameters, as one vector; NaN when one of them is zero.

    norm_ratio: the length of the rule's gradient over that of the reference.
    of_parameters: the cosine for each parameter alone.
    """

    cosine: float
    norm_ratio: float
    of_parameters: dict[str, float]


def gradient_cosine(rule: Rule, reference: Rule, model: nn.Module, xs: Tensor, target: Target, loss: Loss) -> Agreement:
    """The agreement of `rule` with `reference` on one batch.

    Computed on copies of the model from the same random state; both are afterwards as they were.
    """
    found, expected = gradient(rule, model, xs, target, loss), gradient(reference, model, xs, target, loss)
    both = [torch.cat([part.flatten() for part in parts.values()]) for parts in (found, expected)]
    return Agreement(
        cosine=cosine(*both),
        norm_ratio=float(both[0].norm() / both[1].norm()),
        of_parameters={name: cosine(found[name], expected[name]) for name in expected},
    )


def gradient(rule: Rule, model: nn.Module, xs: Tensor, target: Target, loss: Loss) -> dict[str, Tensor]:
    """The rule's gradient by parameter, in float64, zero where it gives none."""
    copied = copy.deepcopy(model)
    copied.zero_grad(set_to_none=True)
    with torch.random.fork_rng(devices=[xs.device] if xs.is_cuda else []):
        rule.backward(copied, xs, target, loss=loss)
    return {
        name: (torch.zeros_like(p) if p.grad is None else p.grad).double()
        for name, p in copied.named_parameters()
        if p.requires_grad
    }


def cosine(a: Tensor, b: Tensor) -> float:
    """The cosine of the angle between two tensors of one shape; NaN when one is zero."""
    return float((a * b).sum() / (a.norm() * b.norm()))
