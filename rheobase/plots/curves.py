"""How training went, epoch by epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rheobase.metrics import ACCURACY, Metric
from rheobase.plots.style import COLOURS, GREY, look, new_figure, styled, whole_numbers
from rheobase.training.experiment import rule_text
from rheobase.training.fit import Report
from rheobase.training.history import PastRun, number, read_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Run = Report | PastRun | str | Path
DOTS = 30  # epochs up to which each one is a dot
WIDE = 100.0  # ratio of losses beyond which their axis is logarithmic


@dataclass(frozen=True)
class Curve:
    """One run's losses and scores by epoch, NaN where they are not known; the metric of its scores; the best epoch."""

    name: str
    epochs: Sequence[float]
    loss: Sequence[float]
    train: Sequence[float]
    validation: Sequence[float]
    metric: Metric
    best: float | None


@styled
def learning_curves(runs: Run | Sequence[Run], names: Sequence[str] | None = None) -> "Figure":
    """The loss, and the scores on train and validation parts, over the epochs of one or several runs.

    A ring marks the epoch whose weights a run keeps, once it is done. Several runs show their validation scores alone.

    runs: folders, what `fit` returned, or `PastRun`s. names: theirs; the folders' or the rules' by default.
    """
    several = [runs] if isinstance(runs, (str, Path, Report, PastRun)) else list(runs)
    if not several or (names is not None and len(names) != len(several)):
        raise ValueError(f"Expected at least one run and a name for each, got {len(several)} and names {names}.")
    curves = [curve_of(run, None if names is None else names[place]) for place, run in enumerate(several)]
    figure = new_figure(9.5, 3.4)
    left, right = figure.subplots(1, 2)
    draw_losses(left, curves)
    (draw_score if len(curves) == 1 else draw_scores)(right, curves)
    if all(math.isnan(score) for curve in curves for score in (*curve.train, *curve.validation)):
        right.text(0.5, 0.5, "no scores on record", transform=right.transAxes, ha="center", color=GREY)
    metric = curves[0].metric
    same = all(curve.metric == metric for curve in curves)
    right.set_title(f"{metric.name}, {metric.unit}".rstrip(", ") if same else "score")
    for panel in (left, right):
        panel.set_xlabel("epoch")
        panel.grid()
        whole_numbers(panel.xaxis)
    if len(curves) > 1:
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper")
    return figure


def curve_of(run: Run, name: str | None) -> Curve:
    """Raises ValueError where no epoch was completed."""
    best: float | None
    if isinstance(run, Report):
        epochs: Sequence[Mapping[str, Any]] = [asdict(epoch) for epoch in run.epochs]
        own, metric, best = rule_text(run.experiment.rule), run.metric, float(run.best_epoch)
        if metric != ACCURACY:  # it is the test part's, and the others may have another
            metric = replace(metric, name="score", unit="")
    else:
        past = run if isinstance(run, PastRun) else read_run(Path(run), Path(run).name)
        epochs, own, metric, best = past.epochs, past.name, past.metric("validation"), number(past.result, "best_epoch")
    if not epochs:
        raise ValueError(f"The run {name or own!r} has no complete epoch to draw.")

    def of(key: str) -> list[float]:
        return [math.nan if (value := number(epoch, key)) is None else value for epoch in epochs]

    factor = metric.factor
    train, validation = ([factor * score for score in of(f"{part}_score")] for part in ("train", "validation"))
    places = [place if math.isnan(e) else e for place, e in enumerate(of("epoch"), start=1)]
    return Curve(name or own, places, of("loss"), train, validation, metric, best)


def marker(curve: Curve) -> dict[str, Any]:
    return {"marker": "o", "ms": 3} if len(curve.epochs) <= DOTS else {}


def draw_losses(panel: Any, curves: Sequence[Curve]) -> None:
    for place, curve in enumerate(curves):
        panel.plot(curve.epochs, curve.loss, **look(place), **marker(curve), label=curve.name)
    panel.set_title("train loss")
    finite = [loss for curve in curves for loss in curve.loss if math.isfinite(loss)]
    if finite and 0 < WIDE * min(finite) < max(finite):
        panel.set_yscale("log")


def draw_score(panel: Any, curves: Sequence[Curve]) -> None:
    """Both parts of one run."""
    (curve,) = curves
    panel.plot(curve.epochs, curve.train, color=GREY, ls="--", lw=1.2, label="train")
    panel.plot(curve.epochs, curve.validation, color=COLOURS[0], **marker(curve), label="validation")
    ring(panel, curve, COLOURS[0], "weights kept")
    panel.legend(loc="best")


def draw_scores(panel: Any, curves: Sequence[Curve]) -> None:
    for place, curve in enumerate(curves):
        panel.plot(curve.epochs, curve.validation, **look(place), **marker(curve), label=curve.name)
        ring(panel, curve, look(place)["color"])


def ring(panel: Any, curve: Curve, colour: str, label: str | None = None) -> None:
    if curve.best in curve.epochs:
        score = curve.validation[curve.epochs.index(curve.best)]
        panel.plot([curve.best], [score], marker="o", ms=9, mfc="none", mec=colour, mew=1.4, ls="none", label=label)
