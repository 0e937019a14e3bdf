"""Several rules on the same task: accuracy, time, memory, and how good their gradients are."""

import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rheobase.datasets import Data, FlowData
from rheobase.distributed import device_named
from rheobase.measure.agreement import Agreement, gradient_cosine
from rheobase.measure.audit_exact import exact_form
from rheobase.measure.memory import TrainingMemory, training_memory
from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import Target
from rheobase.training import DivergedError, Experiment, OutOfMemory, Progress, Report, Silent, fit, rule_named
from rheobase.training.environment import environment
from rheobase.training.evaluate import initial_model, read_experiment
from rheobase.training.files import CHECKPOINT, PREVIOUS, plain, write_json
from rheobase.training.fit import resume
from rheobase.training.free_memory import let_go
from rheobase.training.out_of_memory import is_out_of_memory, what_would_fit
from rheobase.training.same_data import PARTS

REFUSALS = (ValueError, TypeError, NotImplementedError)


@dataclass(frozen=True)
class RuleRun:
    """One rule with one seed.

    before, after: agreement with BPTT of the rule's own objective on one train batch, at the initial weights and at
        the rule's own best; NaN where BPTT does not fit into memory.
    """

    seed: int
    report: Report
    before: Agreement
    after: Agreement


@dataclass(frozen=True)
class Row:
    """What was found about one rule; `refusal` says why there is nothing.

    metrics: what the scores of the train, validation and test part are.
    """

    rule: str
    runs: tuple[RuleRun, ...] = ()
    memory: TrainingMemory | None = None
    refusal: str | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)

    def mean(self, value: Callable[[RuleRun], float]) -> float:
        return statistics.fmean(value(run) for run in self.runs)

    def spread(self, value: Callable[[RuleRun], float]) -> float:
        """The sample standard deviation over the seeds, 0 for one seed."""
        return statistics.stdev(value(run) for run in self.runs) if len(self.runs) > 1 else 0.0


def default_rules(steps: int) -> tuple[str, ...]:
    """The rules worth comparing on sequences of `steps` steps; SLTT also with a quarter of them."""
    return ("bptt", "rate-bp", "sltt", f"sltt(steps={max(1, steps // 4)})", "ottt", "s-tllr")


def compare(
    base: Experiment,
    rules: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    progress: Callable[[str], Progress] | None = None,
    folder: Path | None = None,
    data: Data | FlowData | None = None,
) -> tuple[Row, ...]:
    """Trains `base` with each rule and each seed: the same data, initial weights and order of samples for all.

    progress: makes what shows one training, given its title.
    folder: gets the run of each rule and seed, as `fit` writes it. Called again after it was stopped, the same
        comparison takes up what is there and loses nothing.
    data: the experiment's own, where it is loaded already.

    Raises ValueError for an unknown rule, FileExistsError for a run in `folder` with other settings. A rule that
    refuses the model, diverges or does not fit into memory gets a row that says so.
    """
    for rule in rules:
        rule_named(rule)
    data, show = data or base.load_data(), progress or (lambda _: Silent())
    return tuple(measured(base, rule, data, seeds, show, folder) for rule in rules)


def place_of(folder: Path, rule: str, seed: int) -> Path:
    """Where `compare` has the run of a rule and a seed."""
    return folder / f"{re.sub(r'[^A-Za-z0-9.=_-]+', '-', rule).strip('-')}-seed{seed}"


def measured(
    base: Experiment,
    text: str,
    data: Data | FlowData,
    seeds: Sequence[int],
    progress: Callable[[str], Progress],
    folder: Path | None,
) -> Row:
    model, xs, target = first_batch(base, data)
    try:
        experiment = replace(base, rule=text)
        rule, loss = experiment.learning_rule(), experiment.loss_function()
        memory = training_memory(rule, model, xs, target, loss)
        runs = []
        for seed in seeds:
            seeded = replace(experiment, seed=seed)
            model, xs, target = first_batch(seeded, data)
            before = agreement(rule, model, xs, target, loss)
            title = text if len(seeds) == 1 else f"{text}, seed {seed}"
            place = None if folder is None else place_of(folder, text, seed)
            report = trained(seeded, data, progress(title), place)
            report.model.train()
            after = agreement(rule, report.model, xs, target, loss)
            runs.append(RuleRun(seed, report, before, after))
    except (*REFUSALS, DivergedError, OutOfMemory) as error:
        return Row(text, refusal=str(error))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return Row(text, refusal=what_would_fit(model, rule, xs, target, loss, error))
    names = {part: getattr(data, part).metric.name for part in PARTS}
    return Row(text, tuple(runs), memory, metrics=names)


def agreement(rule: Rule, model: nn.Module, xs: Tensor, target: Target, loss: Loss) -> Agreement:
    """With the exact gradient of the rule's objective, checkpointed where memory is short; NaN if not even so."""
    try:
        exact = exact_form("auto", rule.exact, model, xs, target, loss)
        return gradient_cosine(rule, exact, model, xs, target, loss)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        let_go(error, xs.device)
        return Agreement(math.nan, math.nan, {})


def trained(experiment: Experiment, data: Data | FlowData, progress: Progress, place: Path | None) -> Report:
    """The run in `place`, new or from where it stopped."""
    if place is None or not any((place / name).is_file() for name in (CHECKPOINT, PREVIOUS)):
        return fit(experiment, place, progress, data=data, overwrite=True)
    if read_experiment(place) != experiment:
        raise FileExistsError(f"{place} holds a run with other settings: name another folder for this comparison.")
    return resume(place, progress, data=data)


def first_batch(experiment: Experiment, data: Data | FlowData) -> tuple[nn.Module, Tensor, Tensor]:
    """The untrained model, in train mode, and a batch of the train part in stored order."""
    device = device_named(experiment.device)
    model = initial_model(experiment, data, device)
    xs, target = next(iter(data.train.batches(experiment.batch_size, device=device)))
    return model, xs, target


def results(base: Experiment, rows: Sequence[Row], command: Sequence[str] | None = None) -> dict[str, Any]:
    """All that was found, for JSON; null stands for what cannot be told."""
    shared = {name: value for name, value in base.settings().items() if name not in ("rule", "seed")}
    found = {
        **environment(device_named(base.device), command),
        "metrics": dict(next((row.metrics for row in rows if row.metrics), {})),
        "experiment": shared,
        "rules": [row_results(row) for row in rows],
    }
    return plain(found)  # type: ignore[no-any-return]


def row_results(row: Row) -> dict[str, Any]:
    if row.memory is None:
        return {"rule": row.rule, "refusal": row.refusal}
    return {
        "rule": row.rule,
        "kept_bytes": row.memory.kept,
        "peak_bytes": row.memory.peak,
        "runs": [
            {
                "seed": run.seed,
                "test_score": run.report.test_score,
                "validation_score": run.report.validation_score,
                "best_epoch": run.report.best_epoch,
                "seconds": run.report.seconds,
                "agreement_before": asdict(run.before),
                "agreement_after": asdict(run.after),
                "epochs": [asdict(epoch) for epoch in run.report.epochs],
            }
            for run in row.runs
        ],
    }


def write_results(folder: Path, found: dict[str, Any]) -> None:
    write_json(folder / "results.json", found)
