"""What moves the weights, and by how much at each batch."""

import math
from typing import Any

import torch
from torch import nn

from rheobase.training.experiment import Experiment


def make_optimizer(experiment: Experiment, model: nn.Module) -> torch.optim.Optimizer:
    """The experiment's optimiser of the model's parameters."""
    rate, decay = experiment.learning_rate, experiment.weight_decay
    is_free = {p: experiment.decays == "weights" and p.ndim < 2 for p in model.parameters()}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in is_free if not is_free[p]]},
        {"params": [p for p in is_free if is_free[p]], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if experiment.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, weight_decay=decay, momentum=experiment.momentum)
    kind = torch.optim.Adam if experiment.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=rate, weight_decay=decay)


def learning_rate(experiment: Experiment, epochs: int, batches: int, of: int) -> float:
    """The learning rate after `epochs` epochs and `batches` of the `of` batches of the next."""
    rate = experiment.learning_rate
    if experiment.schedule == "constant":
        return rate
    within = batches / of if experiment.schedule == "cosine" else 0
    return rate * 0.5 * (1 + math.cos(math.pi * (epochs + within) / experiment.epochs))
