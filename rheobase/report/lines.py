"""Line charts as SVG: the colours are the page's, the values come up under the pointer."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rheobase.report.html import Markup, element, paragraph
from rheobase.report.scale import Scale, at_values, linear, logarithmic, number

WIDTH, HEIGHT = 440.0, 250.0
RIGHT, TOP, BOTTOM = 14.0, 12.0, 40.0
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
    """x: what is along. x_form, y_form: how values read.

    whole: ticks of x at whole numbers alone. doubling: x is logarithmic, with ticks at the values.
    log: y is logarithmic, with ticks at powers of `base`; None where the values decide. bands: of y, shaded.
    """

    x: str
    x_form: Form = number
    y_form: Form = number
    whole: bool = True
    doubling: bool = False
    log: bool | None = False
    base: int = 10
    bands: Sequence[tuple[float, float]] = ()

    def takes(self, point: Point) -> bool:
        """Whether there is a place for it."""
        x, y = point
        return (
            math.isfinite(x) and math.isfinite(y) and (y > 0 or self.log is not True) and (x > 0 or not self.doubling)
        )

    def scales(self, points: Sequence[Point]) -> tuple[Scale, Scale]:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        log = 0 < WIDE * min(ys) < max(ys) if self.log is None else self.log
        across = at_values(xs) if self.doubling else linear(xs, 6, whole=self.whole)
        return across, logarithmic(ys, self.base) if log else linear(ys)


def line_chart(title: str, lines: Sequence[Line], axes: Axes, note: str = "") -> Markup:
    """A figure with its legend, a sentence where there is nothing to draw. note: stands below the title."""
    caption = element("figcaption", {}, title, element("small", {}, note) if note else "")
    known = [line for line in lines if any(map(axes.takes, line.points))]
    if not known:
        return element("figure", {}, caption, paragraph("There are no numbers to draw."))
    shown = [Line(line.name, thinned(line), line.look, line.ring) for line in known]
    plane = Plane(*axes.scales([point for line in shown for point in line.points if axes.takes(point)]), axes)
    told = f"{title}, {axes.x} along: {'; '.join(told_of(line, axes) for line in known)}"
    box = {"viewBox": f"0 0 {WIDTH:g} {HEIGHT:g}", "role": "img", "aria-label": told}
    return element(
        "figure", {}, caption, element("svg", box, *plane.drawn(shown)), legend(known) if len(lines) > 1 else ""
    )


@dataclass(frozen=True)
class Plane:
    """Where values lie in the picture."""

    xs: Scale
    ys: Scale
    axes: Axes

    @property
    def left(self) -> float:
        """Room for the longest number beside the vertical axis."""
        return 12.0 + 7.2 * max(3, *(len(self.axes.y_form(tick)) for tick in self.ys.ticks))

    def across(self, value: float) -> float:
        return self.left + self.xs.place(value) * (WIDTH - self.left - RIGHT)

    def up(self, value: float) -> float:
        return HEIGHT - BOTTOM - self.ys.place(value) * (HEIGHT - TOP - BOTTOM)

    def drawn(self, lines: Sequence[Line]) -> Iterator[Markup]:
        yield from self.bands()
        yield from self.grid()
        for line in lines:
            yield from self.line(line)

    def bands(self) -> Iterator[Markup]:
        for low, high in self.axes.bands:
            top, floor = (self.up(min(max(edge, self.ys.low), self.ys.high)) for edge in (high, low))
            if floor - top > 0.5:
                box = {"x": self.left, "y": top, "width": WIDTH - RIGHT - self.left, "height": floor - top}
                yield element("rect", {"class": "band", **box})

    def grid(self) -> Iterator[Markup]:
        left, end, floor = self.left, WIDTH - RIGHT, HEIGHT - BOTTOM
        for tick in self.ys.ticks:
            place = self.up(tick)
            yield element("line", {"class": "grid", "x1": left, "x2": end, "y1": place, "y2": place})
            yield element("text", {"x": left - 6, "y": place + 4, "text-anchor": "end"}, self.axes.y_form(tick))
        for tick in self.xs.ticks:
            place = self.across(tick)
            yield element("line", {"class": "tick", "x1": place, "x2": place, "y1": floor, "y2": floor + 4})
            yield element("text", {"x": place, "y": floor + 17, "text-anchor": "middle"}, self.axes.x_form(tick))
        yield element("line", {"class": "axis", "x1": left, "x2": end, "y1": floor, "y2": floor})
        yield element("text", {"x": (left + end) / 2, "y": HEIGHT - 5, "text-anchor": "middle"}, self.axes.x)

    def line(self, line: Line) -> Iterator[Markup]:
        """Broken where there is no number; dots with their values; the ring."""
        look, axes = looks(line.look), self.axes
        for run in unbroken(line.points, axes):
            path = " ".join(f"{self.across(x):.1f},{self.up(y):.1f}" for x, y in run)
            yield element("polyline", {"class": f"line {look}", "points": path})
        known = [point for point in line.points if axes.takes(point)]
        for x, y in known if len(known) <= DOTS else [point for point in known if point == line.ring]:
            told = element("title", {}, f"{line.name}, {axes.x} {axes.x_form(x)}: {axes.y_form(y)}")
            centre = {"cx": self.across(x), "cy": self.up(y)}
            if len(known) <= DOTS:
                yield element("circle", {"class": f"dot {look}", **centre, "r": 2.5}, told)
            if (x, y) == line.ring:
                yield element("circle", {"class": f"ring {look}", **centre, "r": 6.0}, told)


def unbroken(points: Sequence[Point], axes: Axes) -> Iterator[list[Point]]:
    run: list[Point] = []
    for point in (*points, (math.nan, math.nan)):
        if axes.takes(point):
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
    known = [point for point in line.points if axes.takes(point)]
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
