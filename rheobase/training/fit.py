"""Running an experiment from its first batch, or from where it stopped, to the test score."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from rheobase.datasets import Data, FlowData
from rheobase.distributed import World, world_of
from rheobase.metrics import Metric
from rheobase.training.checkpoints import Checkpoints
from rheobase.training.environment import deterministic, differences, environment
from rheobase.training.environment import threads as use_threads
from rheobase.training.evaluate import read_experiment
from rheobase.training.experiment import Experiment
from rheobase.training.files import (
    CONFIG,
    METRICS,
    RESULT,
    WEIGHTS,
    DiskError,
    clear,
    prepared,
    read_json,
    require_writable,
    write_json,
    write_lines,
    write_weights,
)
from rheobase.training.held import held
from rheobase.training.loggers import Guarded, Logger
from rheobase.training.loop import Epoch, Loop
from rheobase.training.progress import Plan, Progress, Silent
from rheobase.training.resolved import resolved
from rheobase.training.same_data import PARTS, marks, require_same
from rheobase.training.sources import write_diffs
from rheobase.training.stopping import Interrupted, Stop, Wishes, listening

SAVE_EVERY = 600.0
LOG_EVERY = 50


@dataclass(frozen=True)
class Report:
    """What came out of a run.

    metric: what the test score is: the accuracy, a share, of data sets of classes.
    best_epoch: the one with the best validation score; its weights are in `model` and in the folder.
    test_score: of those weights; the test part had no say in the choice.
    seconds: of training, without evaluation, over all epochs.
    """

    experiment: Experiment
    metric: Metric
    epochs: tuple[Epoch, ...]
    best_epoch: int
    validation_score: float
    test_score: float
    seconds: float
    model: nn.Module = field(repr=False)


def fit(
    experiment: Experiment,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    *,
    data: Data | FlowData | None = None,
    overwrite: bool = False,
    command: Sequence[str] | None = None,
    loggers: Sequence[Logger] = (),
    save_every: float = SAVE_EVERY,
    log_every: int = LOG_EVERY,
    world: World | None = None,
) -> Report:
    """Trains what `experiment` describes; under torchrun in all its processes together.

    folder: gets config.json, metrics.jsonl (a line an epoch), weights.safetensors (the best), checkpoint.pt (the
        last, for `resume`) and result.json; nothing is written without one.
    data: those to train on; by default the experiment's. `resume` then wants them as well.
    overwrite: replace the run in `folder`.
    command: what config.json shows as the command line; this process's own by default.
    loggers: where else the figures go: of each epoch, and of one batch in `log_every`.
    save_every: seconds between checkpoints within an epoch; 0 saves each batch.
    world: the processes that train together, where the caller has started them; those of torchrun by default.

    SIGTERM and SIGINT save what was done and raise Interrupted. Raises FileExistsError for a folder that is not empty
    or in which another process trains, DivergedError where numbers go wrong, OutOfMemory, and DiskError, in each case
    with the last checkpoint in place.
    """
    with (
        world_of(experiment.device, world) as world,
        deterministic(experiment.deterministic),
        held(None if folder is None or not world.leads else prepared(Path(folder), overwrite=overwrite)) as own,
    ):
        loop = Loop(experiment, data or loaded(experiment, world), world)
        told = {
            "experiment": experiment.settings(),
            "resolved": resolved(experiment),
            "metrics": {part: getattr(loop.data, part).metric.name for part in PARTS},
            "marks": marks(loop.data),
            **environment(loop.device, command, processes=world.size),
        }
        if own is not None:
            clear(own)  # of an earlier run, now that nothing refuses this one
            require_writable(own, 3 * loop.bytes)  # two checkpoints and one on its way
            write_json(own / CONFIG, told)
            write_diffs(own)
        return Run(loop, own, progress or Silent(), loggers, save_every, log_every, told).go()


def resume(
    folder: str | Path,
    progress: Progress | None = None,
    *,
    loggers: Sequence[Logger] = (),
    save_every: float = SAVE_EVERY,
    log_every: int = LOG_EVERY,
    world: World | None = None,
    threads: int | None = None,
    data: Data | FlowData | None = None,
) -> Report:
    """Goes on with the run in `folder` after its last checkpoint, as if it had never stopped.

    On a CPU the weights are, bit by bit, those of a run that never stopped. Raises what `fit` raises, and ValueError
    where no checkpoint can be read or the data have other samples or labels than those of before.

    threads: of the CPU; as many as before by default, which the same bits need.
    data: those to train on; by default the experiment's.
    """
    folder = Path(folder)
    experiment, settings = read_experiment(folder), read_json(folder / CONFIG)
    progress = progress or Silent()
    threads = settings.get("threads") if threads is None else threads
    with (
        world_of(experiment.device, world) as world,
        deterministic(experiment.deterministic),
        use_threads(threads),
        held(folder if world.leads else None) as own,
    ):
        state = Checkpoints(folder).read(progress.say)
        data = data or loaded(experiment, world)
        require_same(settings, data, folder)
        loop = Loop(experiment, data, world, goes_on=True)
        loop.restore(state)
        records = [Epoch(**record) for record in state["epochs"]]
        run = Run(loop, own, progress, loggers, save_every, log_every, settings, records)
        tell_changes(settings, loop, progress)
        if own is not None:
            (own / RESULT).unlink(missing_ok=True)
        return run.go()


def tell_changes(settings: Mapping[str, Any], loop: Loop, progress: Progress) -> None:
    """Says what is not as it was when the run began."""
    present = environment(loop.device, processes=loop.world.size) | {"resolved": resolved(loop.experiment)}
    if changes := differences(settings, present):
        progress.say(f"Not as when this run began, so the weights may differ: {'; '.join(changes)}.")


class Run:
    """A loop, and where what it finds goes."""

    def __init__(
        self,
        loop: Loop,
        folder: Path | None,
        progress: Progress,
        loggers: Sequence[Logger],
        save_every: float,
        log_every: int,
        settings: Mapping[str, Any],
        records: Sequence[Epoch] = (),
    ) -> None:
        if not save_every >= 0:
            raise ValueError(f"Expected save_every >= 0 seconds, got {save_every}.")
        if log_every < 1:
            raise ValueError(f"Expected log_every >= 1 batch, got {log_every}.")
        self.loop, self.folder, self.progress, self.settings = loop, folder, progress, settings
        self.logger = Guarded(loggers if loop.world.leads else (), progress.say)
        self.save_every, self.log_every, self.records = save_every, log_every, list(records)
        self.checkpoints = None if folder is None else Checkpoints(folder)

    def go(self) -> Report:
        """Trains what is left, then tests."""
        loop, experiment = self.loop, self.loop.experiment
        batches, data = len(loop.batches), loop.data
        done = loop.done * batches + loop.tally.batches
        plan = Plan(experiment.epochs, batches, done, loop.device, data.train.metric, data.validation.metric)
        outcome: dict[str, Any] = {"state": "stopped"}
        try:
            self.logger.start(self.settings, self.folder)
            self.progress.start(plan)
            with listening() as stop:
                self.publish()
                self.save()
                while loop.done < experiment.epochs:
                    self._epoch(stop)
                report = self._report(stop)
            outcome = results(report)
            return report
        except Interrupted:
            raise
        except Exception as error:
            outcome = {"state": "failed", "error": f"{type(error).__name__}: {error}"}
            raise
        finally:
            self.progress.stop()
            self.logger.stop(outcome)
            if self.folder is not None and outcome["state"] != "done":
                with suppress(DiskError):  # what ended the run is the error to show
                    write_json(self.folder / RESULT, outcome)

    def save(self) -> None:
        """The last checkpoint; called in all processes alike."""
        state = self.loop.state() | {"epochs": [asdict(record) for record in self.records]}
        if self.checkpoints is not None:
            self.checkpoints.write(state)
        self._saved = time.monotonic()

    def publish(self) -> None:
        """The files that people read, as the epochs so far make them: a kill may have left older ones."""
        if self.folder is None:
            return
        write_lines(self.folder / METRICS, [asdict(record) for record in self.records])
        if self.loop.best:
            write_weights(self.folder / WEIGHTS, self.loop.best)

    def _wishes(self, stop: Stop) -> Wishes:
        due = self.checkpoints is not None and time.monotonic() - self._saved >= self.save_every
        return Wishes(due, stop.requested or 0)

    def _epoch(self, stop: Stop) -> None:
        loop = self.loop
        record = loop.epoch(self._batch, partial(self._wishes, stop), self.save)
        self.records.append(record)
        self.save()
        self.publish()
        self.progress.epoch(record)
        self.logger.log({"epoch": asdict(record)}, loop.updates)

    def _batch(self, epoch: int, batch: int, loss: float, samples_per_second: float) -> None:
        self.progress.batch(epoch, batch, loss, samples_per_second)
        if ((epoch - 1) * len(self.loop.batches) + batch) % self.log_every == 0:
            rate = self.loop.optimizer.param_groups[0]["lr"]
            record = {"loss": loss, "learning_rate": rate, "samples_per_second": samples_per_second}
            self.logger.log({"batch": record}, self.loop.updates)

    def _report(self, stop: Stop) -> Report:
        loop = self.loop
        report = Report(
            loop.experiment, loop.data.test.metric, tuple(self.records), loop.best_epoch, loop.best_score,
            loop.test_score(partial(self._wishes, stop)), sum(record.seconds for record in self.records), loop.model,
        )  # fmt: skip
        if self.folder is not None:
            write_json(self.folder / RESULT, results(report))
        return report


def loaded(experiment: Experiment, world: World) -> Data | FlowData:
    """The experiment's data. The first process goes ahead: what it fetches and converts, the others find."""
    if not world.leads:
        world.barrier()
    data = experiment.load_data()
    if world.leads:
        world.barrier()
    return data


def results(report: Report) -> dict[str, Any]:
    names = ("best_epoch", "validation_score", "test_score", "seconds")
    return {"state": "done", "metric": report.metric.name, **{name: getattr(report, name) for name in names}}
