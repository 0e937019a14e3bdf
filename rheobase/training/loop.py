"""One run in progress: everything the rest of it depends on."""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.aside import RandomStates
from rheobase.datasets import Data, FlowData
from rheobase.datasets.shuffled import Shuffled
from rheobase.distributed import World, device_named, parallel, synchronised
from rheobase.explained import explained
from rheobase.learner import Learner
from rheobase.precision import Precision
from rheobase.rules.rule import Result
from rheobase.training.anomalies import DivergedError, bad_input, first_bad, gradient_norm
from rheobase.training.environment import peak_memory
from rheobase.training.evaluate import evaluate, initial_model
from rheobase.training.experiment import Experiment
from rheobase.training.health import ailments, firing_rates
from rheobase.training.optimisation import learning_rate, make_optimizer
from rheobase.training.out_of_memory import OutOfMemory, is_out_of_memory, what_would_fit
from rheobase.training.stopping import Interrupted, Wishes, signal_of

PATIENCE = 10

Told = Callable[[int, int, float, float], None]


@dataclass(frozen=True)
class Epoch:
    """What is known after one epoch.

    loss: mean over its batches. train_score, validation_score: of the data's metric.
    seconds: of training with reading its data, without evaluation, and with the time before an interruption.
    skipped: batches left out because their numbers went wrong.
    peak_memory: bytes so far, of the process or, on a GPU, of torch there; None where the system does not tell.
    firing_rates: spikes per neuron and step on one validation batch, by layer.
    ailments: the layers that are "dead" or "saturated".
    """

    epoch: int
    loss: float
    train_score: float
    validation_score: float
    learning_rate: float
    seconds: float
    samples_per_second: float
    skipped: int
    peak_memory: int | None
    firing_rates: dict[str, float]
    ailments: dict[str, str]


@dataclass
class Tally:
    """Sums over the batches of an epoch so far, in all processes together; `bad` counts those in a row."""

    batches: int = 0
    samples: int = 0
    loss: float = 0.0
    score: float = 0.0
    counted: int = 0
    skipped: int = 0
    bad: int = 0
    seconds: float = 0.0


class Loop:
    """One run in progress. The same experiment gives the same weights, bit by bit, on the same machine's CPU.

    done: complete epochs. tally: the sums of the epoch in progress. updates: optimiser steps.
    best: the weights with the best validation score so far, the latest of equals.
    goes_on: a state is restored next, so the run whose weights this one started from need not be there any more.
    """

    def __init__(
        self, experiment: Experiment, data: Data | FlowData, world: World | None = None, *, goes_on: bool = False
    ) -> None:
        self.experiment, self.data = experiment, data
        self.world = world or World(device=device_named(experiment.device))
        self.device = self.world.device
        self.rule, self.loss = experiment.learning_rule(), experiment.loss_function()
        random.seed(experiment.seed)
        self.model = initial_model(replace(experiment, weights=None) if goes_on else experiment, data, self.device)
        if self.world.size > 1:
            self._require_shared_update()
            self.model = synchronised(self.model)
        torch.manual_seed(experiment.seed + self.world.rank)  # each process drops out other neurons
        self.precision = Precision(experiment.precision, self.device)
        self.own = Learner(self.model, self.rule, self.loss, scale=self.precision.scale)
        self.learner = parallel(self.own, self.world)
        self.optimizer = make_optimizer(experiment, self.model)
        self.batches = Shuffled(
            data.train, min(experiment.batch_size, len(data.train)), experiment.seed, self.device,
            experiment.drop_last, self.world.rank, self.world.size,
        )  # fmt: skip
        self.done, self.updates, self.tally = 0, 0, Tally()
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_score = 0, math.nan

    def epoch(
        self,
        told: Told,
        wishes: Callable[[], Wishes] = Wishes,
        save: Callable[[], None] = lambda: None,
    ) -> Epoch:
        """Trains what is left of an epoch, then evaluates on the validation part.

        wishes: asked after each batch, and before each of evaluation, where only signals count. save: called where a
            process wished it, and before `Interrupted` is raised. What is saved then goes on with that batch.
        """
        number = self.done + 1
        self.model.train()
        self._since = time.perf_counter()  # what the data take counts as training
        for xs, target in self.batches.epoch(number, self.tally.batches):
            wish = self._batch(xs, target, told, wishes)
            if wish.save or wish.signal:
                save()
            if wish.signal:
                raise Interrupted(wish.signal)
            self._since = time.perf_counter()
        rates, score = self._firing_rates(), self._score("validation", partial(self._heed, wishes, save))
        self._keep_if_best(score, number)
        tally, self.tally, self.done = self.tally, Tally(bad=self.tally.bad), number
        taken = max(tally.batches - tally.skipped, 1)
        return Epoch(
            number, tally.loss / taken, tally.score / max(tally.counted, 1), score,
            self.optimizer.param_groups[0]["lr"], tally.seconds, tally.samples / tally.seconds, tally.skipped,
            peak_memory(self.device), rates, ailments(rates),
        )  # fmt: skip

    def _batch(self, xs: Tensor, target: Tensor, told: Told, wishes: Callable[[], Wishes]) -> Wishes:
        """One batch; what the processes wish together afterwards."""
        tally = self.tally
        rate = learning_rate(self.experiment, self.done, tally.batches, len(self.batches))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        before = RandomStates(self.device)
        buffers = [b.clone() for b in self.model.buffers()] if self.experiment.on_bad == "skip" else []
        result = self._learn(xs, target)
        score, counted = self.data.train.metric.total(result.outputs.float(), target)
        own = wishes()
        agreed = self.world.sum(torch.stack([
            result.loss.detach().double() / self.world.size, score.double(),
            *torch.tensor([counted, len(target), self._is_bad(result), own.save, *own.signals, *self.own.reached],
                          dtype=torch.float64, device=self.device),
        ])).tolist()  # fmt: skip
        loss, scored, counts, samples, bad, saves, terminated, interrupted, *reached = agreed
        tally.samples += round(samples)
        if bad:
            self._went_wrong(xs, target, loss, before)
            for buffer, kept in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(kept)  # running statistics would remember what was no number
        else:
            tally.bad = 0
            tally.loss += loss
            tally.score += scored
            tally.counted += round(counts)
            if self.world.size > 1:
                self._drop_zeros(reached)
            self._update()
        tally.batches += 1
        tally.seconds += time.perf_counter() - self._since
        told(self.done + 1, tally.batches, loss, tally.samples / tally.seconds)
        return Wishes(saves > 0, signal_of([terminated, interrupted]))

    def _heed(self, wishes: Callable[[], Wishes], save: Callable[[], None]) -> None:
        """Saves and leaves if a process was told to stop; called by all alike, between batches of evaluation."""
        told = self.world.sum(torch.tensor(wishes().signals, dtype=torch.float64, device=self.device))
        if number := signal_of(told.tolist()):
            save()
            raise Interrupted(number)

    def _drop_zeros(self, reached: Sequence[float]) -> None:
        """Takes the zeros of the exchange from parameters that no process had a gradient of: they would decay."""
        learning = [p for p in self.model.parameters() if p.requires_grad]
        for p, processes in zip(learning, reached, strict=True):
            if not processes:
                p.grad = None

    def _learn(self, xs: Tensor, target: Tensor) -> Result:
        try:
            with self.precision.autocast():
                if self.experiment.update == "step":
                    return self.rule.backward(
                        self.model, xs, target, loss=self.loss, after_step=self.update_at_step,
                        backward=self.precision.backward,
                    )  # fmt: skip
                result: Result = self.learner(xs, target)
            self.precision.backward(result.loss)
            return result
        except ValueError as error:
            if (found := bad_input(xs, target)) is None:
                raise
            raise explained(DivergedError(f"Stopped in {self._place()}. {found.text}"), "numbers") from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.optimizer.zero_grad()
            with self.precision.autocast():
                text = what_would_fit(self.model, self.rule, xs, target, self.loss, error)
            raise explained(OutOfMemory(f"Stopped in {self._place()}. {text}"), "memory") from error

    def _is_bad(self, result: Result) -> bool:
        """Whether the loss or the gradient is no number; with float16 the scaler sees to the gradient."""
        self.precision.unscale(self.optimizer)
        self.norm = gradient_norm(self.model)
        finite = self.norm.isfinite() | (self.experiment.precision == "float16")
        return not bool(result.loss.isfinite() & finite)

    def _went_wrong(self, xs: Tensor, target: Tensor, loss: float, before: RandomStates) -> None:
        """Leaves the batch out, or raises DivergedError that says where it went wrong."""
        tally = self.tally
        tally.skipped += 1
        tally.bad += 1
        if self.experiment.on_bad == "stop" or tally.bad > PATIENCE:
            with self.precision.autocast():
                found = first_bad(
                    self.model, self.rule, xs, target, self.loss, alone=self.world.size == 1, random=before
                )
            row = f" after {PATIENCE} batches in a row that were left out" if tally.bad > PATIENCE else ""
            raise explained(DivergedError(f"Stopped in {self._place()}{row} (loss {loss:g}). {found.text}"), "numbers")
        self.optimizer.zero_grad()
        self.precision.step(self.optimizer)  # moves nothing, but a loss scale goes down where gradients overflowed

    def _place(self) -> str:
        """Of the batch in hand, which is not counted before it is learned from."""
        return f"epoch {self.done + 1}, batch {self.tally.batches + 1} of {len(self.batches)}"

    def _update(self) -> None:
        if self.experiment.update == "step":
            return
        if self.experiment.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self.model.parameters(), self.experiment.clip_norm, self.norm)
        self.updates += self.precision.step(self.optimizer)

    def update_at_step(self) -> None:
        """The weights move, and the gradient of the next learning step starts from nothing."""
        self.updates += self.precision.step(self.optimizer)
        self.optimizer.zero_grad()

    @property
    def bytes(self) -> int:
        """What the weights, the best ones and the optimiser's moments take."""
        return 4 * sum(t.numel() * t.element_size() for t in self.model.state_dict().values())

    def test_score(self, wishes: Callable[[], Wishes] = Wishes) -> float:
        """Of the best weights, which the model has afterwards. A signal raises `Interrupted`; nothing is left to save.

        wishes: asked before each batch.
        """
        self.model.load_state_dict(self.best)
        return self._score("test", partial(self._heed, wishes, lambda: None))

    def state(self) -> dict[str, Any]:
        """All that the rest of the run depends on, as tensors and plain values; called in all processes alike."""
        return {
            "epoch": self.done,
            "tally": asdict(self.tally),
            "updates": self.updates,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state(),
            "best": {"epoch": self.best_epoch, "score": self.best_score, "weights": self.best},
            "random": self.world.gather(self._random_state()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` gave; with more processes than then, the new ones draw from the seed."""
        self.done, self.tally, self.updates = state["epoch"], Tally(**state["tally"]), state["updates"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.restore(state["precision"])
        best, drawn = state["best"], state["random"]
        self.best_epoch, self.best_score, self.best = best["epoch"], best["score"], best["weights"]
        if self.world.rank < len(drawn):
            own = drawn[self.world.rank]
            torch.set_rng_state(own["torch"])
            if self.device.type == "cuda" and "cuda" in own:
                torch.cuda.set_rng_state(own["cuda"], self.device)

    def _random_state(self) -> dict[str, Tensor]:
        states = {"torch": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        return states

    def _require_shared_update(self) -> None:
        if self.experiment.update == "step":
            raise ValueError('update="step" moves the weights within a sequence, which only one process can: use 1.')

    def _keep_if_best(self, score: float, epoch: int) -> None:
        is_better = self.data.validation.metric.higher_is_better
        if math.isnan(self.best_score) or (score >= self.best_score if is_better else score <= self.best_score):
            self.best_epoch, self.best_score = epoch, score
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def _score(self, part: str, before_batch: Callable[[], None]) -> float:
        sequences = self.data.validation if part == "validation" else self.data.test
        experiment = self.experiment
        return evaluate(
            self.model, sequences, batch_size=experiment.batch_size, device=self.device, chunk=experiment.chunk,
            precision=self.precision, world=self.world, before_batch=before_batch,
        )  # fmt: skip

    def _firing_rates(self) -> dict[str, float]:
        xs, _ = next(iter(self.data.validation.batches(self.experiment.batch_size, device=self.device)))
        self.model.eval()
        try:
            with self.precision.autocast():
                return firing_rates(self.model, xs, chunk=self.experiment.chunk)
        finally:
            self.model.train()
