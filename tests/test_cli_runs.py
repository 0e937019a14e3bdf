import json
import math
import os
import re
import time

import pytest
from rich.console import Console
from safetensors.torch import load_file

from rheobase.cli import main, runs
from rheobase.cli.repeating import repeated
from rheobase.training import Experiment
from rheobase.training.history import find_runs, read_run

LONG_AGO = time.time() - 86_400
SMALL = [
    "--data", "digits(limit=120, evaluation_limit=60)", "--steps", "3", "--model", "mlp(hidden=[12])", "--epochs", "2",
    "--device", "cpu",
]  # fmt: skip


def make(folder, *, scores=(0.5, 0.75), test=None, state=None, date="2026-01-02T03:04:05+00:00", old=True, **changes):
    """A folder as a run leaves it."""
    folder.mkdir(parents=True)
    settings = Experiment(epochs=9).settings() | changes
    config = {
        "experiment": settings, "date": date, "commit": "0123456789abcdef-dirty", "threads": 1,
        "metrics": {"train": "accuracy", "validation": "accuracy", "test": "accuracy"}, "versions": {"torch": "2.0"},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    epochs = [
        {"epoch": i, "loss": 1 / i, "validation_score": score, "seconds": 40.0} for i, score in enumerate(scores, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    if test is not None:
        (folder / "result.json").write_text(json.dumps({"state": "done", "test_score": test}))
    elif state is not None:
        (folder / "result.json").write_text(json.dumps({"state": state, "error": "it broke"}))
    for file in folder.iterdir():
        if old:
            os.utime(file, (LONG_AGO, LONG_AGO))
    return folder


@pytest.fixture
def many(tmp_path):
    top = tmp_path / "runs"
    make(top / "b-best", test=0.9, scores=(0.5, 0.95, 0.7), date="2026-03-01T12:00:00+00:00", rule="sltt")
    make(top / "a-first", test=0.7, date="2026-01-01T12:00:00+00:00")
    make(top / "sweep" / "killed", scores=(0.2,), date="2026-02-01T12:00:00+00:00")
    return top


def listed(capsys, *words):
    """The lines of `rheobase runs`, and the first word of each after the title."""
    assert main(["runs", *map(str, words)]) == 0
    lines = capsys.readouterr().out.splitlines()
    return lines, [line.split()[0] for line in lines[1:] if line.strip()]


def test_runs_are_listed_by_date_with_what_came_out(many, capsys):
    lines, names = listed(capsys, many)
    assert names == ["a-first", "sweep/killed", "b-best"]
    assert re.search(r"done +bptt +mlp +digits +75.00 % +70.00 % +1:20 +0123456789-dirty$", lines[1])
    assert re.search(r"stopped 1/9 +bptt +mlp +digits +20.00 % +40.0 s", lines[2])
    assert "95.00 %" in lines[3]


@pytest.mark.parametrize(
    ("field", "order"),
    [
        ("test", ["sweep/killed", "a-first", "b-best"]),
        ("validation", ["sweep/killed", "a-first", "b-best"]),
        ("run", ["a-first", "b-best", "sweep/killed"]),
        ("seconds", ["sweep/killed", "a-first", "b-best"]),
        ("rule", ["a-first", "sweep/killed", "b-best"]),
    ],
)
def test_a_list_is_sorted_by_any_field_with_the_largest_last_and_the_unknown_first(many, capsys, field, order):
    assert listed(capsys, many, "--sort", field)[1] == order


def test_the_state_tells_how_a_run_ended_or_that_it_may_go_on(tmp_path):
    assert read_run(make(tmp_path / "a", test=0.5), "a").state == "done"
    assert read_run(make(tmp_path / "b", state="failed"), "b").state == "failed 2/9"
    assert read_run(make(tmp_path / "c", state="stopped", old=False), "c").state == "stopped 2/9"
    assert read_run(make(tmp_path / "d"), "d").state == "stopped 2/9"
    assert read_run(make(tmp_path / "e", old=False), "e").state == "running? 2/9"


def test_a_run_that_is_done_is_so_also_where_another_file_is_damaged(tmp_path):
    folder = make(tmp_path / "a", test=0.5)
    (folder / "metrics.jsonl").write_text("?\n{}\n")
    run = read_run(folder, "a")
    assert (run.state, run.result["test_score"]) == ("done", 0.5)
    assert "line 1 is no JSON" in run.notes[0]


def test_the_best_score_of_a_metric_that_should_be_low_is_the_lowest(tmp_path):
    folder = make(tmp_path / "a", scores=(0.9, 0.4, 0.6))
    config = json.loads((folder / "config.json").read_text())
    config["metrics"] = {"validation": "endpoint error"}
    (folder / "config.json").write_text(json.dumps(config))
    assert read_run(folder, "a").validation == 0.4


def test_broken_foreign_and_half_written_folders_are_named_and_the_rest_is_listed(many, capsys):
    (many / "empty").mkdir()
    (many / "foreign").mkdir()
    (many / "foreign" / "notes.txt").write_text("mine")
    for name, text in {
        "cut": '{"experiment": {', "list": "[]", "no-experiment": "{}", "text": '{"experiment": "x"}',
        "deep": "[" * 100_000, "binary": "\xff\x00",
    }.items():  # fmt: skip
        (many / name).mkdir()
        (many / name / "config.json").write_bytes(text.encode("latin1"))
    make(many / "cut-metrics", date="2026-05-01T12:00:00+00:00")
    with (many / "cut-metrics" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')
    make(many / "odd", date="soon", scores=())
    config = {
        "experiment": {"rule": 3, "epochs": [], "model": None},
        "date": 7,
        "commit": {},
        "metrics": 1,
        "versions": 2,
    }
    (many / "odd" / "config.json").write_text(json.dumps(config))
    (many / "odd" / "metrics.jsonl").write_text('{"validation_score": "high", "loss": null, "seconds": NaN}\n')
    (many / "odd" / "result.json").write_text("{")
    make(many / "huge", date="0001-01-01T00:00:00-23:59")
    line = f'{{"validation_score": 1{"0" * 400}, "loss": {"9" * 400}, "seconds": Infinity}}'
    (many / "huge" / "metrics.jsonl").write_text(line + "\n")
    lines, _ = listed(capsys, many)
    said = {line.partition(": ")[0]: line.partition(": ")[2] for line in lines if ": " in line}
    assert said["foreign"] == "no run (no config.json)"
    assert said.keys() >= {"cut", "list", "no-experiment", "text", "deep", "binary", "cut-metrics", "odd"}
    assert "empty" not in said
    table = "\n".join(lines)
    assert re.search(r"cut-metrics +2026-05-01 .* 75.00 %", table)
    assert "b-best" in table
    for sort in ("validation", "seconds", "commit", "date"):
        assert len(listed(capsys, many, "--sort", sort)[0]) == len(lines)
    assert listed(capsys, many / "odd", many / "b-best", many / "huge")[0]


def test_a_loss_that_was_no_number_is_shown_as_such(tmp_path, capsys):
    folder = make(tmp_path / "a", state="failed")
    (folder / "metrics.jsonl").write_text('{"epoch": 1, "loss": NaN, "validation_score": 0.5}\n')
    lines, _ = listed(capsys, folder)
    assert [line.split() for line in lines if line.startswith("1 ")] == [["1", "nan", "50.00", "%"]]


def test_within_a_run_nothing_is_searched_and_hidden_folders_are_left_alone(many):
    (many / "a-first" / "tensorboard").mkdir()
    (many / "a-first" / "tensorboard" / "events").write_text("")
    (many / ".git").mkdir()
    (many / ".git" / "config").write_text("")
    (many / "README").write_text("above runs")
    assert find_runs(many)[1] == {}


def test_a_list_is_json_where_asked_for(many, capsys):
    (many / "foreign").mkdir()
    (many / "foreign" / "notes.txt").write_text("mine")
    assert main(["runs", str(many), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["run"] for run in found["runs"]] == ["a-first", "sweep/killed", "b-best"]
    assert found["runs"][2]["validation"] == 0.95
    assert found["runs"][1]["test"] is None
    assert found["others"] == {"foreign": "no config.json"}


def not_json(word):
    raise ValueError(f"{word} is no JSON.")


def test_the_json_of_runs_has_null_for_what_is_no_number(tmp_path, capsys):
    folder, other = make(tmp_path / "a", test=math.nan), make(tmp_path / "b", test=0.5)
    (folder / "metrics.jsonl").write_text('{"epoch": 1, "loss": NaN, "validation_score": NaN, "seconds": Infinity}\n')
    for words in ([tmp_path, "--sort", "test"], [folder, other]):
        assert main(["runs", *map(str, words), "--json"]) == 0
        runs = json.loads(capsys.readouterr().out, parse_constant=not_json)["runs"]
        assert [(run["run"][-1], run["test"], run["seconds"]) for run in runs] == [("a", None, None), ("b", 0.5, 80.0)]


def test_what_looks_like_markup_in_settings_is_shown_as_it_is(tmp_path, capsys):
    folders = [
        make(tmp_path / name, **{"epochs": epochs, "[/b]": epochs}) for name, epochs in (("a", "[/x]"), ("b", 3))
    ]
    lines, _ = listed(capsys, *folders)
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.split()}
    assert rows["epochs"] == rows["[/b]"] == ["[/x]", "3"]
    assert rows["state"] == ["stopped", "2/[/x]", "stopped", "2/3"]


def test_a_device_that_the_folder_does_not_tell_of_is_that_of_the_settings(tmp_path, capsys):
    folders = [make(tmp_path / name, device=name) for name in ("cpu", "cuda")]
    lines, _ = listed(capsys, *folders)
    assert ["device", "cpu", "cuda"] in [line.split() for line in lines]


def test_a_comparison_shows_the_settings_that_differ_and_the_curves_side_by_side(many, capsys):
    lines, _ = listed(capsys, many / "a-first", many / "b-best")
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.split()}
    assert rows["rule"] == ["bptt", "sltt"]
    assert not rows.keys() & {"model", "epochs", "torch", "commit"}
    assert rows["1"] == ["1.0000", "50.00", "%", "1.0000", "50.00", "%"]
    assert rows["3"] == ["0.3333", "70.00", "%"]
    assert rows["best"] == ["75.00", "%", "95.00", "%"]
    assert rows["test"] == ["70.00", "%", "90.00", "%"]
    assert main(["runs", str(many / "a-first"), str(many / "b-best"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differing"] == {"rule": ["bptt", "sltt"]}
    assert [len(run["epochs"]) for run in found["runs"]] == [2, 3]


def test_long_curves_are_thinned_out_to_rows_that_include_both_ends(tmp_path, capsys):
    folder = make(tmp_path / "a", scores=[i / 1000 for i in range(137)])
    lines, _ = listed(capsys, folder)
    numbers = [int(line.split()[0]) for line in lines if re.match(r"\d+ +\d\.\d{4} ", line)]
    assert (numbers[0], numbers[-1], len(numbers)) == (1, 137, 20)
    assert len(set(numbers)) == 20


@pytest.mark.parametrize("width", [40, 80, 300])
def test_a_terminal_of_any_width_shows_everything(many, capsys, monkeypatch, width):
    def narrow(**options):
        return Console(**options | {"force_terminal": True, "width": width, "color_system": None})

    monkeypatch.setattr(runs, "Console", narrow)
    lines, _ = listed(capsys, many)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for part in ("a-first", "sweep/killed", "b-best", "stopped 1/9", "95.00 %", "1:20", "0123456789-dirty", "sltt"):
        assert part in text
    assert "…" not in text


def test_what_is_no_folder_or_no_run_is_one_clean_line(many, capsys):
    assert main(["runs", str(many / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(["runs", str(many / "a-first"), str(many)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_made_again_from_its_folder_has_the_same_weights_bit_by_bit(tmp_path, capsys):
    first, again, other = (str(tmp_path / name) for name in ("first", "again", "other"))
    assert main(["train", *SMALL, "--rule", "sltt(steps=1)", "--threads", "1", "--out", first]) == 0
    capsys.readouterr()
    assert main(["train", "--from", first, "--out", again]) == 0
    assert "note:" not in capsys.readouterr().err
    assert main(["train", f"--from={first}", "--seed", "1", "--steps", "2", "--out", other]) == 0
    weights = [load_file(f"{folder}/weights.safetensors") for folder in (first, again, other)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert not all((weights[0][name] == weights[2][name]).all() for name in weights[0])
    settings = [json.loads((tmp_path / name / "config.json").read_text())["experiment"] for name in ("first", "other")]
    assert settings[1]["data"] == "digits(limit=120, evaluation_limit=60, steps=2)"
    assert settings[1] == settings[0] | {"seed": 1, "data": settings[1]["data"]}


def test_what_is_not_as_it_was_is_said_before_a_run_is_made_again(tmp_path, capsys):
    folder = make(tmp_path / "old", data="digits(limit=120, evaluation_limit=60, steps=3)", model="mlp(hidden=[12])")
    words = ["train", "--from", str(folder), "--epochs", "1", "--device", "cpu"]
    assert main([*words, "--threads", "1", "--out", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().err
    assert said.startswith(f"note: Not as in {folder}")
    assert "torch 2.0 then" in said
    assert "commit 0123456789abcdef-dirty then" in said
    assert "threads" not in said


@pytest.mark.parametrize(
    ("cores", "flags", "expected"),
    [
        (8, ["--epochs", "3"], ["--epochs", "3", "--threads", "5"]),
        (8, ["--threads=2"], ["--threads=2"]),
        (4, [], []),
    ],
)
def test_a_run_is_made_again_with_as_many_threads_where_there_are_that_many(
    cores, flags, expected, tmp_path, capsys, monkeypatch
):
    folder = make(tmp_path / "run")
    config = json.loads((folder / "config.json").read_text()) | {"threads": 5}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert repeated(folder, flags)[1] == expected
    assert ("threads 5 then" in capsys.readouterr().err) == ("5" not in expected)


def test_a_run_of_a_gpu_is_made_again_without_one_where_it_is_said(tmp_path, capsys):
    folder = make(tmp_path / "gpu", device="cuda", data="digits(limit=60, evaluation_limit=30, steps=2)")
    words = ["train", "--from", str(folder), "--set", "device=cpu", "epochs=1", "--out", str(tmp_path / "new")]
    assert main(words) == 0
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert config["experiment"]["device"] == "cpu"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "{run}"], "written by rheobase 0.0.1: Unknown setting 'lr'"),
        (["--from", "{run}/nowhere"], "config.json"),
        (["--from"], "--from expects a value"),
        (["sltt-cifar10", "--from", "{run}"], "not from both"),
    ],
)
def test_a_run_that_cannot_be_made_again_is_one_clean_line(words, message, tmp_path, capsys):
    make(tmp_path / "run", lr=0.1)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["versions"]["rheobase"] = "0.0.1"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert main(["train", *[word.format(run=tmp_path / "run") for word in words]]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_torchrun_hands_every_flag_of_train_on(capsys):
    from torch.distributed.run import get_args_parser

    with pytest.raises(SystemExit):
        main(["train", "--help"])
    flags = set(re.findall(r"(?<=[ ,])--[a-z][a-z-]+", capsys.readouterr().out)) | {"--from", "--set"}
    assert len(flags) > 20
    for flag in sorted(flags - {"--help"}):
        words = ["train", flag, "x"]
        assert get_args_parser().parse_args(["-m", "rheobase", *words]).training_script_args == words
