import math

import pytest
from report import folders as made
from report.reading import headline, read, sections, table_with

from rheobase.report import report


def facts(page):
    parsed = read(page)
    return dict(zip([each.text for each in parsed.all("dt")], [each.text for each in parsed.all("dd")], strict=True))


def test_the_first_sentence_says_what_the_run_came_to(tmp_path):
    page = report([made.run(tmp_path / "mine", result=made.DONE)])
    assert headline(page) == "sltt reaches 87.50 % test accuracy on digits, trained in 6.0 s."
    assert facts(page) == {
        "test accuracy": "87.50 %", "best validation accuracy": "90.00 %", "best epoch": "2 of 3",
        "training time": "6.0 s", "samples per second": "100", "peak memory": "1.0 MiB",
    }  # fmt: skip
    assert "What went wrong" not in str(sections(page))


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, "sltt on digits has done 3 of 5 epochs, with 90.00 % at best in validation."),
        ({"state": "stopped"}, "sltt on digits was stopped after 3 of 5 epochs, with 90.00 % at best in validation."),
        ({"state": "failed", "error": "boom"}, "sltt on digits failed after 3 of 5 epochs, with 90.00 % at best"),
    ],
)
def test_a_run_that_did_not_end_well_says_so(tmp_path, result, told):
    page = report([made.run(tmp_path / "mine", result=result)])
    assert headline(page).startswith(told)
    assert facts(page)["best epoch"] == "2 of 3"
    assert ("It failed: boom" in page.replace("</strong>", "")) == (result is not None and "error" in result)


def test_of_a_metric_that_falls_the_least_is_the_best(tmp_path):
    epochs = [made.epoch(i, validation=v) for i, v in enumerate((2.0, 1.5, 1.75), 1)]
    page = report([made.run(tmp_path / "flow", epochs, {"state": "done", "test_score": 1.25}, "endpoint error")])
    assert headline(page).startswith("sltt reaches 1.250 px test endpoint error")
    assert facts(page)["best validation endpoint error"] == "1.500 px"
    assert facts(page)["best epoch"] == "2 of 3"


def test_layers_that_are_ill_are_marked_with_the_epochs(tmp_path):
    rates = [{"a": 0.001, "b": 0.95, "c": 0.2}, {"a": 0.002, "b": 0.5, "c": 0.2}, {"a": 0.003, "b": 0.4, "c": 0.2}]
    ailments = [{"a": "dead", "b": "saturated"}, {"a": "dead"}, {"a": "dead"}]
    epochs = [made.epoch(i, rates=r, ailments=a) for i, (r, a) in enumerate(zip(rates, ailments, strict=True), 1)]
    page = report([made.run(tmp_path / "ill", epochs)])
    states = {layer: row["state"] for layer, row in table_with(page, "state").items()}
    assert states == {"a": "dead since epoch 1", "b": "saturated in 1 of 3 epochs, not at the end", "c": "fires"}
    wrong = sections(page)["What went wrong, or was left out"]
    assert "Layer a is dead after the last epoch." in wrong
    assert "Layer b" not in wrong
    assert [each for each in read(page).all("rect") if each.attributes["class"] == "band"]


def test_batches_that_were_left_out_are_counted_where(tmp_path):
    epochs = [made.epoch(1), made.epoch(2, skipped=3), made.epoch(3, skipped=1)]
    page = report([made.run(tmp_path / "run", epochs)])
    assert "4 batches were left out" in page
    assert "3 in epoch 2, 1 in epoch 3." in page


def test_settings_that_are_not_the_default_stand_out(tmp_path):
    page = report([made.run(tmp_path / "run", learning_rate=0.125)])
    chosen = table_with(page, "setting")
    assert chosen.keys() == {"rule", "learning rate", "epochs"}
    assert chosen["learning rate"]["value"] == "0.125"
    marked = {each.text for each in read(page).all("td") if each.attributes.get("class") == "changed"}
    assert marked == {"sltt", "0.125", "5"}


def test_the_command_can_be_copied(tmp_path):
    page = report([made.run(tmp_path / "run")])
    assert "rheobase train --data 'digits(steps=4)'" in read(page).one("pre").text


def test_numbers_that_are_none_are_gaps(tmp_path):
    epochs = [made.epoch(1), made.epoch(2, loss=math.nan, validation=math.inf), made.epoch(3), {"epoch": 4}]
    page = report([made.run(tmp_path / "run", epochs)])
    loss = next(
        each for each in read(page).all("svg") if each.attributes.get("aria-label", "").startswith("train loss")
    )
    assert [len(each.attributes["points"].split()) for each in loss.all("polyline")] == [1, 1]
    assert "nan" not in " ".join(str(each.attributes) for each in read(page).all())
    figures = table_with(page, "loss")
    assert figures["2"]["loss"] == "-"
    assert figures["4"]["validation accuracy"] == "-"


def test_a_run_without_a_complete_epoch_has_a_page_too(tmp_path):
    page = report([made.run(tmp_path / "run", [])])
    assert headline(page) == "sltt on digits has done 0 of 5 epochs."
    assert "No epoch was completed." in sections(page)["Learning curves"]


def test_a_last_line_cut_off_by_a_kill_is_told(tmp_path):
    folder = made.run(tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4')
    assert "line 4" in sections(report([folder]))["What went wrong, or was left out"]


def test_a_thousand_epochs_of_forty_layers_stay_small(tmp_path):
    rates = {f"layer{i}.neuron": 0.1 for i in range(40)}
    page = report([made.run(tmp_path / "run", [made.epoch(i, rates=rates) for i in range(1, 1001)])])
    assert len(page.encode()) < 2e6
