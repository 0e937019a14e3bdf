"""Running an experiment from its first epoch, or from where it stopped, to the test accuracy."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from rheobase.datasets import Data
from rheobase.training.environment import environment
from rheobase.training.evaluate import read_experiment
from rheobase.training.experiment import Experiment
from rheobase.training.files import (
    CHECKPOINT,
    CONFIG,
    METRICS,
    RESULT,
    WEIGHTS,
    claim,
    read_checkpoint,
    write_checkpoint,
    write_json,
    write_lines,
    write_weights,
)
from rheobase.training.loop import Epoch, Loop
from rheobase.training.progress import Progress, Silent


@dataclass(frozen=True)
class Report:
    """What came out of a run.

    best_epoch: the one with the best validation accuracy; its weights are in `model` and in the folder.
    test_accuracy: of those weights; the test part had no say in the choice.
    seconds: of training, without evaluation, over all epochs.
    """

    experiment: Experiment
    epochs: tuple[Epoch, ...]
    best_epoch: int
    validation_accuracy: float
    test_accuracy: float
    seconds: float
    model: nn.Module


def fit(
    experiment: Experiment,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    *,
    data: Data | None = None,
    overwrite: bool = False,
    command: Sequence[str] | None = None,
) -> Report:
    """Trains what `experiment` describes.

    folder: gets config.json, metrics.jsonl (a line an epoch), weights.safetensors (the best), checkpoint.pt (the
        last, for `resume`) and result.json; nothing is written without one.
    data: the experiment's own, where it is loaded already.
    overwrite: replace the run in `folder`.
    command: what config.json shows as the command line; this process's own by default.

    Raises FileExistsError for a folder that is not empty, DivergedError when the loss is not finite.
    """
    loop = Loop(experiment, data or experiment.load_data())
    if folder is None:
        return _finish(loop, [], None, progress or Silent())
    folder = Path(folder)
    claim(folder, overwrite=overwrite)
    settings = {"experiment": experiment.settings(), **environment(loop.device, command)}
    write_json(folder / CONFIG, settings)
    _save(loop, [], folder)
    return _finish(loop, [], folder, progress or Silent())


def resume(folder: str | Path, progress: Progress | None = None) -> Report:
    """Goes on with the run in `folder` after its last complete epoch, as if it had never stopped."""
    folder = Path(folder)
    experiment = read_experiment(folder)
    state = read_checkpoint(folder / CHECKPOINT)
    loop = Loop(experiment, experiment.load_data())
    loop.restore(state)
    records = [Epoch(**record) for record in state["epochs"]]
    return _finish(loop, records, folder, progress or Silent())


def _finish(loop: Loop, records: list[Epoch], folder: Path | None, progress: Progress) -> Report:
    experiment = loop.experiment
    progress.start(experiment.epochs, len(loop.batches), loop.done)
    try:
        while loop.done < experiment.epochs:
            records.append(loop.epoch(progress))
            if folder is not None:
                _save(loop, records, folder)
            progress.epoch(records[-1])
    finally:
        progress.stop()
    report = Report(
        experiment, tuple(records), loop.best_epoch, loop.best_accuracy, loop.test_accuracy(),
        sum(record.seconds for record in records), loop.model,
    )  # fmt: skip
    if folder is not None:
        names = ("best_epoch", "validation_accuracy", "test_accuracy", "seconds")
        write_json(folder / RESULT, {name: getattr(report, name) for name in names})
    return report


def _save(loop: Loop, records: list[Epoch], folder: Path) -> None:
    epochs = [asdict(record) for record in records]
    write_checkpoint(folder / CHECKPOINT, loop.state() | {"epochs": epochs})
    write_lines(folder / METRICS, epochs)
    if loop.best and loop.best_epoch == loop.done:
        write_weights(folder / WEIGHTS, loop.best)
