"""What is told of several rules on the same task."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from rheobase.metrics import Metric
from rheobase.report.bars import Bar, Dots, bar_chart, dot_chart
from rheobase.report.compared import EXACT, Found, exact_of, found_in, headline
from rheobase.report.heat import heat_map, scale
from rheobase.report.html import Markup, code, element, folded, joined, listed
from rheobase.report.lines import Axes, Line, line_chart
from rheobase.report.origin import environment, pictures, settings
from rheobase.report.page import Chapter, Section
from rheobase.report.table import Cell, Row, table
from rheobase.report.texts import NONE, bytes_cell, cell, day, lasted, metric_named, span_cell
from rheobase.training.history import mapping, number, text
from rheobase.units import size

DRAWN = ("compare.png",)
MOMENTS = ("agreement_before", "agreement_after")
Along = Callable[[Sequence[Mapping[str, Any]]], list[float]]  # from epochs to places along an axis


def comparison_chapter(folder: Path, values: Mapping[str, Any]) -> Chapter:
    """values: what `compare` wrote to results.json."""
    found, refused = found_in(values)
    metrics, shared = mapping(values, "metrics"), mapping(values, "experiment")
    metric = metric_named(metrics.get("test"))
    valid = metric_named(metrics.get("validation", metric.name))
    sections = [*result_sections(found, metric, valid)] if found else []
    if refused:
        told = [joined((code(rule), f": {reason}")) for rule, reason in refused.items()]
        sections.append(Section("Rules that refused", [listed(told)]))
    if found:
        sections.append(Section("Each seed", [by_seed(found, metric, valid)]))
    about = [text(shared, "model"), text(shared, "data"), f"{shared.get('epochs', '?')} epochs", day(values)]
    return Chapter(
        f"Comparison {folder.resolve().name}", headline(found, metric), " · ".join(filter(None, about)),
        [*sections, *pictures(folder, DRAWN), settings(values), environment(values)], notes(found),
    )  # fmt: skip


def notes(found: Sequence[Found]) -> list[str]:
    seeds = max((len(each.runs) for each in found), default=0)
    told = ["The score is that of the test part, with the weights of the best validation epoch."]
    if seeds == 1:
        told.append("One seed each: a rule counts as good as another within one point of a hundred.")
    elif seeds > 1:
        told.append(f"{seeds} seeds each; ± is the standard deviation over them, by which rules are told apart.")
    return [" ".join(told)]


def result_sections(found: Sequence[Found], metric: Metric, valid: Metric) -> list[Section]:
    learned = [
        curves("by epoch", "epoch", found, valid, lambda epochs: [float(i) for i in range(1, len(epochs) + 1)]),
        curves("by training time", "seconds of training", found, valid, seconds_of),
    ]
    return [
        Section("The rules", [overview(found, metric), element("div", {"class": "charts"}, *charts(found, metric))]),
        Section("Learning curves", [element("div", {"class": "charts"}, *learned)]),
        *agreement(found),
    ]


def overview(found: Sequence[Found], metric: Metric) -> Markup:
    exact = exact_of(found)
    heads = ["rule", f"test {metric.name}", "time", "kept", "peak", "cosine, start", "cosine, end"]
    if exact is not None and exact.kept:
        heads.insert(4, f"of {EXACT}'s")
    rows: list[Row] = []
    for each in found:
        cells = [
            spread_cell(each, metric), span_cell(each.mean("seconds")), bytes_cell(each.kept), bytes_cell(each.peak),
            *(cell(each.mean("cosine", when), "{:.3f}") for when in MOMENTS),
        ]  # fmt: skip
        if exact is not None and exact.kept:
            cells.insert(3, cell(each.kept and each.kept / exact.kept, "{:.2f}"))
        rows.append((code(each.rule), *cells))
    return table(
        "Time: of training, without evaluation. Kept: bytes for the backward pass of a training step. Cosine: of the "
        "rule's gradient to the exact one of its objective, 1 where it is exact.",
        heads, rows,
    )  # fmt: skip


def spread_cell(each: Found, metric: Metric) -> Cell:
    if math.isnan(each.score):
        return Cell(NONE)
    spread = f" ± {metric.factor * each.spread('test_score'):.{metric.digits}f}" if len(each.runs) > 1 else ""
    text = f"{metric.factor * each.score:.{metric.digits}f}{spread} {metric.unit}".rstrip()
    return Cell(text, each.score)


def charts(found: Sequence[Found], metric: Metric) -> list[Markup]:
    factor, unit = metric.factor, f", {metric.unit}".rstrip(", ")
    looks = list(enumerate(found))
    scores = [
        Dots(each.rule, [factor * v for v in each.values("test_score")], metric.text(each.score), look)
        for look, each in looks
    ]
    cosines = [
        Dots(
            each.rule, each.values("cosine", "agreement_after"),
            " → ".join(cell(each.mean("cosine", when), "{:.3f}").text for when in MOMENTS), look,
            each.values("cosine", "agreement_before"),
        )
        for look, each in looks
    ]  # fmt: skip
    memory = [
        Bar(
            each.rule,
            each.kept or 0.0,
            f"{size(each.kept or 0.0)}, peak {size(each.peak or 0.0)}",
            look,
            each.peak or 0.0,
        )
        for look, each in looks
    ]
    times = [Bar(each.rule, each.mean("seconds"), lasted(each.mean("seconds")), look) for look, each in looks]
    return [
        dot_chart(
            f"test {metric.name}{unit}",
            "a dot a seed, a stroke at their mean",
            scores,
            f"{{:.{metric.digits}f}}".format,
        ),
        bar_chart("memory of a training step", "full: kept for the backward pass; light: peak", memory),
        bar_chart("training time", "without evaluation, mean of the seeds", times),
        dot_chart("cosine to the exact gradient", "ring: at the start; dot: at the end", cosines, "{:.3g}".format),
    ]


def seconds_of(epochs: Sequence[Mapping[str, Any]]) -> list[float]:
    return list(accumulate(number(epoch, "seconds") or 0.0 for epoch in epochs))


def curves(
    title: str,
    label: str,
    found: Sequence[Found],
    metric: Metric,
    along: Along,
) -> Markup:
    """The first seed's validation scores."""
    lines = []
    for look, each in enumerate(found):
        epochs = [epoch for epoch in each.runs[0].get("epochs", []) if isinstance(epoch, dict)]
        scores = [number(epoch, "validation_score") for epoch in epochs]
        values = [math.nan if score is None else metric.factor * score for score in scores]
        lines.append(Line(each.rule, list(zip(along(epochs), values, strict=True)), look))
    unit = f", {metric.unit}".rstrip(", ")
    return line_chart(f"validation {metric.name}{unit}, {title}", lines, Axes(label, whole=label == "epoch"))


def agreement(found: Sequence[Found]) -> list[Section]:
    """Cosines by parameter, at the start and at the end: means over the seeds."""
    parts: list[str] = []
    for title, when in zip(("at the start", "at the end"), MOMENTS, strict=True):
        by_rule = {each.rule: parameters(each, when) for each in found}
        names = list(dict.fromkeys(name for known in by_rule.values() for name in known))
        if names:
            columns = {rule: [known.get(name) for name in names] for rule, known in by_rule.items()}
            parts.append(
                heat_map(f"Cosine to the exact gradient {title}, mean of the seeds.", names, columns, "parameter")
            )
    return (
        [Section("Agreement with the exact gradient", [folded("Cosines by parameter", *parts, scale())])]
        if parts
        else []
    )


def parameters(each: Found, when: str) -> dict[str, float]:
    known: dict[str, list[float]] = {}
    for run in each.runs:
        cosines = mapping(mapping(run, when), "of_parameters")
        for name in cosines:
            value = number(cosines, name)
            if value is not None and not math.isnan(value):
                known.setdefault(name, []).append(value)
    return {name: statistics.fmean(values) for name, values in known.items()}


def by_seed(found: Sequence[Found], metric: Metric, valid: Metric) -> Markup:
    heads = ("rule", "seed", f"test {metric.name}", "validation", "best epoch", "time", "cosine, start", "cosine, end")
    rows: list[Row] = []
    for each in found:
        for run in each.runs:
            scores = [(own, number(run, f"{part}_score")) for part, own in (("test", metric), ("validation", valid))]
            cosines = [number(mapping(run, when), "cosine") for when in MOMENTS]
            rows.append((
                code(each.rule), cell(number(run, "seed"), "{:.0f}"),
                *(Cell(NONE) if value is None else Cell(own.text(value), value) for own, value in scores),
                cell(number(run, "best_epoch"), "{:.0f}"), span_cell(number(run, "seconds")),
                *(cell(value, "{:.3f}") for value in cosines),
            ))  # fmt: skip
    return table("What each seed came to.", heads, rows)
