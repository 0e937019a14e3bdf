"""How far rules' gradients are from the exact one: of which layer, over training, and where it is lost."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rheobase.measure.audit import Audit
from rheobase.measure.audit_paths import PATHS
from rheobase.measure.audit_training import Moment
from rheobase.plots.style import COLOURS, GREY, look, new_figure, styled, two_lines, whole_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Cosine -> colour: what is badly aligned stands out, and all between 0.9 and 1 looks alike.
SCALE = ((-1.0, "#6b2f00"), (0.0, "#d55e00"), (0.6, "#f6c9a3"), (0.8, "#f2f2f2"), (0.9, "#a9d0e8"), (1.0, "#0072b2"))
TICKS = (-1.0, 0.0, 0.6, 1.0)
UNKNOWN = "#d0d0d0"
ROW, LOWER = 0.27, 3.1  # inches: a layer, and the panels below


@styled
def audit(found: Audit | Sequence[Moment], title: str = "") -> "Figure":
    """What `rheobase audit` draws: a heat map of cosines to the exact gradient, layers x rules, and where the rest of
    it is lost.

    found: what `measure.audit` found; or `measure.audit_training`, of which the first and the last moment are shown,
        and the cosine of the whole gradient over training. Rules that refused are left out.
    """
    moments = [Moment(f"batches: {found.batches}", 0, found)] if isinstance(found, Audit) else list(found)
    if not moments or all(rule.total is None for rule in moments[-1].audit.rules):
        raise ValueError("Nothing to draw: every rule refused; `refusal` of each of `rules` says why.")
    first, last = moments[0], moments[-1]
    count = sum(rule.total is not None for rule in last.audit.rules)
    rows = len(last.audit.layers) + 1
    height = 1.5 + ROW * max(rows, 5)
    figure = new_figure(min(4.2 + 1.5 * count, 11.0) if len(moments) == 1 else 11.0, height + LOWER)
    figure.suptitle(title)
    upper, lower = figure.subfigures(2, 1, height_ratios=[height, LOWER])
    shown = [last] if last is first else [first, last]
    panels = upper.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for panel, moment in zip(panels, shown, strict=True):
        drawn = draw_heat(panel, moment.audit)
        panel.set_title(f"cosine to the exact gradient, {moment.title}")
    bar = upper.colorbar(drawn, ax=list(panels), ticks=TICKS, fraction=0.03, pad=0.01)
    bar.outline.set_visible(False)
    below = lower.subplots(1, 1 if last is first else 2, squeeze=False)[0]
    if last is not first:
        draw_curves(below[0], moments)
    draw_losses(below[-1], last.audit)
    return figure  # type: ignore[no-any-return]


def draw_heat(panel: Any, found: Audit) -> Any:
    """A row for each layer with parameters, in the model's order, and one for all together."""
    import numpy
    from matplotlib.colors import LinearSegmentedColormap

    stops = [((value + 1) / 2, colour) for value, colour in SCALE]
    colours = LinearSegmentedColormap.from_list("cosine", stops).with_extremes(bad=UNKNOWN)
    rules = [rule for rule in found.rules if rule.total is not None]
    cells = [[rule.of_layers[layer].cosine for rule in rules] for layer in found.layers]
    cells.append([math.nan if rule.total is None else rule.total.cosine for rule in rules])
    image = panel.imshow(numpy.array(cells), cmap=colours, vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    for row, values in enumerate(cells):
        for column, value in enumerate(values):
            light = 0.0 <= value < 0.95
            ink = "black" if light or math.isnan(value) else "white"
            text = "none" if math.isnan(value) else f"{value:.2f}"
            weight = "bold" if row == len(cells) - 1 else "normal"
            panel.text(column, row, text, ha="center", va="center", fontsize=8, color=ink, weight=weight)
    panel.axhline(len(cells) - 1.5, color="white", lw=4)
    names = [f"{shortened(layer)}  {kind}" for layer, kind in found.layers.items()]
    panel.set_yticks(range(len(cells)), [*names, "all"], fontsize=8, color="black")
    labels = [two_lines(rule.rule, 10) for rule in rules]
    is_wide = len(rules) > 3 and max(len(line) for label in labels for line in label.splitlines()) > 12
    turned = {"rotation": 20, "ha": "right"} if is_wide else {}
    panel.set_xticks(range(len(rules)), labels, fontsize=8, color="black", **turned)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    return image


def draw_curves(panel: Any, moments: Sequence[Moment]) -> None:
    """The cosine of each rule's whole gradient at each moment, with its standard deviation over the batches."""
    epochs = [moment.epoch for moment in moments]
    for place, rule in enumerate(moments[-1].audit.rules):
        each = [moment.audit.rules[place].total for moment in moments]
        known = [total for total in each if total is not None]
        if len(known) < len(moments):
            continue
        means, spreads = [total.cosine for total in known], [total.spread for total in known]
        low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
        high = [min(1.0, mean + spread) for mean, spread in zip(means, spreads, strict=True)]
        panel.fill_between(epochs, low, high, color=look(place)["color"], alpha=0.15, lw=0)
        panel.plot(epochs, means, marker="o", ms=3.5, label=two_lines(rule.rule, 10), **look(place))
    panel.set_title("whole gradient over training (band: spread over batches)")
    panel.set_xlabel("epochs trained")
    panel.set_ylabel("cosine")
    bottom, _ = panel.get_ylim()
    panel.set_ylim(bottom, 1 + 0.05 * (1 - bottom))
    whole_numbers(panel.xaxis)
    panel.grid(axis="y")
    panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, handlelength=1.4)


def draw_losses(panel: Any, found: Audit) -> None:
    """For each rule the length of what is wrong, by path, as a part of the exact gradient's length."""
    rules = [rule for rule in found.rules if rule.paths is not None]
    names = {"reset": "the reset", "normalisation": "the norms' statistics", "time": "time", "rest": "other terms"}
    for place, cause in enumerate((*PATHS, "rest")):
        errors = []
        for rule in rules:
            assert rule.paths is not None
            errors.append((rule.paths.rest if cause == "rest" else rule.paths.each[cause].lost).error)
        places = [row + (place - 1.5) * 0.2 for row in range(len(rules))]
        colour = GREY if cause == "rest" else COLOURS[place]
        panel.barh(places, errors, height=0.18, color=colour, label=names[cause])
    panel.set_yticks(range(len(rules)), [two_lines(rule.rule, 10) for rule in rules], fontsize=8, color="black")
    panel.invert_yaxis()
    panel.tick_params(axis="y", length=0)
    panel.set_xlim(left=0)
    panel.set_title("lost through, as a part of the exact gradient's length")
    panel.grid(axis="x")
    panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, handlelength=1.0)


def shortened(layer: str) -> str:
    """The end of a long name."""
    return layer if len(layer) <= 26 else f"…{layer[-25:]}"
