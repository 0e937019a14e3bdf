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
from rheobase.report.table import Cell, Row, table
from rheobase.report.texts import NONE, cell, day, share
from rheobase.training.history import mapping, number, text

DRAWN = ("audit.png",)
GOOD = {
    "aligned": "good", "aligned in direction": "warn", "aligned where there is a gradient": "warn",
    "partly aligned": "warn",
}  # fmt: skip
FIGURES = ("cosine", "spread", "norm_ratio", "bias", "bias_by_chance", "noise", "exact_noise")
LOST = {"reset": "reset", "normalisation": "norms' statistics", "time": "time", "rest": "other terms"}
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
    for finding in moments[-1].get("findings", []):
        return joined((f"The model has a defect: {text(finding, 'text').partition(': ')[0]}.",))
    return rules_sentence(moments[-1])


def rules_sentence(last: Values) -> Markup:
    known = [(value, rule) for rule in last["rules"] if (value := cosine(rule)) is not None]
    others = [(value, rule) for value, rule in known if text(rule, "rule") != text(rule, "exact")] or known
    if not others:
        return joined(("No rule has a gradient to compare.",))
    others.sort(key=lambda pair: pair[0])
    bad = [pair for pair in others if not state(pair[1]).startswith("aligned")]
    if not bad:
        low, worst = others[0]
        every = "Every rule" if len(others) > 1 else "It"
        direction = ", not always in length" if any(state(rule) == "aligned in direction" for _, rule in others) else ""
        return joined(
            (f"{every} follows the exact gradient{direction}: the least cosine is {low:.2f}, of ", name(worst), ".")
        )
    named = [
        joined((", " if place else "", name(rule), f" ({cosine_text(value)})"))
        for place, (value, rule) in enumerate(bad[:3])
    ]
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    verb = "strays" if len(bad) == 1 else "stray"
    rest = f"; {len(others) - len(bad)} of {len(others)} rules follow it" if len(bad) < len(others) else ""
    return joined((*named, f"{more} {verb} from the exact gradient{rest}."))


def notes(last: Values) -> list[str]:
    told = rules_sentence(last) if last.get("findings") else ""
    return [*([told] if told else []),
        "The number is the cosine between the rule's gradient and the exact one of its objective: 1 is exact, 0 has "
        "nothing to do with it, below 0 it points away. "
        f"{text(last, 'title').capitalize()}, mean over {last.get('batches', '?')} batches.",
    ]  # fmt: skip


def name(rule: Values) -> Markup:
    return code(text(rule, "rule"))


def cosine_text(value: float) -> str:
    return f"{value:.2f}"


def cosine(rule: Values) -> float | None:
    return number(mapping(rule, "total"), "cosine")


def state(rule: Values) -> str:
    return text(mapping(rule, "verdict"), "state")


def verdicts(moments: Sequence[Values]) -> Markup:
    first, last = ({text(rule, "rule"): rule for rule in moment["rules"]} for moment in (moments[0], moments[-1]))
    words = {rule_name: in_words(rule) for rule_name, rule in last.items()}
    rows: list[Row] = []
    for rule_name, rule in last.items():
        both = [first.get(rule_name, {}), rule] if len(moments) > 1 else [rule]
        rows.append((
            name(rule), Cell(state(rule), look=GOOD.get(state(rule), "bad")),
            *(cell(cosine(each), "{:.3f}") for each in both),
            *([Cell(words[rule_name], look="wide")] if any(words.values()) else []),
        ))  # fmt: skip
    when = ["start", "end"] if len(moments) > 1 else ["cosine"]
    heads = ("rule", "verdict", *when, *(["in words"] if any(words.values()) else []))
    return table(f"Of the whole gradient, {text(moments[-1], 'title')}.", heads, rows)


def in_words(rule: Values) -> str:
    """The verdict without its state and its cosine, which have columns of their own."""
    before, _, after = text(mapping(rule, "verdict"), "text").partition(f": {cosine(rule) or 0.0:.2f}")
    return (before.removeprefix(state(rule)) + after).strip(",:; ")


def cosines(moments: Sequence[Values]) -> Section:
    """Heat maps of the last and the first moment, layers x rules; curves over training."""
    maps: list[str] = []
    for moment in (moments[-1], *moments[:-1][:1]):
        rules = [rule for rule in moment["rules"] if mapping(rule, "total")]
        layers = mapping(moment, "layers")
        columns = {
            text(rule, "rule"): [
                *(number(mapping(mapping(rule, "of_layers"), layer), "cosine") for layer in layers), cosine(rule),
            ]
            for rule in rules
        }  # fmt: skip
        names = [f"{layer} {kind}" for layer, kind in layers.items()]
        maps.append(
            heat_map(f"Cosine to the exact gradient, {text(moment, 'title')}.", [*names, "all"], columns, "layer")
        )
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
    rows, bars = list[Row](), list[Bar]()
    for look, rule in enumerate(last["rules"]):
        paths = mapping(rule, "paths")
        if not paths:
            continue
        errors = [number(lost(paths, cause), "error") for cause in LOST]
        rows.append((name(rule), *(cell(error, "{:.3f}") for error in errors)))
        known = [(error, cause) for error, cause in zip(errors, LOST.values(), strict=True) if error is not None]
        most, cause = max(known, default=(0.0, ""))
        told = f"{most:.2f}, {cause}" if most >= 0.005 else "nothing"
        bars.append(Bar(text(rule, "rule"), most, told, look))
    note = "as a part of the exact gradient's length"
    return Section("Where it is lost", [
        element("div", {"class": "charts"}, bar_chart("the largest loss of each rule", note, bars)),
        table(f"Lost through, {note}.", ("rule", *LOST.values()), rows),
    ])  # fmt: skip


def lost(paths: Values, cause: str) -> Values:
    return mapping(paths, "rest") if cause == "rest" else mapping(mapping(mapping(paths, "each"), cause), "lost")


def figures(last: Values) -> Section:
    rows, refused = list[Row](), list[Markup]()
    for rule in last["rules"]:
        total = mapping(rule, "total")
        if total:
            rows.append((name(rule), *(cell(number(total, figure), "{:.3f}") for figure in FIGURES)))
        else:
            refused.append(joined((name(rule), f" refused: {rule.get('refusal')}")))
    caption = (
        "Means over the batches. Bias: what does not average out, beside what so many batches show by chance. Noise: "
        "the variance over batches, in units of the mean's squared length, beside the exact gradient's."
    )
    heads = ("rule", "cosine", "spread", "length", "bias", "by chance", "noise", "exact noise")
    return Section("Bias and noise", [table(caption, heads, rows), *([listed(refused)] if refused else [])])


def neurons(last: Values) -> Section:
    rows: list[Row] = []
    for layer in last.get("neurons", []):
        rate, ailment = number(layer, "rate"), text(layer, "ailment")
        rows.append((
            code(text(layer, "name")), text(layer, "kind"), Cell(NONE) if rate is None else Cell(share(rate), rate),
            cell(number(layer, "sloped"), "{:.3f}"), cell(number(layer, "decay"), "{:.3g}"),
            Cell(ailment or "fires", look="bad" if ailment else "good"),
        ))  # fmt: skip
    caption = (
        "Sloped: the share of neurons and steps whose slopes carry the gradient, near 0 where almost all are zero."
    )
    return Section("Neurons", [table(caption, ("layer", "kind", "firing rate", "sloped", "decay", "state"), rows)])
