"""What is told of one training run."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rheobase.report.html import Markup, code, element, folded, joined, listed, paragraph
from rheobase.report.lines import Axes, Line, Point, line_chart
from rheobase.report.origin import environment, pictures, settings
from rheobase.report.page import Chapter, Section
from rheobase.report.table import Cell, Row, table
from rheobase.report.texts import NONE, bytes_cell, cell, day, lasted, share
from rheobase.training.health import DEAD, SATURATED
from rheobase.training.history import PastRun, mapping, number, read_run, text
from rheobase.units import size

DRAWN = ("curves.png", "learning_curves.png")


def run_chapter(folder: Path) -> Chapter:
    """Raises ValueError where the folder's settings cannot be read."""
    run = read_run(folder, folder.resolve().name)
    ends = [*troubles(run)]
    parts = [
        *([Section("What went wrong, or was left out", [listed(ends)])] if ends else []),
        curves(run),
        *firing(run),
        *pictures(folder, DRAWN),
        settings(run.config),
        environment(run.config),
    ]
    about = [text(run.settings, "model"), text(run.settings, "data"), day(run.config)]
    return Chapter(f"Run {run.name}", headline(run), " · ".join(filter(None, about)), parts, (), facts(run))


def headline(run: PastRun) -> Markup:
    """What came of it, in one sentence."""
    rule, data = code(text(run.settings, "rule") or "?"), code(text(run.settings, "data") or "?")
    score, metric = number(run.result, "test_score"), run.metric("test")
    if score is not None:
        what = (
            f"{metric.text(score)} test {metric.name}"
            if metric.unit
            else f"a test {metric.name} of {metric.text(score)}"
        )
        return joined((rule, f" reaches {what} on ", data, f", trained in {lasted(run.seconds)}."))
    state = text(run.result, "state")
    does = {"failed": "failed after", "stopped": "was stopped after"}.get(state, "has done")
    told = f" {does} {len(run.epochs)} of {run.settings.get('epochs', '?')} epochs"
    best = "" if run.validation is None else f", with {validation(run)} at best in validation"
    return joined((rule, " on ", data, f"{told}{best}."))


def validation(run: PastRun) -> str:
    return NONE if run.validation is None else run.metric("validation").text(run.validation)


def facts(run: PastRun) -> dict[str, str]:
    score, best = number(run.result, "test_score"), best_epoch(run)
    speeds = [s for epoch in run.epochs if (s := number(epoch, "samples_per_second")) is not None]
    peaks = [m for epoch in run.epochs if (m := number(epoch, "peak_memory")) is not None]
    return {
        f"test {run.metric('test').name}": "" if score is None else run.metric("test").text(score),
        f"best validation {run.metric('validation').name}": "" if run.validation is None else validation(run),
        "best epoch": "" if best is None else f"{best} of {len(run.epochs)}",
        "training time": "" if run.seconds is None else lasted(run.seconds),
        "samples per second": f"{sum(speeds) / len(speeds):,.0f}".replace(",", " ") if speeds else "",
        "peak memory": size(max(peaks)) if peaks else "",
    }


def best_epoch(run: PastRun) -> int | None:
    """As recorded, or the latest of the best so far."""
    told = number(run.result, "best_epoch")
    if told is not None:
        return int(told)
    if run.validation is None:
        return None
    return [n for n, epoch in numbered(run) if number(epoch, "validation_score") == run.validation][-1]


def numbered(run: PastRun) -> list[tuple[int, Mapping[str, Any]]]:
    return [(int(number(epoch, "epoch") or place), epoch) for place, epoch in enumerate(run.epochs, start=1)]


def points(run: PastRun, key: str, factor: float = 1.0) -> list[Point]:
    """By epoch, NaN where the value is not known."""
    return [
        (float(n), math.nan if (value := number(epoch, key)) is None else factor * value) for n, epoch in numbered(run)
    ]


def curves(run: PastRun) -> Section:
    if not run.epochs:
        return Section("Learning curves", [paragraph("No epoch was completed.")])
    train, valid, best = run.metric("train"), run.metric("validation"), best_epoch(run)
    by_epoch = points(run, "validation_score", valid.factor)
    ring = next((point for point in by_epoch if point[0] == best), None)
    lines = [Line("validation", by_epoch, 0, ring)]
    if train == valid:
        lines.insert(0, Line("train", points(run, "train_score", train.factor), 6))
    title = f"{valid.name}, {valid.unit}".rstrip(", ")
    charts = [
        line_chart("train loss", [Line("train loss", points(run, "loss"), 4)], Axes("epoch", log=None)),
        line_chart(title, lines, Axes("epoch"), "a ring at the best epoch"),
    ]
    return Section(
        "Learning curves", [element("div", {"class": "charts"}, *charts), folded("Figures by epoch", figures(run))]
    )


def figures(run: PastRun) -> Markup:
    train, valid = run.metric("train"), run.metric("validation")
    heads = (
        "epoch",
        "loss",
        f"train {train.name}",
        f"validation {valid.name}",
        "learning rate",
        "time",
        "peak memory",
        "left out",
    )
    rows: list[Row] = []
    for n, epoch in numbered(run):
        scores = [
            (metric, number(epoch, f"{part}_score")) for part, metric in (("train", train), ("validation", valid))
        ]
        rows.append((
            Cell(str(n), n), cell(number(epoch, "loss"), "{:.4f}"),
            *(Cell(NONE) if score is None else Cell(metric.text(score), score) for metric, score in scores),
            cell(number(epoch, "learning_rate"), "{:.3g}"), cell(number(epoch, "seconds"), "{:.2f} s"),
            bytes_cell(number(epoch, "peak_memory")), cell(number(epoch, "skipped"), "{:.0f}"),
        ))  # fmt: skip
    return table("Each epoch: batches left out are those whose numbers went wrong.", heads, rows)


def firing(run: PastRun) -> Iterator[Section]:
    """Rates of each layer over the epochs."""
    by_layer: dict[str, list[tuple[int, float]]] = {}
    for n, epoch in numbered(run):
        rates = mapping(epoch, "firing_rates")
        for layer in rates:
            rate = number(rates, layer)
            if rate is not None:
                by_layer.setdefault(layer, []).append((n, rate))
    if not by_layer:
        return
    lines = [
        Line(layer or "the model", [(float(n), 100 * rate) for n, rate in rates], look)
        for look, (layer, rates) in enumerate(by_layer.items())
    ]
    axes = Axes("epoch", y_form="{:g} %".format, bands=((0.0, 100 * DEAD), (100 * SATURATED, 100.0)))
    shade = f"shaded: dead, under {share(DEAD)}, or saturated, above {100 * SATURATED:.0f} %"
    shown = [layer_row(layer, rates, run) for layer, rates in by_layer.items()]
    heads = ("layer", "first epoch", "last epoch", "least", "most", "state")
    yield Section("Firing rates", [
        element("div", {"class": "charts"}, line_chart("spikes per neuron and step", lines, axes, shade)),
        table("The layers of spiking neurons, on one validation batch an epoch.", heads, shown),
    ])  # fmt: skip


def layer_row(layer: str, rates: Sequence[tuple[int, float]], run: PastRun) -> list[str | Cell]:
    values = [rate for _, rate in rates]
    cells = [Cell(share(rate), rate) for rate in (values[0], values[-1], min(values), max(values))]
    ill = [(n, found) for n, epoch in numbered(run) if (found := text(mapping(epoch, "ailments"), layer))]
    if not ill:
        return [layer or "the model", *cells, Cell("fires", look="good")]
    is_now = bool(ill) and ill[-1][0] == numbered(run)[-1][0]
    when = f"since epoch {since(ill)}" if is_now else f"in {len(ill)} of {len(run.epochs)} epochs, not at the end"
    return [layer or "the model", *cells, Cell(f"{ill[-1][1]} {when}", look="bad" if is_now else "warn")]


def since(ill: Sequence[tuple[int, str]]) -> int:
    """The first epoch of those in a row that the last belongs to."""
    first = ill[-1][0]
    for n, _ in reversed(ill[:-1]):
        if n != first - 1:
            break
        first = n
    return first


def troubles(run: PastRun) -> Iterator[Markup]:
    """Why it ended, layers that are ill, batches left out, files that could not be read."""
    error = text(run.result, "error")
    if error:
        yield joined((element("strong", {"class": "bad"}, "It failed: "), error))
    last = mapping(run.epochs[-1], "ailments") if run.epochs else {}
    for layer in last:
        yield joined(("Layer ", code(layer), f" is {text(last, layer)} after the last epoch."))
    skipped = {n: int(count) for n, epoch in numbered(run) if (count := number(epoch, "skipped"))}
    if skipped:
        where = ", ".join(f"{count} in epoch {n}" for n, count in list(skipped.items())[:10])
        more = ", …" if len(skipped) > 10 else ""
        yield joined(
            (f"{sum(skipped.values())} batches were left out, their loss or gradient was no number: {where}{more}.",)
        )
    yield from (joined((note,)) for note in run.notes)
