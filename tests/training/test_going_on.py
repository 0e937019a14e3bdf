"""What a run needs to go on, what it says then, and who may write in its folder."""

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rheobase.measure import comparison
from rheobase.training import Experiment, Silent, fit, loop, resume
from rheobase.training.files import CHECKPOINT, PREVIOUS
from rheobase.training.held import held

SMALL = Experiment(
    data="digits(steps=2, limit=64, evaluation_limit=32)", model="mlp(hidden=[8])", rule="sltt", epochs=2,
    batch_size=32, device="cpu",
)  # fmt: skip


class Stops(Silent):
    def batch(self, epoch: int, batch: int, loss: float, samples_per_second: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


class Hears(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_run_goes_on_without_the_run_whose_weights_it_started_from(tmp_path: Path) -> None:
    fit(SMALL, tmp_path / "first")
    tuned = replace(SMALL, weights=str(tmp_path / "first"), seed=1)
    whole = fit(tuned)
    with pytest.raises(KeyboardInterrupt):
        fit(tuned, tmp_path / "second", Stops())
    shutil.rmtree(tmp_path / "first")
    report = resume(tmp_path / "second")
    assert report.experiment == tuned
    assert [epoch.loss for epoch in report.epochs] == [epoch.loss for epoch in whole.epochs]
    assert report.epochs[0].loss != fit(replace(tuned, weights=None)).epochs[0].loss


def test_a_run_goes_on_with_its_own_data_alone(tmp_path: Path) -> None:
    data = SMALL.load_data()
    own = replace(data, train=data.train.select(torch.arange(63, -1, -1)))
    whole = fit(SMALL, data=own)
    with pytest.raises(KeyboardInterrupt):
        fit(SMALL, tmp_path, Stops(), data=own)
    with pytest.raises(ValueError, match=r"not those with which .* began \(train: 64 samples, labels \w+ then"):
        resume(tmp_path)
    report = resume(tmp_path, data=own)
    assert [epoch.loss for epoch in report.epochs] == [epoch.loss for epoch in whole.epochs]
    assert report.epochs[0].loss != fit(SMALL).epochs[0].loss


@pytest.mark.parametrize("wrong", [{"weights": "nowhere"}, {"model": "convnet"}, {"data": "mnist(root='nowhere')"}])
def test_what_a_refused_run_would_have_replaced_is_still_there(wrong: dict[str, str], tmp_path: Path) -> None:
    report = fit(SMALL, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises((ValueError, FileNotFoundError)):
        fit(replace(SMALL, **wrong), tmp_path, overwrite=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    own = fit(replace(SMALL, weights=str(tmp_path)), tmp_path, overwrite=True)  # from what it replaces
    assert own.epochs[0].loss < report.epochs[0].loss


def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    class Intrudes(Silent):
        def batch(self, epoch: int, batch: int, loss: float, samples_per_second: float) -> None:
            for other in (lambda: fit(SMALL, tmp_path, overwrite=True), lambda: resume(tmp_path)):
                with pytest.raises(FileExistsError, match="Another process is training"):
                    other()

    fit(SMALL, tmp_path, Intrudes())
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert resume(tmp_path).epochs[-1].epoch == 2


def test_a_process_that_is_killed_holds_nothing_any_more(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from rheobase.training.held import held\n"
        "with held(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    with other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(FileExistsError), held(tmp_path):
            pass
        other.kill()
    with held(tmp_path) as folder:
        assert folder == tmp_path


def test_a_run_that_goes_on_says_what_is_not_as_it_was(tmp_path: Path) -> None:
    fit(SMALL, tmp_path)
    same, other = Hears(), Hears()
    resume(tmp_path, same)
    assert same.said == []
    config = json.loads((tmp_path / "config.json").read_text())
    config["versions"]["torch"] = "2.0"
    config["resolved"]["rule"] = "sltt(steps=7)"
    (tmp_path / "config.json").write_text(json.dumps(config))
    resume(tmp_path, other)
    (said,) = other.said
    assert "torch 2.0 then" in said
    assert "rule sltt(steps=7) then" in said


@pytest.mark.parametrize(("option", "value"), [("save_every", -1.0), ("log_every", 0), ("threads", 0)])
def test_a_wrong_option_takes_nothing_from_a_run_that_is_done(option: str, value: float, tmp_path: Path) -> None:
    fit(SMALL, tmp_path)
    with pytest.raises(ValueError, match=option):
        resume(tmp_path, **{option: value})  # type: ignore[arg-type]
    assert json.loads((tmp_path / "result.json").read_text())["state"] == "done"


def test_an_epoch_without_a_score_is_never_the_best_of_several() -> None:
    made = loop.Loop(SMALL, SMALL.load_data())
    for epoch, score in enumerate((math.nan, 0.5, math.nan, 0.25), 1):
        made._keep_if_best(score, epoch)
    assert (made.best_epoch, made.best_score) == (2, 0.5)


def test_samples_per_second_count_what_the_data_take_and_not_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def passes(seconds: float):  # type: ignore[no-untyped-def]
        def transform(xs, target, generator):  # type: ignore[no-untyped-def]
            now[0] += seconds
            return xs, target

        return transform

    data = SMALL.load_data()
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    slow = replace(
        data,
        train=data.train.transformed(passes(4.0)),
        validation=data.validation.transformed(passes(100.0)),
    )
    report = fit(SMALL, data=slow)
    assert [epoch.seconds for epoch in report.epochs] == [8.0, 8.0]
    assert [epoch.samples_per_second for epoch in report.epochs] == [8.0, 8.0]


def test_a_comparison_takes_up_a_run_whose_newest_checkpoint_a_kill_left_as_the_one_before(tmp_path: Path) -> None:
    data, place = SMALL.load_data(), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        comparison.trained(SMALL, data, Stops(), place)
    (place / CHECKPOINT).replace(place / PREVIOUS)
    seen: list[int] = []

    class Counts(Silent):
        def batch(self, epoch: int, batch: int, loss: float, samples_per_second: float) -> None:
            seen.append(epoch)

    comparison.trained(SMALL, data, Counts(), place)
    assert set(seen) == {2}


def test_a_comparison_starts_from_the_weights_that_its_runs_start_from(tmp_path: Path) -> None:
    fit(SMALL, tmp_path)
    tuned = replace(SMALL, weights=str(tmp_path), seed=1)
    model, *_ = comparison.first_batch(tuned, SMALL.load_data())
    started = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(value, started[name]) for name, value in model.state_dict().items())
