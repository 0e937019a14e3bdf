"""How well the gradient of one rule agrees with that of another."""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rheobase.aside import buffers_kept
from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import Target
from rheobase.training.anomalies import by_steps

Gradient = dict[str, Tensor]


@dataclass(frozen=True)
class Agreement:
    """cosine: between the two gradients of all parameters, as one vector; NaN when one of them is zero.

    norm_ratio: the length of the rule's gradient over that of the reference.
    of_parameters: the cosine for each parameter alone.
    """

    cosine: float
    norm_ratio: float
    of_parameters: dict[str, float]


@dataclass(frozen=True)
class Products:
    """The inner products of two gradients: `own` with itself, `exact` with itself, and with one another.

    Those of several parameters together are the sums of those of each.
    """

    own: float = 0.0
    exact: float = 0.0
    cross: float = 0.0

    @property
    def cosine(self) -> float:
        """Of the angle between the two; NaN when one is zero."""
        return self.cross / (math.sqrt(self.own) * math.sqrt(self.exact)) if self.own and self.exact else math.nan

    @property
    def norm_ratio(self) -> float:
        return math.sqrt(self.own / self.exact) if self.exact else math.nan

    @property
    def error(self) -> float:
        """The length of the difference over that of the exact one."""
        apart = max(self.own + self.exact - 2 * self.cross, 0.0)
        return math.sqrt(apart / self.exact) if self.exact else math.nan

    @staticmethod
    def together(parts: Iterable["Products"]) -> "Products":
        known = list(parts)
        return Products(*(math.fsum(getattr(p, name) for p in known) for name in ("own", "exact", "cross")))


def gradient_cosine(rule: Rule, reference: Rule, model: nn.Module, xs: Tensor, target: Target, loss: Loss) -> Agreement:
    """The agreement of `rule` with `reference` on one batch.

    Computed on copies of the model from the same random state; both are afterwards as they were.
    """
    found = products(gradient(rule, model, xs, target, loss), gradient(reference, model, xs, target, loss))
    whole = Products.together(found.values())
    return Agreement(whole.cosine, whole.norm_ratio, {name: part.cosine for name, part in found.items()})


def products(own: Gradient, exact: Gradient) -> dict[str, Products]:
    """By parameter."""
    return {
        name: Products(inner(own[name], own[name]), inner(exact[name], exact[name]), inner(own[name], exact[name]))
        for name in exact
    }


def inner(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum())


def gradient(rule: Rule, model: nn.Module, xs: Tensor, target: Target, loss: Loss) -> Gradient:
    """The rule's gradient by parameter, in float64, zero where it gives none; computed on a copy of the model."""
    copied = copy.deepcopy(model)
    copied.zero_grad(set_to_none=True)
    return gradient_of(rule, copied, xs, target, loss)


def gradient_of(rule: Rule, model: nn.Module, xs: Tensor, target: Target, loss: Loss, *, draws: int = 1) -> Gradient:
    """The same on the model itself, which has no gradients before and after.

    draws: where rule or model draw random numbers (SLTT-K, dropout), the mean of so many gradients; one elsewhere.
        They are drawn step by step, so that all rules that draw none of their own see the same masks.
    """
    devices = [xs.device] if xs.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        before = random_states(xs.device)
        total = _gradient_once(rule, model, xs, target, loss)
        if all(torch.equal(*pair) for pair in zip(before, random_states(xs.device), strict=True)):
            return total
    rule = by_steps(rule, model)
    with torch.random.fork_rng(devices=devices):
        total = _gradient_once(rule, model, xs, target, loss)
        for _ in range(draws - 1):
            for name, part in _gradient_once(rule, model, xs, target, loss).items():
                total[name] += part
    return {name: part / draws for name, part in total.items()}


def _gradient_once(rule: Rule, model: nn.Module, xs: Tensor, target: Target, loss: Loss) -> Gradient:
    try:
        with buffers_kept(model):
            rule.backward(model, xs, target, loss=loss)
        return {
            name: (torch.zeros_like(p) if p.grad is None else p.grad).double()
            for name, p in model.named_parameters()
            if p.requires_grad
        }
    finally:
        model.zero_grad(set_to_none=True)


def random_states(device: torch.device) -> list[Tensor]:
    """Where the random generators stand, of the CPU and of the device in use."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]
