"""Line charts as SVG: the colours are the page's, the values come up under the pointer."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rheobase.report.html import Markup, element, paragraph
from rheobase.report.scale import Scale, linear, logarithmic, number

WIDTH, HEIGHT = 440.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 14.0, 12.0, 40.0
DOTS, MOST = 30, 400  # points of a line up to which each has a dot; and shown at all
COLOURS, DASHES = 8, 3  # in page.css: lines beyond eight have dashes as well
WIDE = 100.0  # ratio of values beyond which an axis is logarithmic

Point = tuple[float, float]
Form = Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """ring: a point to mark. look: number of its colour and dashes."""

    name: str
    points: Sequence[Point]
    look: int = 0
    ring: Point | None = None


@dataclass(frozen=True)
class Axes:
    """x, y: what the axes tell. x_form, y_form: how their values read. doubling: x is logarithmic, ticks at the values.

    log: y is logarithmic; None where it is so if the values want it. bands: ranges of y that are shaded.
    """

    x: str
    x_form: Form = number
    y_form: Form = number
    whole: bool = True
    doubling: bool = False
    log: bool | None = False
    bands: Sequence[tuple[float, float]] = ()


def line_chart(title: str, lines: Sequence[Line], axes: Axes) -> Markup:
    """A figure with its legend, a sentence where there is nothing to draw."""
    shown = [Line(line.name, thinned(line), line.look, line.ring) for line in lines]
    finite = [point for line in shown for point in line.points if usable(point, axes)]
    caption = element("figcaption", {}, title)
    if not finite:
        return element("figure", {}, caption, paragraph("There are no numbers to draw."))
    xs, ys = scales(finite, axes)
    told = "; ".join(told_of(line, axes) for line in lines if any(usable(point, axes) for point in line.points))
    drawing = element(
        "svg", {"viewBox": f"0 0 {WIDTH:g} {HEIGHT:g}", "role": "img", "aria-label": f"{title}, {axes.x} along: {told}"},
        *grid(xs, ys, axes), *(part for line in shown for part in drawn(line, xs, ys, axes)),
    )  # fmt: skip
    return element("figure", {}, caption, drawing, legend(lines) if len(lines) > 1 else "")


def usable(point: Point, axes: Axes) -> bool:
    x, y = point
    return math.isfinite(x) and math.isfinite(y) and (y > 0 or axes.log is not True) and (x > 0 or not axes.doubling)


def scales(points: Sequence[Point], axes: Axes) -> tuple[Scale, Scale]:
    width, height = [x for x, _ in points], [y for _, y in points]
    log = 0 < WIDE * min(height) < max(height) if axes.log is None else axes.log
    xs = logarithmic(width, sorted(set(width))) if axes.doubling else linear(width, 6, whole=axes.whole)
    return xs, logarithmic(height) if log else linear(height)


def grid(xs: Scale, ys: Scale, axes: Axes) -> Iterator[Markup]:
    end, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    for low, high in axes.bands:
        upper, lower = (up(ys, min(max(edge, ys.low), ys.high)) for edge in (high, low))
        if lower - upper > 0.5:
            box = {"x": LEFT, "y": upper, "width": end - LEFT, "height": lower - upper}
            yield element("rect", {"class": "band", **box})
    for tick in ys.ticks:
        place = up(ys, tick)
        yield element("line", {"class": "grid", "x1": LEFT, "x2": end, "y1": place, "y2": place})
        yield element("text", {"x": LEFT - 6, "y": place + 4, "text-anchor": "end"}, axes.y_form(tick))
    for tick in xs.ticks:
        place = along(xs, tick)
        yield element("line", {"class": "tick", "x1": place, "x2": place, "y1": floor, "y2": floor + 4})
        yield element("text", {"x": place, "y": floor + 17, "text-anchor": "middle"}, axes.x_form(tick))
    yield element("line", {"class": "axis", "x1": LEFT, "x2": end, "y1": floor, "y2": floor})
    yield element("text", {"x": (LEFT + end) / 2, "y": HEIGHT - 5, "text-anchor": "middle"}, axes.x)


def drawn(line: Line, xs: Scale, ys: Scale, axes: Axes) -> Iterator[Markup]:
    """A line, broken where there is no number; dots with their values; the ring."""
    look = looks(line.look)
    for run in unbroken(line.points, axes):
        path = " ".join(f"{along(xs, x):.1f},{up(ys, y):.1f}" for x, y in run)
        yield element("polyline", {"class": f"line {look}", "points": path})
    known = [point for point in line.points if usable(point, axes)]
    for x, y in known:
        told = element("title", {}, f"{line.name}, {axes.x} {axes.x_form(x)}: {axes.y_form(y)}")
        centre = {"cx": along(xs, x), "cy": up(ys, y)}
        if len(known) <= DOTS:
            yield element("circle", {"class": f"dot {look}", **centre, "r": 2.5}, told)
        if (x, y) == line.ring:
            yield element("circle", {"class": f"ring {look}", **centre, "r": 6.0}, told)


def unbroken(points: Sequence[Point], axes: Axes) -> Iterator[list[Point]]:
    run: list[Point] = []
    for point in (*points, (math.nan, math.nan)):
        if usable(point, axes):
            run.append(point)
        elif run:
            yield run
            run = []


def thinned(line: Line) -> list[Point]:
    """Of a long line evenly spread points, with the marked one."""
    every = max(1, -(-len(line.points) // MOST))
    last = len(line.points) - 1
    return [p for place, p in enumerate(line.points) if place % every == 0 or place == last or p == line.ring]


def told_of(line: Line, axes: Axes) -> str:
    known = [point for point in line.points if usable(point, axes)]
    (first, begin), (last, end) = known[0], known[-1]
    at = axes.x_form
    return f"{line.name} from {axes.y_form(begin)} at {at(first)} to {axes.y_form(end)} at {at(last)}"


def legend(lines: Sequence[Line]) -> Markup:
    return element("ul", {"class": "legend"}, *(element("li", {}, key(line.look), line.name) for line in lines))


def key(look: int) -> Markup:
    stroke = element("line", {"class": f"line {looks(look)}", "x1": 1, "x2": 23, "y1": 6, "y2": 6})
    return element("svg", {"viewBox": "0 0 24 12", "class": "key", "aria-hidden": "true"}, stroke)


def looks(number: int) -> str:
    return f"c{number % COLOURS} d{number // COLOURS % DASHES}"


def along(scale: Scale, value: float) -> float:
    return LEFT + scale.place(value) * (WIDTH - LEFT - RIGHT)


def up(scale: Scale, value: float) -> float:
    return HEIGHT - BOTTOM - scale.place(value) * (HEIGHT - TOP - BOTTOM)
