import json

import pytest
from report import folders as made
from report.reading import headline, read, sections, table_with

from rheobase.cli import main
from rheobase.report import report


def page_of(tmp_path, *rules, metric="accuracy"):
    return report([made.comparison(tmp_path / "c", list(rules), metric)])


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (
            [made.rule("bptt", [0.9]), made.rule("sltt", [0.895], kept=200), made.rule("ottt", [0.905], kept=300)],
            "sltt learns as well as bptt (89.50 % against 90.00 %), keeping 0.2 of its memory for the backward pass.",
        ),
        (
            [made.rule("bptt", [0.9]), made.rule("sltt", [0.8], kept=200), made.rule("ottt", [0.7], kept=100)],
            "No rule learns as well as bptt (90.00 %) with less memory. Next is sltt: 80.00 %, keeping 0.2 of its "
            "memory for the backward pass.",
        ),
        (
            [made.rule("bptt", [0.9]), made.rule("ottt", [0.9], kept=1500)],
            "ottt learns as well as bptt (90.00 % against 90.00 %), keeping 1.5 times its memory for the backward "
            "pass.",
        ),
        ([made.rule("ottt", [0.7]), made.rule("sltt", [0.8])], "sltt does best: 80.00 %."),
        ([made.rule("bptt", [0.8])], "bptt does best: 80.00 %."),
        ([{"rule": "bptt", "refusal": "no"}], "Every rule refused."),
    ],
)
def test_the_first_sentence_says_which_rule_is_worth_it(tmp_path, rules, told):
    assert headline(page_of(tmp_path, *rules)) == told


def test_rules_are_told_apart_by_the_spread_of_their_seeds(tmp_path):
    near = made.rule("sltt", [0.8, 0.9], kept=100)  # 0.85 +- 0.07
    assert headline(page_of(tmp_path, made.rule("bptt", [0.9, 0.9]), near)).startswith("sltt learns as well")
    apart = made.rule("sltt", [0.85, 0.85], kept=100)
    assert headline(page_of(tmp_path, made.rule("bptt", [0.9, 0.9]), apart)).startswith("No rule learns as well")


def test_of_a_metric_that_falls_the_least_is_the_best(tmp_path):
    page = page_of(tmp_path, made.rule("ottt", [1.5]), made.rule("sltt", [1.25]), metric="endpoint error")
    assert headline(page) == "sltt does best: 1.250 px."


def test_validation_has_a_metric_of_its_own(tmp_path):
    folder = made.comparison(tmp_path, [made.rule("sltt", [1.25])], "endpoint error")
    found = json.loads((folder / "results.json").read_text())
    made.write(folder / "results.json", found | {"metrics": {"test": "endpoint error", "validation": "flow loss"}})
    page = report([folder])
    assert table_with(page, "seed")["sltt"]["test endpoint error"] == "1.250 px"
    assert table_with(page, "seed")["sltt"]["validation"] == "0.9000"
    assert "validation flow loss, by epoch" in page


def test_the_table_has_mean_and_spread_memory_and_cosines(tmp_path):
    page = page_of(
        tmp_path, made.rule("bptt", [0.9, 0.8], kept=4096), made.rule("sltt", [0.5, 0.5], kept=1024, seconds=61)
    )
    rows = table_with(page, "of bptt's")
    assert rows["bptt"] == {
        "rule": "bptt", "test accuracy": "85.00 ± 7.07 %", "time": "4.0 s", "kept": "4.0 KiB", "of bptt's": "1.00",
        "peak": "12.0 KiB", "cosine, start": "0.500", "cosine, end": "0.250",
    }  # fmt: skip
    assert (rows["sltt"]["of bptt's"], rows["sltt"]["time"]) == ("0.25", "1:01 min")
    assert len(sections(page)["Each seed"].split("sltt")) == 3


def test_a_rule_that_refused_is_named_with_its_reason(tmp_path):
    page = page_of(tmp_path, made.rule("bptt", [0.9]), {"rule": "picky", "refusal": "no model is good enough"})
    assert "picky: no model is good enough" in sections(page)["Rules that refused"]


def test_curves_are_there_by_epoch_and_by_time(tmp_path):
    page = page_of(tmp_path, made.rule("bptt", [0.9]), made.rule("sltt", [0.9]))
    told = [each.attributes["aria-label"] for each in read(page).all("svg") if "aria-label" in each.attributes]
    assert (
        "validation accuracy, %, by epoch, epoch along: bptt from 50 at 1 to 75 at 2; sltt from 50 at 1 to 75 at 2"
        in told
    )
    assert any("seconds of training along: bptt from 50 at 2 to 75 at 4" in each for each in told)


def test_cosines_have_the_colour_of_their_place_on_the_scale(tmp_path):
    looks = {-0.5: "h0", 0.0: "h1", 0.59: "h2", 0.6: "h3", 0.96: "h6", 1.0000001: "h7"}
    for value, look in looks.items():
        page = page_of(tmp_path / str(value), made.rule("sltt", [0.5], cosines=(value, value)))
        heat = next(each for each in read(page).all("table") if each.attributes.get("class") == "heat")
        (cell,) = heat.all("td")
        assert cell.attributes["class"] == f"n {look}"
        assert cell.text == f"{value:.3f}"


def test_compare_ends_by_writing_the_page_and_saying_where(tmp_path, capsys):
    words = ["--data", "digits(limit=120, evaluation_limit=60)", "--steps", "2", "--model", "mlp(hidden=[8])"]
    out = tmp_path / "a long name of a folder, so long that a terminal would fold it onto the next line" / "out"
    assert main(["compare", "bptt", "sltt", *words, "--epochs", "1", "--device", "cpu", "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Report: {out / 'report.html'}"
    page = (out / "report.html").read_text()
    score = json.loads((out / "results.json").read_text())["rules"][1]["runs"][0]["test_score"]
    assert table_with(page, "kept")["sltt"]["test accuracy"] == f"{100 * score:.2f} %"
