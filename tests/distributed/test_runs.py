"""Runs of two processes, started by torchrun as a user would."""

from dataclasses import replace
from pathlib import Path

import torch
from distributed.launch import TESTS, torchrun
from safetensors.torch import load_file

from rheobase.training import Experiment, fit

SMALL = Experiment(
    data="digits(steps=3, limit=120, evaluation_limit=60)", model="mlp(hidden=[12])", rule="sltt(steps=2)",
    epochs=1, batch_size=20, learning_rate=0.01, device="cpu",
)  # fmt: skip
SOON = 180  # seconds, on the busiest machine; a hang would take half an hour


def test_two_processes_train_what_one_does_and_speak_with_one_voice(tmp_path: Path) -> None:
    fields = {name.replace("_", "-"): value for name, value in vars(SMALL).items()}
    options = [
        f"--{name}={fields[name]}" for name in ("data", "model", "rule", "epochs", "batch-size", "learning-rate")
    ]
    done = torchrun("-m", "rheobase", "train", *options, "--device=cpu", "--threads=1", "--out=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1/1") == 1
    assert done.stdout.count("test accuracy") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    found, expected = load_file(tmp_path / "run" / "weights.safetensors"), fit(SMALL).model.state_dict()
    start = fit(replace(SMALL, learning_rate=1e-30)).model.state_dict()
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=1e-5)
    assert max(float((expected[name] - start[name]).abs().max()) for name in start if name.endswith("weight")) > 1e-2


def test_an_error_in_one_process_ends_all_and_only_the_first_writes(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text(SMALL.to_json())
    done = torchrun(TESTS / "distributed" / "failing.py", tmp_path, tmp_path / "experiment.json", seconds=SOON)
    assert done.returncode != 0
    assert "ArithmeticError: the second process cannot go on" in done.stderr
    assert "nobody failed" not in done.stdout
    assert (tmp_path / "0" / "config.json").exists()
    assert not (tmp_path / "1").exists()


def test_a_process_that_dies_ends_the_run(tmp_path: Path) -> None:
    done = torchrun(TESTS / "distributed" / "dying.py", seconds=SOON)
    assert done.returncode != 0
    assert "exitcode  : 7" in done.stderr
    assert "nobody died" not in done.stdout
