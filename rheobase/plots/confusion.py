"""Which classes are taken for which."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rheobase.plots.style import GREY, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED, NAMED = 20, 40  # classes up to which cells show their number, and each class its name
WORST = 3  # confusions that are told, from two cases on


def confusion_counts(outputs: Tensor, target: Tensor, classes: int | None = None) -> Tensor:
    """How many samples of each class (rows) were taken for each class (columns), `[C, C]`, int64.

    outputs: a model's `[T, N, C]`, of which the largest mean over time counts; `[N, C]`; or chosen classes `[N]`.
    target: `[N]`, int64. classes: C, where the outputs do not tell.
    """
    scores = outputs.mean(0) if outputs.dim() == 3 else outputs
    chosen = scores.argmax(1) if scores.dim() == 2 else scores
    if chosen.shape != target.shape or target.dim() != 1:
        raise ValueError(
            f"Expected outputs [T, N, C], [N, C] or [N] for N targets, got {list(outputs.shape)} for a target of shape "
            f"{list(target.shape)}."
        )
    if scores.dim() == 2:
        classes = scores.shape[1]
    both = torch.stack([target.cpu(), chosen.cpu()])
    size = classes or int(both.max()) + 1
    strange = both[(both < 0) | (both >= size)]
    if len(strange):
        raise ValueError(f"Expected classes from 0 to {size - 1}, got {int(strange[0])}.")
    return torch.bincount(both[0] * size + both[1], minlength=size**2).view(size, size)


@styled
def confusion(
    outputs: Tensor, target: Tensor, classes: Sequence[str] | None = None, *, axes: "Axes | None" = None
) -> "Figure":
    """The confusion matrix: rows are the true classes, their colour the share that was taken for the column's class.

    outputs, target: as in `confusion_counts`. classes: their names, in order.
    """
    counts = confusion_counts(outputs, target, None if classes is None else len(classes))
    names = [str(c) for c in range(len(counts))] if classes is None else list(classes)
    if len(names) != len(counts):
        raise ValueError(f"Expected {len(counts)} class names, one for each output, got {len(names)}.")
    side = min(3.0 + 0.34 * len(counts), 9.0)
    panel: Any = new_figure(side + 1.2, side + 0.4).subplots() if axes is None else axes
    draw_confusion(panel, counts, names)
    return panel.figure


def draw_confusion(panel: Any, counts: Tensor, names: Sequence[str]) -> None:
    shares = 100 * counts / counts.sum(1, keepdim=True).clamp(min=1)
    from matplotlib.colors import PowerNorm

    scale = PowerNorm(0.5, 0, 100)  # so that rare mistakes are seen too
    drawn = panel.imshow(shares.numpy(), cmap="Blues", norm=scale, interpolation="nearest")
    bar = panel.figure.colorbar(drawn, ax=panel, shrink=0.75, pad=0.02, label="% of the true class")
    bar.set_ticks([0, 1, 5, 10, 25, 50, 75, 100])
    shown = range(0, len(names), 1 if len(names) <= NAMED else 5 * -(-len(names) // 100))
    upright = 0 if max(len(names[c]) for c in shown) <= 2 else 90
    panel.set_xticks(shown, [names[c] for c in shown], rotation=upright)
    panel.set_yticks(shown, [names[c] for c in shown])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_xlabel("taken for")
    panel.set_ylabel("true class")
    if len(names) <= NUMBERED:
        for row, column in counts.nonzero().tolist():
            colour = "white" if shares[row, column] > 30 else GREY
            panel.text(column, row, str(int(counts[row, column])), ha="center", va="center", fontsize=8, color=colour)
    panel.set_title(summary(counts, names))


def summary(counts: Tensor, names: Sequence[str]) -> str:
    """The accuracy, and the confusions that are most frequent."""
    right, total = int(counts.diagonal().sum()), int(counts.sum())
    wrong = counts.clone().fill_diagonal_(0)
    worst = wrong.flatten().argsort(descending=True, stable=True)[:WORST].tolist()
    pairs = [divmod(place, len(names)) for place in worst]
    told = [
        f"{names[row]} taken for {names[column]} ({int(wrong[row, column])})"
        for row, column in pairs
        if wrong[row, column] > 1
    ]
    between = ", " if sum(map(len, told)) < 60 else "\n"
    return f"{100 * right / max(total, 1):.1f} % of {total} right" + "".join(["\n", between.join(told)] if told else [])
