import base64
import hashlib
import re
from itertools import pairwise

import pytest
from report import folders as made
from report.reading import headline, read

from rheobase.report import report, write_report
from rheobase.report.page import source

EVIL = "<script>alert('1')</script><img src=x onerror=alert(2)>\"&"


def evil(tmp_path):
    """A page in which every name is an attack."""
    ill = [made.epoch(1, rates={EVIL: 0.001}, ailments={EVIL: "dead"}, skipped=2)]
    failed, audited = {"state": "failed", "error": EVIL}, [made.audited(EVIL, 0.5, EVIL), made.refused(EVIL, EVIL)]
    folder = tmp_path / "<script>alert(3)<"
    return report([
        made.run(folder, ill, failed, rule=EVIL, data=EVIL, model=EVIL),
        made.comparison(tmp_path / "c", [made.rule(EVIL, [0.5]), {"rule": EVIL, "refusal": EVIL}]),
        made.audit(tmp_path / "a", [made.moment(EVIL, 0, audited, [EVIL])]),
        made.bench(tmp_path / "b", [made.timed("Rheobase", EVIL, 1.0, net=EVIL)], [made.held(EVIL, EVIL, 5, net=EVIL)]),
    ])  # fmt: skip


@pytest.fixture
def pages(tmp_path):
    """One of each kind, and all together."""
    run = made.run(tmp_path / "run", result=made.DONE)
    (run / "confusion.png").write_bytes(made.png())
    rules = [made.rule("bptt", [0.9, 0.8]), made.rule("sltt", [0.9, 0.8], kept=100), {"rule": "x", "refusal": "no"}]
    comparison = made.comparison(tmp_path / "comparison", rules)
    audited = [made.audited("bptt", 1.0, exact="bptt"), made.audited("sltt", 0.4, "badly aligned", "; why")]
    audit = made.audit(tmp_path / "audit", [made.moment("start", 0, audited), made.moment("epoch 3", 3, audited)])
    times = [made.timed("SpikingJelly", "BPTT, single-step", 2.0), made.timed("Rheobase", "SLTT()", 1.0)]
    bench = made.bench(tmp_path / "bench", times, [made.held("Rheobase", "SLTT()", 10, steps=t) for t in (4, 8)])
    each = [run, comparison, audit, bench]
    return {folder.name: report([folder]) for folder in each} | {"all": report(each)}


def test_names_that_are_code_are_shown_and_not_run(tmp_path):
    page = read(evil(tmp_path))
    scripts = list(page.all("script"))
    assert [script.text for script in scripts] == [source("page.js")]
    assert not list(page.all("img"))
    assert not [name for each in page.all() for name in each.attributes if name.startswith("on")]
    assert page.text.count(EVIL) >= 12
    assert "<script>alert(3)<" in page.text


def test_every_element_is_closed_where_it_should_be(pages, tmp_path):
    for page in [*pages.values(), evil(tmp_path)]:
        read(page)


def test_nothing_is_fetched(pages):
    for page in pages.values():
        for each in read(page).all():
            for name in ("src", "href", "action", "poster", "data", "srcset"):
                assert re.match("data:|#|$", each.attributes.get(name, "")), each
        assert not re.search(r"url\(|@import|https?:", source("page.css") + source("page.js"))
    assert "data:image/png;base64" in pages["run"]


def test_the_policy_allows_the_pages_own_style_and_script_alone(pages):
    page = read(pages["run"])
    meta = next(each for each in page.all("meta") if "http-equiv" in each.attributes)
    allowed = dict(part.strip().split(" ", 1) for part in meta.attributes["content"].split(";"))
    for kind, name in (("style-src", "style"), ("script-src", "script")):
        own = base64.b64encode(hashlib.sha256(page.one(name).text.encode()).digest()).decode()
        assert allowed[kind] == f"'sha256-{own}'"
    assert allowed["default-src"] == "'none'"
    assert not [each for each in page.all() if "style" in each.attributes]  # which the policy would not apply


def test_the_same_folders_give_the_same_page_whenever_it_is_written(tmp_path):
    folder = made.run(tmp_path / "run", result=made.DONE)
    first = write_report([folder]).read_bytes()
    for file in folder.iterdir():
        file.touch()
    assert write_report([folder], tmp_path / "deep" / "again.html").read_bytes() == first
    assert b"2026-03-04 05:06 UTC" in first


def test_headings_go_down_one_level_at_a_time_from_a_single_first_one(pages):
    for page in pages.values():
        levels = [int(each.name[1]) for each in read(page).all("h1", "h2", "h3", "h4")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))


def test_what_is_seen_is_also_told(pages):
    for page in pages.values():
        parsed = read(page)
        assert parsed.one("html").attributes["lang"] == "en"
        assert all(each.attributes["scope"] in ("row", "col") for each in parsed.all("th"))
        assert all(each.attributes["alt"] for each in parsed.all("img"))
        assert all(table.one("caption").text for table in parsed.all("table"))
        drawings = [each for each in parsed.all("svg") if "aria-hidden" not in each.attributes]
        assert all(each.attributes["role"] == "img" and each.attributes["aria-label"] for each in drawings)
        wide = [each for each in parsed.all("div") if each.attributes.get("class") == "scroll"]
        assert all(each.attributes["tabindex"] == "0" and each.attributes["aria-label"] for each in wide)
        assert any("width=device-width" in each.attributes.get("content", "") for each in parsed.all("meta"))
        links = [each.attributes["href"][1:] for each in parsed.all("a")]
        assert links == [each.attributes["id"] for each in parsed.all("article")]


def test_several_folders_make_one_page_that_begins_with_their_messages(pages):
    page = read(pages["all"])
    assert headline(pages["all"]) == "4 reports"
    told = next(page.all("ul")).text
    for name in ("run", "comparison", "audit", "bench"):
        assert headline(pages[name]) in told


def themes():
    """The colours of page.css, light and dark."""
    light, dark = re.findall(r":root \{\s*(?:color-scheme[^;]*;)?(.*?)\}", source("page.css"), re.DOTALL)[:2]
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", text)) for text in (light, dark)]
    return [pytest.param(found[0], id="light"), pytest.param(found[0] | found[1], id="dark")]


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", themes())
def test_colours_stand_out_from_what_they_are_on(theme):
    """By the measure of WCAG 2: 4.5 for text, 3 for lines."""
    for ground in ("page", "card"):
        for ink in ("ink", "soft", "link", "good", "warn", "bad"):
            assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)
    assert contrast(theme["ink"], theme["mark"]) >= 4.5
    for number in range(8):
        assert contrast(theme[f"c{number}"], theme["card"]) >= 3, number
        assert contrast(theme[f"h{number}-ink"], theme[f"h{number}"]) >= 4.5, number


def test_pictures_are_within_the_page_as_far_as_there_is_room(tmp_path, monkeypatch):
    folder = made.run(tmp_path / "run", result=made.DONE)
    small = made.png()
    (folder / "raster.png").write_bytes(small)
    (folder / "zoo.png").write_bytes(made.png(200, 3000))
    (folder / "curves.png").write_bytes(small)
    (folder / "false.png").write_bytes(b"<script>")
    monkeypatch.setattr("rheobase.report.origin.ROOM", 1000)
    page = read(report([folder]))
    assert [each.attributes["alt"] for each in page.all("img")] == ["Picture: raster"]
    assert base64.b64decode(page.one("img").attributes["src"].partition(",")[2]) == small
    assert "Too large to be shown here: zoo.png." in page.text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("nothing.txt", "x"),
        ("audit.json", '{"moments": []}'),
        ("audit.json", '{"moments": [{"rules": 3}]}'),
        ("results.json", '{"rules": [3]}'),
        ("results.json", '{"rules": 7}'),
        ("results.json", '{"times": [{}], "memory": []}'),
        ("config.json", "{}"),
        ("config.json", "["),
    ],
)
def test_a_folder_that_cannot_be_read_is_named(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"Nothing to report|cannot be read|no JSON|experiment"):
        report([tmp_path])


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        report([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="at least one folder"):
        report([])
