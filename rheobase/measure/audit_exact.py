"""Which form of the exact rule fits into memory."""

import copy
from dataclasses import fields, is_dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from rheobase.chunks import sequence_norms
from rheobase.measure.memory import kept_bytes
from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import PerStep, Target
from rheobase.training.free_memory import free_bytes

Exact = Literal["auto", "whole", "checkpointed"]
SHARE = 0.5  # of the free memory that the graph of the exact gradient may take


def exact_form(choice: Exact, exact: Rule, model: nn.Module, xs: Tensor, target: Target, loss: Loss) -> Rule:
    """The rule `exact` in the form that `choice` asks for.

    Raises ValueError for "checkpointed" where the rule or the model cannot.
    """
    knobs = {field.name for field in fields(exact)} if is_dataclass(exact) else set[str]()
    norms = sequence_norms(model)
    if choice == "whole" or (choice == "auto" and ("checkpoint" not in knobs or norms)):
        return exact
    if "checkpoint" not in knobs or norms:
        why = f"{', '.join(map(repr, norms))} normalises over the whole sequence" if norms else f"{exact} cannot"
        raise ValueError(f'exact="checkpointed" does not work here: {why}. Use "whole".')
    if choice == "auto":
        free = free_bytes(xs.device)
        if free is None or graph_bytes(exact, model, xs, target, loss) <= SHARE * free:
            return exact
    return replace(exact, checkpoint=True)  # type: ignore[type-var]


def graph_bytes(rule: Rule, model: nn.Module, xs: Tensor, target: Target, loss: Loss) -> float:
    """What autograd keeps of the whole batch, extrapolated from two samples."""
    few = min(2, xs.shape[1])
    goal = PerStep(target.targets[:, :few]) if isinstance(target, PerStep) else target[:few]
    copied, targets = copy.deepcopy(model), target.targets if isinstance(target, PerStep) else target
    with torch.random.fork_rng(devices=[xs.device] if xs.is_cuda else []):
        kept = kept_bytes(
            lambda: rule.backward(copied, xs[:, :few], goal, loss=loss),
            there=[xs, targets, *copied.parameters(), *copied.buffers()],
        )
    return kept * xs.shape[1] / few
