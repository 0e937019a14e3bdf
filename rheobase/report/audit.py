"""What is told of an audit: how far each rule's gradient is from the exact one, layer by layer."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rheobase.report.bars import Bar, bar_chart
from rheobase.report.heat import heat_map, scale
from rheobase.report.html import Markup, code, element, folded, joined, listed
from rheobase.report.lines import Axes, Line, line_chart
from rheobase.report.origin import environment, pictures, settings
from rheobase.report.page import Chapter, Section
from rheobase.report.table import Cell, table
from rheobase.report.texts import cell, day, share
from rheobase.training.history import mapping, number, text

DRAWN = ("audit.png",)
GOOD = {"aligned": "good", "partly aligned": "warn"}
LOST = {"reset": "reset", "normalisation": "norms’ statistics", "time": "time", "rest": "other terms"}
Values = Mapping[str, Any]


def audit_chapter(folder: Path, values: Values) -> Chapter:
    """values: what `audit` wrote to audit.json."""
    moments = [moment for moment in values["moments"] if isinstance(moment, dict)]
    last, experiment = moments[-1], mapping(values, "experiment")
    findings = [text(finding, "text") for finding in last.get("findings", [])]
    sections = [Section("What is wrong with the model", [listed(findings)])] if findings else []
    sections += [Section("Verdicts", [verdicts(moments)]), cosines(moments)]
    if any(mapping(rule, "paths") for rule in last["rules"]):
        sections.append(losses(last))
    sections += [figures(last), neurons(last), *pictures(folder, DRAWN), settings(values), environment(values)]
    about = [
        text(experiment, "model"), text(experiment, "data"), f"trained with {experiment.get('rule', '?')}", day(values),
    ]  # fmt: skip
    return Chapter(
        f"Audit {folder.resolve().name}", headline(moments), " · ".join(filter(None, about)), sections, notes(last)
    )


def headline(moments: Sequence[Values]) -> Markup:
    """What is wrong with the model, else which rules follow the exact gradient."""
    last = moments[-1]
    wrong = "".join(f"The model: {text(finding, 'text')}. " for finding in last.get("findings", [])[:1])
    known = [(rule, value) for rule in last["rules"] if (value := cosine(rule)) is not None]
    others = [(rule, value) for rule, value in known if text(rule, "rule") != text(rule, "exact")] or known
    if not others:
        return joined((wrong or "No rule has a gradient to compare.",))
    bad = sorted(((value, rule) for rule, value in others if state(rule) != "aligned"), key=lambda pair: pair[0])
    low, worst = min(((value, text(rule, "rule")) for rule, value in others))
    if not bad:
        every = "Every rule" if len(others) > 1 else "It"
        return joined((wrong, f"{every} follows the exact gradient: the least cosine is {low:.2f}, of ", code(worst), "."))
    named = [joined((code(text(rule, "rule")), f" ({value:.2f})".replace("-", "−"))) for value, rule in bad[:3]]
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    told = [part for place, name in enumerate(named) for part in ((", " if place else ""), name)]
    verb = "strays" if len(bad) == 1 else "stray"
    return joined((wrong, *told, f"{more} {verb} from the exact gradient; {len(others) - len(bad)} of {len(others)} rules follow it."))


def notes(last: Values) -> list[str]:
    count = last.get("batches", "?")
    return [
        "The number is the cosine between the rule’s gradient and the exact one of its objective: 1 is exact, 0 has nothing "
        f"to do with it, below 0 it points away. {text(last, 'title').capitalize()}, mean over {count} batches."
    ]


def cosine(rule: Values) -> float | None:
    return number(mapping(rule, "total"), "cosine")


def state(rule: Values) -> str:
    return text(mapping(rule, "verdict"), "state")


def verdicts(moments: Sequence[Values]) -> Markup:
    first, last = ({text(rule, "rule"): rule for rule in moment["rules"]} for moment in (moments[0], moments[-1]))
    rows = []
    for name, rule in last.items():
        look = GOOD.get(state(rule), "bad")
        both = [first.get(name, {}), rule] if len(moments) > 1 else [rule]
        told = text(mapping(rule, "verdict"), "text").removeprefix(f"{state(rule)}: ")
        told = told.removeprefix(f"{cosine(rule) or 0.0:.2f}").removeprefix("; ")
        rows.append((
            code(name), Cell(state(rule), look=look), *(cell(cosine(each), "{:.3f}") for each in both), Cell(told, look="wide"),
        ))  # fmt: skip
    when = ["start", "end"] if len(moments) > 1 else ["cosine"]
    return table(
        f"Of the whole gradient, {text(moments[-1], 'title')}.", ("rule", "verdict", *when, "in words"), rows
    )


def cosines(moments: Sequence[Values]) -> Section:
    """Heat maps of the last and the first moment, layers x rules; curves over training."""
    maps: list[str] = []
    for moment in (moments[-1], *moments[:-1][:1]):
        rules = [rule for rule in moment["rules"] if mapping(rule, "total")]
        layers = mapping(moment, "layers")
        columns = {
            text(rule, "rule"): [*(number(mapping(mapping(rule, "of_layers"), name), "cosine") for name in layers), cosine(rule)]
            for rule in rules
        }  # fmt: skip
        names = [f"{name} {kind}" for name, kind in layers.items()]
        maps.append(heat_map(f"Cosine to the exact gradient, {text(moment, 'title')}.", [*names, "all"], columns, "layer"))
    parts = [maps[0], scale(), *(folded(text(moments[0], "title").capitalize(), each) for each in maps[1:])]
    if len(moments) > 1:
        lines = [
            Line(text(rule, "rule"), [(number(m, "epoch") or 0.0, of_rule(m, place)) for m in moments], place)
            for place, rule in enumerate(moments[-1]["rules"]) if mapping(rule, "total")
        ]  # fmt: skip
        chart = line_chart("cosine of the whole gradient over training", lines, Axes("epochs trained"))
        parts.append(element("div", {"class": "charts"}, chart))
    return Section("Layers and rules", parts)


def of_rule(moment: Values, place: int) -> float:
    found = cosine(moment["rules"][place])
    return math.nan if found is None else found


def losses(last: Values) -> Section:
    """By what the gradient is wrong, as a part of the exact one's length."""
    rows, bars = [], []
    for look, rule in enumerate(last["rules"]):
        paths = mapping(rule, "paths")
        if not paths:
            continue
        errors = [number(lost(paths, cause), "error") for cause in LOST]
        rows.append((code(text(rule, "rule")), *(cell(error, "{:.3f}") for error in errors)))
        known = [(error, cause) for error, cause in zip(errors, LOST.values(), strict=True) if error is not None]
        most, cause = max(known, default=(0.0, ""))
        told = f"{most:.2f}, {cause}" if most >= 0.005 else "nothing"
        bars.append(Bar(text(rule, "rule"), most, told, look))
    note = "as a part of the exact gradient’s length"
    return Section("Where it is lost", [
        element("div", {"class": "charts"}, bar_chart("the largest loss of each rule", note, bars)),
        table(f"Lost through, {note}.", ("rule", *LOST.values()), rows),
    ])  # fmt: skip


def lost(paths: Values, cause: str) -> Values:
    return mapping(paths, "rest") if cause == "rest" else mapping(mapping(mapping(paths, "each"), cause), "lost")


def figures(last: Values) -> Section:
    names = ("cosine", "spread", "norm_ratio", "bias", "bias_by_chance", "noise", "exact_noise")
    rows, refused = [], []
    for rule in last["rules"]:
        total = mapping(rule, "total")
        if total:
            rows.append((code(text(rule, "rule")), *(cell(number(total, name), "{:.3f}") for name in names)))
        else:
            refused.append(joined((code(text(rule, "rule")), f" refused: {rule.get('refusal')}")))
    caption = (
        "Means over the batches. Bias: what does not average out, beside what so many batches show by chance. Noise: the "
        "variance over batches, in units of the mean’s squared length, beside the exact gradient’s."
    )
    heads = ("rule", "cosine", "spread", "length", "bias", "by chance", "noise", "exact noise")
    return Section("Bias and noise", [table(caption, heads, rows), *([listed(refused)] if refused else [])])


def neurons(last: Values) -> Section:
    rows = []
    for layer in last.get("neurons", []):
        rate, ailment = number(layer, "rate"), text(layer, "ailment")
        rows.append((
            code(text(layer, "name")), text(layer, "kind"), Cell("–") if rate is None else Cell(share(rate), rate),
            cell(number(layer, "sloped"), "{:.3f}"), cell(number(layer, "decay"), "{:.3g}"),
            Cell(ailment or "fires", look="bad" if ailment else "good"),
        ))  # fmt: skip
    caption = "Sloped: the share of neurons and steps whose slopes carry the gradient, near 0 where almost all are zero."
    return Section("Neurons", [table(caption, ("layer", "kind", "firing rate", "sloped", "decay", "state"), rows)])
