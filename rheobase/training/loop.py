"""One run in progress: everything its next epoch depends on."""

import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.datasets import Data
from rheobase.training.environment import device_named
from rheobase.training.evaluate import evaluate, load_weights
from rheobase.training.experiment import Experiment
from rheobase.training.health import ailments, firing_rates
from rheobase.training.progress import Progress


class DivergedError(RuntimeError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class Epoch:
    """What is known after one epoch.

    seconds: of training, without evaluation.
    firing_rates: spikes per neuron and step on one validation batch, by layer.
    ailments: the layers that are "dead" or "saturated".
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    samples_per_second: float
    firing_rates: dict[str, float]
    ailments: dict[str, str]


class Loop:
    """One run in progress. The same experiment gives the same weights, bit by bit, on the same machine's CPU.

    best: the weights with the best validation accuracy so far, the latest of equals.
    """

    def __init__(self, experiment: Experiment, data: Data) -> None:
        self.experiment, self.data = experiment, data
        self.device = device_named(experiment.device)
        self.rule, self.loss = experiment.learning_rule(), experiment.loss_function()
        random.seed(experiment.seed)
        torch.manual_seed(experiment.seed)
        self.model = experiment.build_model(data)
        if experiment.weights is not None:
            load_weights(self.model, Path(experiment.weights))
        self.model.to(self.device)
        self.optimizer = make_optimizer(experiment, self.model)
        self.order = torch.Generator().manual_seed(experiment.seed)
        self.batches = data.train.batches(
            min(experiment.batch_size, len(data.train)), generator=self.order, device=self.device,
            drop_last=experiment.drop_last,
        )  # fmt: skip
        self.done = 0
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_accuracy = 0, -1.0

    def epoch(self, progress: Progress) -> Epoch:
        """Trains for one epoch, then evaluates on the validation part."""
        number, update = self.done + 1, self.update_at_step if self.experiment.update == "step" else None
        self.model.train()
        started, losses, right, seen = time.perf_counter(), 0.0, 0, 0
        for batch, (xs, target) in enumerate(self.batches, start=1):
            rate = self._set_learning_rate(batch)
            self.optimizer.zero_grad()
            result = self.rule.backward(self.model, xs, target, loss=self.loss, after_step=update)
            loss = float(result.loss)
            if not math.isfinite(loss):
                raise DivergedError(
                    f"The loss is {loss} in epoch {number}, batch {batch} of {len(self.batches)}: lower the learning "
                    f"rate ({rate:g} there), or the gain of the weights."
                )
            if update is None:
                self.optimizer.step()
            losses += loss
            classes = target if target.ndim == 1 else target.argmax(1)  # of mixed samples the larger part counts
            right += int((result.outputs.mean(0).argmax(1) == classes).sum())
            seen += len(target)
            progress.batch(number, batch, loss, seen / (time.perf_counter() - started))
        seconds = time.perf_counter() - started
        self.done = number
        rates = self._firing_rates()
        record = Epoch(
            number, losses / len(self.batches), right / seen, self._validate(), rate, seconds, seen / seconds,
            rates, ailments(rates),
        )  # fmt: skip
        return record

    def update_at_step(self) -> None:
        """The weights move, and the gradient of the next learning step starts from nothing."""
        self.optimizer.step()
        self.optimizer.zero_grad()

    def test_accuracy(self) -> float:
        """Of the best weights, which the model has afterwards."""
        self.model.load_state_dict(self.best)
        return self._accuracy("test")

    def state(self) -> dict[str, Any]:
        """All that the rest of the run depends on, as tensors and plain values."""
        return {
            "epoch": self.done,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": {"epoch": self.best_epoch, "accuracy": self.best_accuracy, "weights": self.best},
            "random": {
                "torch": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
                "order": self.order.get_state(),
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.done = state["epoch"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        best, drawn = state["best"], state["random"]
        self.best_epoch, self.best_accuracy, self.best = best["epoch"], best["accuracy"], best["weights"]
        torch.set_rng_state(drawn["torch"])
        if self.device.type == "cuda" and drawn["cuda"] is not None:
            torch.cuda.set_rng_state(drawn["cuda"], self.device)
        self.order.set_state(drawn["order"])

    def _set_learning_rate(self, batch: int) -> float:
        experiment = self.experiment
        rate = experiment.learning_rate
        if experiment.schedule != "constant":
            within = (batch - 1) / len(self.batches) if experiment.schedule == "cosine" else 0
            share = (self.done + within) / experiment.epochs
            rate *= 0.5 * (1 + math.cos(math.pi * share))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _validate(self) -> float:
        accuracy = self._accuracy("validation")
        if accuracy >= self.best_accuracy:
            self.best_epoch, self.best_accuracy = self.done, accuracy
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        return accuracy

    def _accuracy(self, part: str) -> float:
        sequences = self.data.validation if part == "validation" else self.data.test
        experiment = self.experiment
        return evaluate(
            self.model, sequences, batch_size=experiment.batch_size, device=self.device, chunk=experiment.chunk
        )

    def _firing_rates(self) -> dict[str, float]:
        xs, _ = next(iter(self.data.validation.batches(self.experiment.batch_size, device=self.device)))
        self.model.eval()
        try:
            return firing_rates(self.model, xs, chunk=self.experiment.chunk)
        finally:
            self.model.train()


def make_optimizer(experiment: Experiment, model: nn.Module) -> torch.optim.Optimizer:
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
