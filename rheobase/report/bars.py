"""Bars and dots as SVG, a row for each name, which stands above its bar: long names fit on a phone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rheobase.report.html import Markup, element, paragraph
from rheobase.report.lines import Form, looks
from rheobase.report.scale import Scale, linear

WIDTH, ROW, FOOT = 440.0, 36.0, 22.0
EDGE = 8.0  # room for half a dot


@dataclass(frozen=True)
class Bar:
    """value, more: the lengths of the bar in full colour and, behind it, in light colour. text: what they come to."""

    name: str
    value: float
    text: str
    look: int = 0
    more: float = 0.0


@dataclass(frozen=True)
class Dots:
    """values: a disc each, and a stroke at their mean. before: rings."""

    name: str
    values: Sequence[float]
    text: str
    look: int = 0
    before: Sequence[float] = ()


def bar_chart(title: str, note: str, bars: Sequence[Bar]) -> Markup:
    """note: what the lengths are."""
    longest = max((max(bar.value, bar.more) for bar in bars), default=0.0) or 1.0

    def draw(bar: Bar, top: float) -> Iterator[Markup]:
        for length, look in ((bar.more, "light"), (bar.value, "full")):
            if length > 0:
                box = {"x": 0, "y": top + 20, "width": max(WIDTH * length / longest, 1.0), "height": 9}
                yield element("rect", {"class": f"{look} {looks(bar.look)}", "rx": 2, **box})

    return rows(title, note, [(bar.name, bar.text, draw(bar, ROW * place)) for place, bar in enumerate(bars)])


def dot_chart(title: str, note: str, dots: Sequence[Dots], form: Form) -> Markup:
    """Values along one axis, which need not begin at 0. form: how they read."""
    scale = linear([value for each in dots for value in (*each.values, *each.before)], 4)

    def draw(each: Dots, top: float) -> Iterator[Markup]:
        middle = top + 25
        yield element("line", {"class": "grid", "x1": EDGE, "x2": WIDTH - EDGE, "y1": middle, "y2": middle})
        if each.values:
            mean = across(scale, sum(each.values) / len(each.values))
            if each.before:
                start = across(scale, sum(each.before) / len(each.before))
                ends = {"x1": start, "x2": mean, "y1": middle, "y2": middle}
                yield element("line", {"class": f"line {looks(each.look)}", **ends})
            ends = {"x1": mean, "x2": mean, "y1": middle - 6, "y2": middle + 6}
            yield element("line", {"class": f"line {looks(each.look)}", **ends})
        for values, kind in ((each.before, "ring filled"), (each.values, "dot")):
            for value in values:
                centre = {"cx": across(scale, value), "cy": middle, "r": 4}
                told = element("title", {}, f"{each.name}: {form(value)}")
                yield element("circle", {"class": f"{kind} {looks(each.look)}", **centre}, told)

    drawn = [(each.name, each.text, draw(each, ROW * place)) for place, each in enumerate(dots)]
    return rows(title, note, drawn, foot(scale, form, ROW * len(dots)))


def foot(scale: Scale, form: Form, top: float) -> list[Markup]:
    marks = []
    for tick in scale.ticks:
        anchor = "start" if tick == scale.ticks[0] else "end" if tick == scale.ticks[-1] else "middle"
        x = {"start": 0.0, "end": WIDTH}.get(anchor, across(scale, tick))
        marks.append(element("text", {"class": "soft", "x": x, "y": top + 16, "text-anchor": anchor}, form(tick)))
    return marks


def rows(
    title: str, note: str, drawn: Sequence[tuple[str, str, Iterator[Markup]]], below: Sequence[Markup] = ()
) -> Markup:
    caption = element("figcaption", {}, title, element("small", {}, note))
    if not drawn:
        return element("figure", {}, caption, paragraph("There are no numbers to draw."))
    parts: list[Markup] = []
    for place, (name, text, shapes) in enumerate(drawn):
        parts.append(element("text", {"x": 0, "y": ROW * place + 14}, cut(name, 50 - len(text))))
        parts.append(element("text", {"x": WIDTH, "y": ROW * place + 14, "text-anchor": "end"}, text))
        parts.extend(shapes)
    told = f"{title}, {note}: " + "; ".join(f"{name} {text}" for name, text, _ in drawn)
    height = ROW * len(drawn) + (FOOT if below else 2)
    box = {"viewBox": f"0 0 {WIDTH:g} {height:g}", "role": "img", "aria-label": told}
    return element("figure", {}, caption, element("svg", box, *parts, *below))


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: max(most - 1, 1)]}…"


def across(scale: Scale, value: float) -> float:
    return EDGE + scale.place(value) * (WIDTH - 2 * EDGE)
