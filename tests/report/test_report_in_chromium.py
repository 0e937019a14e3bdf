"""The pages in a real browser, where there is one: `apt-get install chromium`, or any Chrome on the path."""

import pytest
from report import folders as made
from report.chromium import PROGRAM, chromium

from rheobase.report import write_report

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium")]
COLUMN = "Array.from(document.querySelectorAll('table')[0].tBodies[0].rows, row => row.cells[{}].textContent)"
HEAD = "document.querySelectorAll('table')[0].tHead.rows[0].cells[{}]"
LONG = "s-tllr(decay_pre=0.95, acausal=0.2, signal=dfa)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    top = tmp_path_factory.mktemp("pages")
    rates = {f"stage{i}.block{i}.neuron": 0.01 * i for i in range(12)}
    run = made.run(top / "run", [made.epoch(i, rates=rates, skipped=1) for i in range(1, 41)], made.DONE, rule=LONG)
    (run / "confusion.png").write_bytes(made.png(1500, 20))
    rules = [
        made.rule("bptt", [0.9, 0.8], kept=2**20),
        made.rule(LONG, [0.5, 0.6], kept=9),
        made.rule("x", [0.7], kept=1e9),
    ]
    comparison = made.comparison(
        top / "comparison", [*rules, {"rule": "no", "refusal": "<script>document.title=1</script>"}]
    )
    audited = [made.audited(f"rule{i}{LONG}", 0.1 * i, "partly aligned", "; why " * 30) for i in range(12)]
    audit = made.audit(top / "audit", [made.moment("start", 0, audited), made.moment("epoch 3", 3, audited)])
    times = [made.timed("SpikingJelly", "BPTT, single-step", 2.0, steps=t) for t in (4, 8)]
    bench = made.bench(top / "bench", times, [made.held("Rheobase", "SLTT()", 10, steps=t) for t in (4, 8)])
    each = [run, comparison, audit, bench]
    return {folder.name: write_report([folder]) for folder in each} | {"all": write_report(each, top / "all.html")}


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [
        *((name, 390, True) for name in ("run", "comparison", "audit", "bench")),
        ("all", 390, False),
        ("all", 1280, False),
    ],
)
def test_a_page_opens_without_a_word_a_request_or_a_scroll_bar_of_its_own(browser, pages, name, width, dark):
    browser.said.clear()
    browser.asked.clear()
    browser.open(pages[name], width=width, dark=dark)
    assert browser.said == []
    assert [url for url in browser.asked if not url.startswith("data:")] == [pages[name].resolve().as_uri()]
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("getComputedStyle(document.body).backgroundColor") == (
        "rgb(18, 22, 27)" if dark else "rgb(246, 247, 249)"
    )
    assert browser.value("document.title").endswith("Rheobase")
    assert browser.value("[...document.images].every(image => image.naturalWidth > 0)")


def test_a_click_sorts_a_column_and_another_one_turns_it(browser, pages):
    browser.open(pages["comparison"])
    assert browser.value(COLUMN.format(0)) == ["bptt", LONG, "x"]
    browser.value(f"{HEAD.format(3)}.querySelector('button').click()")
    assert browser.value(COLUMN.format(3)) == ["9 B", "1.0 MiB", "953.7 MiB"]
    assert browser.value(COLUMN.format(0)) == [LONG, "bptt", "x"]
    assert browser.value(f"{HEAD.format(3)}.getAttribute('aria-sort')") == "ascending"
    browser.value(f"{HEAD.format(3)}.querySelector('button').click()")
    assert browser.value(COLUMN.format(0)) == ["x", "bptt", LONG]
    browser.value(f"{HEAD.format(0)}.querySelector('button').click()")
    assert browser.value(COLUMN.format(0)) == ["bptt", LONG, "x"]
    assert browser.value("document.querySelectorAll('table')[0].querySelectorAll('[aria-sort]').length") == 1


def test_the_keyboard_sorts_as_well(browser, pages):
    browser.open(pages["comparison"])
    browser.value(f"{HEAD.format(1)}.querySelector('button').focus()")
    browser.press("Enter", 13)
    assert browser.value(COLUMN.format(1)) == ["55.00 ± 7.07 %", "70.00 %", "85.00 ± 7.07 %"]


def test_what_is_folded_opens_and_a_wide_table_scrolls_in_its_box(browser, pages):
    browser.open(pages["run"], width=390)
    assert browser.value("document.querySelector('details').open") is False
    browser.value("document.querySelector('summary').click()")
    assert browser.value("document.querySelector('details').open") is True
    box = "document.querySelector('details .scroll')"
    assert browser.value(f"{box}.scrollWidth > {box}.clientWidth")
    assert browser.value("document.documentElement.scrollWidth") <= 390


def test_an_attack_on_the_page_is_text(browser, pages):
    browser.open(pages["comparison"])
    assert browser.value("document.body.textContent.includes('<script>document.title=1</script>')")
    assert browser.value("document.scripts.length") == 1
    browser.value("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hurt = 1\">')")
    assert browser.value("window.hurt") is None


def test_it_prints_with_all_that_was_folded(browser, pages, tmp_path):
    browser.open(pages["run"])
    browser.pdf(tmp_path / "run.pdf")
    assert (tmp_path / "run.pdf").read_bytes().startswith(b"%PDF")
    assert browser.value("[...document.querySelectorAll('details')].every(each => each.open)")
