import sys
from pathlib import Path

import pytest
from report import folders as made
from report.reading import headline, sections, table_with, tables

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import cases  # noqa: E402
from benchmarks.results import load  # noqa: E402
from rheobase.report import report  # noqa: E402
from rheobase.report.records import REFERENCES, benches, records_in  # noqa: E402

RECORDED = ROOT / "benchmarks" / "results" / "cpu"
TIMES = [
    made.timed("SpikingJelly", "BPTT, single-step", 2.0), made.timed("SpikingJelly", "BPTT, multi-step", 3.0),
    made.timed("Rheobase", "SLTT()", 1.0), made.timed("Rheobase", "SLTT()", 0.5, allocator="keep"),
    made.timed("Rheobase", "run", 0.1),
]  # fmt: skip
MEMORY = [made.held("SpikingJelly", "BPTT, single-step", 1000), made.held("Rheobase", "SLTT()", 250)]


def test_the_first_sentence_sets_our_fastest_way_beside_the_reference(tmp_path):
    page = report([made.bench(tmp_path, TIMES, MEMORY)])
    assert (
        headline(page)
        == "SLTT() trains vgg 4.0 times as fast as SpikingJelly's fastest BPTT, keeping 0.25 of its memory (T = 4)."
    )


def test_each_way_has_its_better_time_and_its_bytes(tmp_path):
    rows = table_with(report([made.bench(tmp_path, TIMES, MEMORY)]), "time, relative")
    assert rows["SLTT()"] == {
        "way to train": "SLTT()", "library": "Rheobase", "time": "500 ms", "time, relative": "0.25",
        "memory kept": "250 B", "peak memory": "500 B",
    }  # fmt: skip
    assert rows["BPTT, multi-step"]["time, relative"] == "1.50"
    assert rows["run"]["memory kept"] == "-"


def test_drift_between_groups_cancels(tmp_path):
    """The machine is twice as slow while the second group runs; the reference runs in both."""
    slow = [
        made.timed("SpikingJelly", "BPTT, single-step", 4.0, group=1),
        made.timed("Rheobase", "OTTT()", 1.0, group=1),
    ]
    rows = table_with(report([made.bench(tmp_path, TIMES + slow, [])]), "time, relative")
    assert rows["OTTT()"]["time, relative"] == "0.25"
    assert rows["SLTT()"]["time, relative"] == "0.25"


def test_where_the_reference_did_not_run_no_ratio_is_told(tmp_path):
    alone = made.timed("Rheobase", "OTTT()", 1.0, group=1)
    folder = made.bench(tmp_path, [*TIMES, alone], [])
    rows = table_with(report([folder]), "time, relative")
    assert (rows["OTTT()"]["time"], rows["OTTT()"]["time, relative"]) == ("1 s", "-")
    (times,) = load([*folder.glob("*.json")]).times.values()
    assert (times["Rheobase/OTTT()"].seconds, times["Rheobase/OTTT()"].relative) == ({"default": 1.0}, {})


def test_what_did_not_run_is_named_with_its_reason(tmp_path):
    broken = made.timed("Rheobase", "OTTT()", 1.0) | {"status": "error", "reason": "it <broke>"}
    del broken["median"]
    page = report([made.bench(tmp_path, [*TIMES, broken], MEMORY)])
    assert "Rheobase: OTTT(), T = 4: error: it <broke>" in sections(page)["vgg"]


def test_a_quick_run_says_that_its_figures_mean_nothing(tmp_path):
    assert "mean nothing" in report([made.bench(tmp_path, TIMES, MEMORY, quick=True)])
    assert "mean nothing" not in report([made.bench(tmp_path, TIMES, MEMORY)])


def test_memory_alone_has_a_page_too(tmp_path):
    page = report([made.bench(tmp_path, [], [made.held("Rheobase", "SLTT()", 10, steps=t) for t in (4, 8)])])
    assert headline(page) == "1 ways to train, measured on vgg."
    assert "time" not in table_with(page, "memory kept")["SLTT()"]


def test_of_several_records_the_times_of_the_last_count_and_all_bytes(tmp_path):
    made.bench(tmp_path, TIMES, MEMORY, "late.json", date="2026-02-01T00:00:00+00:00")
    later = [made.timed("Rheobase", "SLTT()", 3.0)]
    made.bench(tmp_path, later, [made.held("Rheobase", "OTTT()", 5)], "early.json", date="2026-03-01T00:00:00+00:00")
    rows = table_with(report([tmp_path]), "way to train")
    assert rows["SLTT()"]["time"] == "3 s"
    assert (rows["SLTT()"]["memory kept"], rows["OTTT()"]["memory kept"]) == ("250 B", "5 B")


def test_figures_of_another_batch_are_not_mixed_with_the_last_ones(tmp_path):
    made.bench(tmp_path, TIMES, MEMORY, "first.json", date="2026-02-01T00:00:00+00:00")
    later = [row | {"batch": 16} for row in TIMES[:3]]
    made.bench(tmp_path, later, [], "second.json", date="2026-03-01T00:00:00+00:00")
    ((_, bench),) = benches(records_in(tmp_path)).items()
    assert bench.batch == 16
    assert {key: case.kept for key, case in bench.cases.items()} == {
        (row["library"], row["case"]): None for row in later
    }


def test_what_ran_in_a_later_record_is_no_longer_told_as_not_run(tmp_path):
    broken = made.timed("Rheobase", "SLTT()", 1.0) | {"status": "error", "reason": "it broke"}
    del broken["median"]
    made.bench(tmp_path, [broken], [], "first.json", date="2026-02-01T00:00:00+00:00")
    assert "it broke" in report([tmp_path])
    made.bench(tmp_path, TIMES, [], "second.json", date="2026-03-01T00:00:00+00:00")
    assert "it broke" not in report([tmp_path])


def test_the_references_are_those_of_the_benchmarks():
    keys = [f"{library}/{name}" for library, names in REFERENCES.items() for name in names]
    assert tuple(keys) == cases.REFERENCES + cases.PLAIN_REFERENCES


@pytest.mark.parametrize("name", ["vgg.json", "vgg-32.json", "mlp.json", "resnet18.json", "recurrent.json"])
def test_recorded_ratios_are_those_of_the_benchmarks_own_report(name, tmp_path):
    (tmp_path / name).write_bytes((RECORDED / name).read_bytes())
    expected = load([RECORDED / name])
    found = benches(records_in(tmp_path))
    ratios = {
        (place, f"{key[0]}/{key[1]}"): case.relative for place, b in found.items() for key, case in b.cases.items()
    }
    known = {
        (place, key): t.best for place, each in expected.times.items() for key, t in each.items() if t.best is not None
    }
    assert known
    assert {key: value for key, value in ratios.items() if value is not None} == pytest.approx(known)


def test_the_recorded_benchmarks_make_a_page_of_moderate_size():
    page = report([RECORDED])
    assert len(page.encode()) < 5e5
    assert any("vgg, T = 32" in caption for caption in tables(page))
