"""A signal during evaluation is heeded before the next batch of it, and the run goes on as if it never came."""

import os
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.models import MODELS
from rheobase.training import Experiment, Interrupted, fit, resume
from rheobase.training.checkpoints import Checkpoints
from rheobase.training.history import read_run

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'rheobase[digits]'")
SETTINGS = {
    "data": "digits(steps=1, limit=90, evaluation_limit=60)", "model": "alarmed", "rule": "sltt", "epochs": 2,
    "batch_size": 15, "device": "cpu",
}  # fmt: skip
BATCHES = 4  # of the validation part, and of the test part


class Alarm(nn.Module):
    """Passes on what it gets, counts the batches of evaluation, and sends a signal in one of them."""

    def __init__(self):
        super().__init__()
        self.seen, self.at, self.number = 0, None, signal.SIGTERM

    def forward(self, x):
        if not self.training:
            self.seen += 1
            if self.seen == self.at:
                os.kill(os.getpid(), self.number)
        return x


@pytest.fixture
def alarm(monkeypatch):
    """The first layer of a net, of which `fit` and `resume` make no other."""
    made = Alarm()

    def alarmed(shape, classes):
        hidden = nn.Linear(64, 12), nn.BatchNorm1d(12), rb.LIF(), nn.Dropout(0.2)
        return nn.Sequential(made, nn.Flatten(), *hidden, nn.Linear(12, classes))

    monkeypatch.setitem(MODELS, "alarmed", alarmed)
    return made


def state_of(report):
    times = {"seconds": 0, "samples_per_second": 0, "peak_memory": 0}
    return report.model.state_dict(), [replace(epoch, **times) for epoch in report.epochs], report.test_score


@pytest.mark.parametrize(
    ("at", "epochs_done"),
    [(2, 0), (1 + BATCHES - 1, 0), (2 + BATCHES, 1), (2 * (1 + BATCHES) - 1, 1), (2 * (1 + BATCHES) + 2, 2)],
    ids=["its first batch", "its last but one", "the firing rates", "the last epoch", "the test part"],
)
def test_a_signal_in_evaluation_stops_before_its_next_batch_and_loses_nothing(tmp_path, alarm, at, epochs_done):
    whole = state_of(fit(Experiment(**SETTINGS), tmp_path / "whole"))
    alarm.seen, alarm.at = 0, at
    with pytest.raises(Interrupted, match="SIGTERM"):
        fit(Experiment(**SETTINGS), tmp_path / "run")
    assert alarm.seen == at
    assert Checkpoints(tmp_path / "run").read(print)["epoch"] == epochs_done
    assert read_run(tmp_path / "run", "run").state == f"stopped {epochs_done}/2"
    alarm.at = None
    weights, epochs, score = state_of(resume(tmp_path / "run"))
    assert all(torch.equal(weights[name], value) for name, value in whole[0].items())
    assert (epochs, score) == whole[1:]


def test_an_interrupt_in_evaluation_has_its_own_exit_code(alarm):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    alarm.at, alarm.number = 2, signal.SIGINT
    with pytest.raises(Interrupted) as stopped:
        fit(Experiment(**SETTINGS))
    signal.signal(signal.SIGINT, before)
    assert stopped.value.exit_code == 130
