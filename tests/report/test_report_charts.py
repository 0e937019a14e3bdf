import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.reading import read

from rheobase.report.bars import Bar, Dots, bar_chart, dot_chart
from rheobase.report.html import element
from rheobase.report.lines import HEIGHT, WIDTH, Axes, Line, line_chart
from rheobase.report.scale import at_values, linear, logarithmic

numbers = st.floats(-1e12, 1e12)
positive = st.floats(1e-9, 1e12)


@given(st.lists(numbers, min_size=1, max_size=20), st.booleans())
def test_an_axis_holds_its_values_and_few_ticks(values, whole):
    scale = linear(values, whole=whole)
    assert all(-1e-6 <= scale.place(value) <= 1 + 1e-6 for value in values)
    assert len(scale.ticks) <= 8
    assert all(-1e-6 <= scale.place(tick) <= 1 + 1e-6 for tick in scale.ticks)
    if whole:
        assert all(tick == int(tick) for tick in scale.ticks)


@given(st.lists(positive, min_size=1, max_size=20), st.sampled_from([2, 10]))
def test_a_logarithmic_axis_holds_its_values_and_few_ticks(values, base):
    scale = logarithmic(values, base)
    assert all(-1e-6 <= scale.place(value) <= 1 + 1e-6 for value in values)
    assert 1 <= len(scale.ticks) <= 8
    assert scale.place(math.sqrt(scale.low * scale.high)) == pytest.approx(0.5)


def test_an_axis_with_ticks_at_the_values_has_those():
    assert at_values([8, 2, 8, 32]).ticks == (2, 8, 32)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [([0.1, 0.9], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)), ([97.6, 99.1], (97.5, 98.0, 98.5, 99.0, 99.5)), ([3, 3], None)],
)
def test_ticks_are_round(values, ticks):
    found = linear(values).ticks
    assert ticks is None or found == ticks
    assert all(len(f"{tick:g}") <= 5 for tick in found)


@given(st.lists(st.lists(st.tuples(numbers, numbers), max_size=8), min_size=1, max_size=3))
def test_every_point_lies_within_the_picture(lines):
    chart = read(line_chart("title", [Line(str(i), points, i) for i, points in enumerate(lines)], Axes("x")))
    for each in chart.all("polyline"):
        for x, y in (map(float, point.split(",")) for point in each.attributes["points"].split()):
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
    assert "nan" not in str(chart)
    assert "inf" not in str(chart)


def test_a_higher_value_is_drawn_higher_and_a_later_one_further_right():
    chart = read(line_chart("title", [Line("a", [(1, 0.0), (2, 5.0)])], Axes("x")))
    (first, second) = (tuple(map(float, p.split(","))) for p in chart.one("polyline").attributes["points"].split())
    assert first[0] < second[0]
    assert first[1] > second[1]


def test_dots_tell_their_values_and_the_best_has_a_ring():
    chart = read(line_chart("title", [Line("val", [(1, 0.5), (2, 0.75)], ring=(2, 0.75))], Axes("epoch")))
    assert [each.text for each in chart.all("title")] == [
        "val, epoch 1: 0.5",
        "val, epoch 2: 0.75",
        "val, epoch 2: 0.75",
    ]
    assert [each for each in chart.all("circle") if "ring" in each.attributes["class"]]


def test_a_long_line_keeps_its_last_point_and_the_marked_one():
    points = [(float(i), float(i % 7)) for i in range(5001)]
    chart = read(line_chart("title", [Line("a", points, ring=points[1234])], Axes("x")))
    assert len(chart.one("polyline").attributes["points"].split()) < 500
    assert [each.text for each in chart.all("title")] == ["a, x 1234: 2"]
    assert "to 2 at 5000" in chart.one("svg").attributes["aria-label"]


def test_lines_beyond_eight_can_still_be_told_apart():
    chart = read(line_chart("title", [Line(str(i), [(0, i), (1, i)], i) for i in range(20)], Axes("x")))
    looks = [each.attributes["class"] for each in chart.all("polyline")]
    assert len(set(looks)) == 20


def test_losses_that_differ_a_hundredfold_have_a_logarithmic_axis():
    def middle(values):
        chart = read(line_chart("title", [Line("a", list(enumerate(values)))], Axes("x", log=None)))
        return [float(p.split(",")[1]) for p in chart.one("polyline").attributes["points"].split()]

    low, half, high = middle([1.0, 100.0, 10000.0])
    assert half == pytest.approx((low + high) / 2, abs=0.2)
    low, half, high = middle([1.0, 5.0, 9.0])
    assert half == pytest.approx((low + high) / 2, abs=0.2)


def test_bars_are_as_long_as_their_values():
    chart = read(bar_chart("title", "note", [Bar("a", 1.0, "1", more=4.0), Bar("b", 2.0, "2")]))
    widths = {
        each.attributes["class"].split()[0]: float(each.attributes["width"]) for each in list(chart.all("rect"))[:2]
    }
    assert widths == {"light": 440.0, "full": 110.0}
    assert chart.one("svg").attributes["aria-label"] == "title, note: a 1; b 2"


def test_a_long_name_is_cut_before_it_runs_into_the_value():
    chart = read(bar_chart("title", "", [Bar("x" * 100, 1.0, "a value")]))
    name, value = (each.text for each in chart.all("text"))
    assert re.fullmatch("x+…", name)
    assert len(name) + len(value) <= 50


def test_dots_stand_where_their_values_are():
    chart = read(dot_chart("title", "", [Dots("a", [0.0, 1.0], "", before=[0.5])], "{:g}".format))
    places = {each.one("title").text: float(each.attributes["cx"]) for each in chart.all("circle")}
    assert places["a: 0.5"] == pytest.approx((places["a: 0"] + places["a: 1"]) / 2)


@pytest.mark.parametrize(
    "chart",
    [line_chart("t", [], Axes("x")), bar_chart("t", "", []), line_chart("t", [Line("a", [(0, math.nan)])], Axes("x"))],
)
def test_without_numbers_a_sentence_stands_in_place_of_the_picture(chart):
    assert "no numbers to draw" in chart


def test_text_and_attributes_are_escaped_and_markup_is_not():
    inner = element("b", {"title": "\"'<&"}, "<i>")
    assert (
        str(element("p", {"class": None}, inner, "&")) == '<p><b title="&quot;&#x27;&lt;&amp;">&lt;i&gt;</b>&amp;</p>'
    )
