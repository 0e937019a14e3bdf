"""Audits over a training: at the start, while it lasts, and after."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from rheobase.datasets import Data, FlowData
from rheobase.distributed import device_named
from rheobase.measure.audit import Audit, RuleAudit, audit
from rheobase.measure.audit_exact import Exact
from rheobase.measure.comparison import REFUSALS
from rheobase.rules.rule import Rule
from rheobase.training import Experiment, Progress, Silent
from rheobase.training.environment import deterministic
from rheobase.training.evaluate import load_weights, read_experiment
from rheobase.training.files import RESULT
from rheobase.training.history import number, read_run
from rheobase.training.loop import Loop
from rheobase.training.progress import Plan


@dataclass(frozen=True)
class Moment:
    """An audit of the weights after `epoch` epochs. title: "start", "epoch 5", "best weights (epoch 7)"."""

    title: str
    epoch: int
    audit: Audit


@dataclass(frozen=True)
class Sampling:
    """What each audit looks at: the first of the train part's batches, in an order of the experiment's seed.

    All moments see the same batches. draws, exact: as in `audit`.
    """

    batches: int = 8
    draws: int = 4
    exact: Exact = "auto"

    def __post_init__(self) -> None:
        if self.batches < 1:
            raise ValueError(f"Expected at least 1 batch, got {self.batches}.")

    def of(self, experiment: Experiment, data: Data | FlowData) -> Iterator[tuple[Tensor, Tensor]]:
        size, device = min(experiment.batch_size, len(data.train)), device_named(experiment.device)
        order = torch.Generator().manual_seed(experiment.seed)
        return itertools.islice(data.train.batches(size, generator=order, device=device, drop_last=True), self.batches)


def audit_training(
    experiment: Experiment,
    rules: Sequence[str],
    *,
    at: Sequence[int] | None = None,
    sampling: Sampling = Sampling(),
    progress: Progress | None = None,
    shown: Callable[[Moment], None] = lambda moment: None,
) -> tuple[Moment, ...]:
    """Trains `experiment` as `fit` does, but for files and test, and audits the rules on its weights on the way.

    at: after how many epochs; by default five times, from 0 to the last. shown: told of each audit as it is there.

    The audits do not change the training. They are made in float32, whatever the experiment's precision. Seeds torch's
    random generator.
    """
    last = experiment.epochs
    moments = sorted({round(last * part / 4) for part in range(5)} if at is None else set(at))
    if not moments or not 0 <= moments[0] <= moments[-1] <= last:
        raise ValueError(f"Expected audits after 0 to {last} epochs, as many as are trained, got {list(at or ())}.")
    data, progress, found = experiment.load_data(), progress or Silent(), list[Moment]()
    with deterministic(experiment.deterministic):
        loop = Loop(experiment, data)
        metrics = data.train.metric, data.validation.metric
        progress.start(Plan(moments[-1], len(loop.batches), 0, loop.device, *metrics))
        try:
            for epoch in moments:
                while loop.done < epoch:
                    progress.epoch(loop.epoch(progress.batch))
                title = f"epoch {epoch}" if epoch else "start"
                found.append(Moment(title, epoch, audited(experiment, loop.model, data, rules, sampling)))
                shown(found[-1])
        finally:
            progress.stop()
    return tuple(found)


def audit_run(
    folder: Path, rules: Sequence[str], *, batch_size: int | None = None, sampling: Sampling = Sampling()
) -> tuple[Experiment, tuple[Moment, ...]]:
    """Audits the run in `folder`, at the weights that it started from and at its best ones; also its experiment.

    batch_size: another than that of the training.
    """
    experiment, run = read_experiment(folder), read_run(folder, folder.name)
    if batch_size is not None:
        experiment = replace(experiment, batch_size=batch_size)
    best, data = number(run.result, "best_epoch"), experiment.load_data()
    epoch = len(run.epochs) if best is None else int(best)
    model = Loop(experiment, data).model
    start = Moment("start", 0, audited(experiment, model, data, rules, sampling))
    load_weights(model, folder)
    where = f"epoch {epoch}" if best is not None else f"no {RESULT} yet, of {epoch} epochs"
    return experiment, (
        start,
        Moment(f"best weights ({where})", epoch, audited(experiment, model, data, rules, sampling)),
    )


def audited(
    experiment: Experiment, model: nn.Module, data: Data | FlowData, rules: Sequence[str], sampling: Sampling
) -> Audit:
    """An audit under the experiment's settings; a rule that they do not allow is refused with the reason."""
    made: dict[str, Rule] = {}
    refused: dict[str, RuleAudit] = {}
    for text in rules:
        try:
            made[text] = replace(experiment, rule=text).learning_rule()
        except REFUSALS as error:
            refused[text] = RuleAudit(text, refusal=str(error))
    model.train()
    found = audit(
        model, sampling.of(experiment, data), list(made.values()), loss=experiment.loss_function(),
        draws=sampling.draws, exact=sampling.exact,
    )  # fmt: skip
    by_text = refused | {text: replace(each, rule=text) for text, each in zip(made, found.rules, strict=True)}
    return replace(found, rules=tuple(by_text[text] for text in rules))
