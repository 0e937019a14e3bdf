import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from rheobase.training import Experiment, Silent, fit, resume
from rheobase.training.loggers import Guarded, TensorBoard, flat

SMALL = Experiment(
    data="digits(steps=2, limit=90, evaluation_limit=30)",
    model="mlp(hidden=[8])",
    epochs=3,
    batch_size=30,
    device="cpu",
)
PAGE = Path(__file__).parents[2] / "docs" / "observing.md"


class Recorder:
    """Remembers what it is told; raises in the method `fails`."""

    def __init__(self, fails=""):
        self.fails, self.told, self.records = fails, [], []

    def tell(self, name):
        if name == self.fails:
            raise OSError("no network")
        self.told.append(name)

    def start(self, settings, folder):
        self.tell("start")
        self.settings, self.folder = settings, folder

    def log(self, record, step):
        self.tell("log")
        self.records.append((step, record))

    def stop(self, outcome):
        self.tell("stop")
        self.outcome = outcome


class Fails(Silent):
    def batch(self, epoch, batch, loss, samples_per_second):
        if epoch == 2:
            raise RuntimeError("no power")


class Listener(Silent):
    def __init__(self):
        self.said, self.losses = [], []

    def batch(self, epoch, batch, loss, samples_per_second):
        self.losses.append(loss)

    def say(self, text):
        self.said.append(text)


def test_a_logger_that_raises_is_named_once_and_left_out_while_the_others_go_on():
    said, bad, good = [], Recorder("log"), Recorder()
    logger = Guarded([bad, good], said.append)
    logger.start({}, None)
    for step in (1, 2, 3):
        logger.log({"epoch": {"loss": 1.0}}, step)
    logger.stop({"state": "done"})
    assert said == ["The logger Recorder raised at step 1 and is left out from here on: OSError: no network"]
    assert good.told == ["start", "log", "log", "log", "stop"]
    assert bad.told == ["start"]


def test_an_error_at_the_start_is_raised_once_the_loggers_before_it_are_stopped():
    first, bad, never = Recorder(), Recorder("start"), Recorder()
    logger = Guarded([first, bad, never], print)
    with pytest.raises(OSError, match="no network"):
        logger.start({}, None)
    assert (first.told, bad.told, never.told) == (["start", "stop"], [], [])
    assert first.outcome == {"state": "failed"}


def test_nested_records_become_names_with_slashes():
    record = {"epoch": {"loss": 1.0, "firing_rates": {"a.2": 0.5}, "ailments": {}}, "note": None}
    assert dict(flat(record)) == {"epoch/loss": 1.0, "epoch/firing_rates/a.2": 0.5, "note": None}


def test_a_failing_logger_changes_neither_the_weights_nor_the_files_of_a_run(tmp_path):
    listener = Listener()
    alone = fit(SMALL, tmp_path / "alone")
    watched = fit(SMALL, tmp_path / "watched", listener, loggers=[Recorder("log")])
    states = [report.model.state_dict() for report in (alone, watched)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert len((tmp_path / "watched" / "metrics.jsonl").read_text().splitlines()) == 3
    assert len(listener.said) == 1


def test_a_run_tells_its_loggers_the_settings_each_epoch_at_its_step_and_the_outcome(tmp_path):
    recorder = Recorder()
    report = fit(SMALL, tmp_path, loggers=[recorder])
    assert recorder.settings["experiment"] == SMALL.settings()
    assert recorder.folder == tmp_path
    epochs = [(step, record["epoch"]) for step, record in recorder.records if "epoch" in record]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert epochs == [(3, lines[0]), (6, lines[1]), (9, lines[2])]
    assert recorder.outcome["state"] == "done"
    assert recorder.outcome["test_score"] == report.test_score


def test_one_batch_in_log_every_is_told_with_its_loss_and_learning_rate(tmp_path):
    recorder, listener = Recorder(), Listener()
    fit(SMALL, tmp_path, listener, loggers=[recorder], log_every=2)
    told = [(step, record["batch"]) for step, record in recorder.records if "batch" in record]
    assert [step for step, _ in told] == [2, 4, 6, 8]
    assert [batch["loss"] for _, batch in told] == [listener.losses[step - 1] for step, _ in told]
    rates = [batch["learning_rate"] for _, batch in told]
    assert rates == sorted(rates, reverse=True)
    with pytest.raises(ValueError, match="log_every >= 1"):
        fit(SMALL, log_every=0)


def test_the_result_tells_why_a_run_ended_until_it_goes_on(tmp_path):
    with pytest.raises(RuntimeError, match="no power"):
        fit(SMALL, tmp_path, Fails())
    result = json.loads((tmp_path / "result.json").read_text())
    assert result == {"state": "failed", "error": "RuntimeError: no power"}
    resume(tmp_path)
    assert json.loads((tmp_path / "result.json").read_text())["state"] == "done"


def test_a_run_that_goes_on_tells_its_loggers_the_steps_that_follow(tmp_path):
    class Stop(Silent):
        def batch(self, epoch, batch, loss, samples_per_second):
            if (epoch, batch) == (3, 2):
                raise RuntimeError("stopped")

    first, second = Recorder(), Recorder()
    with pytest.raises(RuntimeError, match="stopped"):
        fit(SMALL, tmp_path, Stop(), loggers=[first])
    assert first.outcome["state"] == "failed"
    resume(tmp_path, loggers=[second])
    told = [step for r in (first, second) for step, record in r.records if "epoch" in record]
    assert told == [3, 6, 9]
    assert second.settings["experiment"] == SMALL.settings()


def scalars(folder, tag):
    """What TensorBoard shows: (step, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), purge_orphaned_data=True)
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def texts(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag.partition("/")[0]: events.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
        for tag in events.Tags()["tensors"]
    }


def test_tensorboard_shows_loss_learning_rate_and_the_firing_of_each_layer_at_their_steps(tmp_path):
    pytest.importorskip("tensorboard")
    report = fit(SMALL, tmp_path, loggers=[TensorBoard()])
    own = tmp_path / "tensorboard"
    for name in ("loss", "learning_rate", "validation_score"):
        expected = [(3 * epoch.epoch, pytest.approx(getattr(epoch, name))) for epoch in report.epochs]
        assert scalars(own, f"epoch/{name}") == expected
    assert scalars(own, "epoch/firing_rates/2")[-1] == (9, pytest.approx(report.epochs[-1].firing_rates["2"]))
    assert '"model": "mlp(hidden=[8])"' in texts(own)["settings"]
    assert '"state": "done"' in texts(own)["outcome"]


def test_tensorboard_hides_what_an_attempt_wrote_after_the_step_it_goes_on_from(tmp_path):
    pytest.importorskip("tensorboard")
    for attempt, steps in (("killed", (1, 2, 3, 4)), ("resumed", (3, 4, 5))):
        logger = TensorBoard(tmp_path)
        logger.start({}, None)
        for step in steps:
            logger.log({"batch": {"loss": step + (0.5 if attempt == "killed" else 0.0)}}, step)
        logger.stop({"state": attempt})
    assert scalars(tmp_path, "batch/loss") == [(1, 1.5), (2, 2.5), (3, 3.0), (4, 4.0), (5, 5.0)]


def test_tensorboard_asks_for_its_package_and_for_a_folder(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch.utils.tensorboard", None)
        with pytest.raises(ImportError, match=r"pip install 'rheobase\[tensorboard\]'"):
            TensorBoard()
    pytest.importorskip("tensorboard")
    with pytest.raises(ValueError, match="folder="):
        TensorBoard().start({}, None)


def test_the_example_for_weights_and_biases_calls_its_interface_as_it_is(tmp_path, monkeypatch):
    calls = []

    class Run:
        def __init__(self):
            self.summary = {}

        def log(self, data: dict, step: int | None = None, commit: bool | None = None) -> None:
            calls.append(("log", step, data["epoch"]["loss"]))  # a run this short tells of no batch

        def finish(self, exit_code: int | None = None) -> None:
            calls.append(("finish", exit_code))

    run = Run()

    def init(*, project=None, dir=None, id=None, name=None, config=None, resume=None):
        assert not set(id) & set("/\\#?%:")
        calls.append(("init", project, id, resume, config["experiment"]["model"]))
        return run

    module = ModuleType("wandb")
    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "wandb" in block]
    names = {"__name__": "example"}
    exec(compile(code, "example", "exec"), names)
    report = fit(SMALL, tmp_path / "my run", loggers=[names["WeightsAndBiases"]("spikes")])
    assert calls[0] == ("init", "spikes", "my run", "allow", "mlp(hidden=[8])")
    assert [call for call in calls if call[0] == "log"] == [("log", 3 * e.epoch, e.loss) for e in report.epochs]
    assert calls[-1] == ("finish", 0)
    assert run.summary["test_score"] == report.test_score
