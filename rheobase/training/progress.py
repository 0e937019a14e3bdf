"""What a run says while it goes on: a live bar in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from rheobase.metrics import Metric
from rheobase.training.environment import peak_memory
from rheobase.training.time_left import TimeLeft

if TYPE_CHECKING:
    from rheobase.training.loop import Epoch

LAYERS, NAMES = 8, 3  # most layers whose rates are shown, and of ill layers the most names
REDRAWN, REPEATED = 0.1, 30.0  # seconds between two looks of the bar, and between two lines within an epoch


@dataclass(frozen=True)
class Plan:
    """What a run is going to do: `epochs` epochs of `batches` batches, of which `done` in all are done already.

    train, validation: the metrics of the epochs' scores.
    """

    epochs: int
    batches: int
    done: int
    device: torch.device
    train: Metric
    validation: Metric


class Progress(Protocol):
    """What a run tells as it goes on."""

    def start(self, plan: Plan) -> None:
        """The run begins, or goes on."""

    def batch(self, epoch: int, batch: int, loss: float, samples_per_second: float) -> None:
        """A batch is done; both numbers count from 1. The samples are those of all processes, without evaluation."""

    def epoch(self, record: "Epoch") -> None:
        """An epoch is done and evaluated."""

    def say(self, text: str) -> None:
        """A message of the run, such as that a damaged checkpoint was skipped."""

    def stop(self) -> None:
        """The run has ended, well or not."""


class Silent:
    """Says nothing."""

    def start(self, plan: Plan) -> None:
        pass

    def batch(self, epoch: int, batch: int, loss: float, samples_per_second: float) -> None:
        pass

    def epoch(self, record: "Epoch") -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def stop(self) -> None:
        pass


class ConsoleProgress:
    """A line for each epoch, and while it lasts, in a terminal a bar that moves, elsewhere a line every 30 s.

    title: stands before the bar. lines: whether epochs get lines, or the whole run one at its end.
    now: the clock, in seconds.
    """

    def __init__(
        self,
        console: Console,
        *,
        title: str = "training",
        lines: bool = True,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._console, self._title, self._lines, self._now = console, title, lines, now
        self._bar: Bar | None = None
        self._last: Epoch | None = None

    def start(self, plan: Plan) -> None:
        self._plan, self._shown = plan, self._now()
        self._left = TimeLeft(plan.epochs, plan.batches, plan.done, self._shown)
        if self._console.is_terminal:
            folded = TextColumn("{task.fields[now]}", table_column=Column())  # onto a second line, if need be
            bar = BarColumn(bar_width=24 if self._console.width >= 120 else 8)
            self._bar = Bar(TextColumn("{task.description}"), bar, folded, console=self._console, transient=True)
            self._task = self._bar.add_task(
                escape(self._title), total=plan.epochs * plan.batches, completed=plan.done, now=""
            )
            self._bar.start()

    def batch(self, epoch: int, batch: int, loss: float, samples_per_second: float) -> None:
        now = self._now()
        self._left.batch(now)
        if now - self._shown < (REPEATED if self._bar is None else REDRAWN):
            return
        self._shown = now
        place = f"{epoch_of(epoch, self._plan.epochs)}  batch {batch}/{self._plan.batches}"
        text = f"{place}  loss {loss:.4f}  {self._cost(samples_per_second)}"
        if self._bar is not None:
            self._bar.update(self._task, completed=(epoch - 1) * self._plan.batches + batch, now=text)
        else:
            self._print(text if self._lines else f"{escape(self._title)}: {text}")

    def epoch(self, record: "Epoch") -> None:
        self._last, self._shown = record, self._now()
        self._left.epoch(self._shown)
        if self._lines:
            self._print(f"{epoch_line(record, self._plan)}  {self._cost(record.samples_per_second)}")

    def say(self, text: str) -> None:
        self._print(escape(text))

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._last is not None and not self._lines:
            cost = f"{self._last.samples_per_second:,.0f} samples/s"
            self._print(f"{escape(self._title)}: {epoch_line(self._last, self._plan)}  {cost}")

    def _cost(self, samples_per_second: float) -> str:
        peak = peak_memory(self._plan.device)
        memory = "" if peak is None else f"  peak {peak / 2**20:,.0f} MiB"
        return f"{samples_per_second:,.0f} samples/s{memory}  {clock(self._left.seconds())} left"

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def epoch_line(record: "Epoch", plan: Plan) -> str:
    """One epoch in one line, with the firing rates of the layers, dead and saturated ones pointed out."""
    skipped = f"  [bold red]{record.skipped} batches left out[/]" if record.skipped else ""
    return (
        f"{epoch_of(record.epoch, plan.epochs)}  loss {record.loss:.4f}  "
        f"{score('train', plan.train, record.train_score)}  "
        f"{score('validation', plan.validation, record.validation_score)}  "
        f"firing {rates_text(list(record.firing_rates.values()))}{ill_text(record.ailments)}{skipped}"
    )


def epoch_of(number: int, epochs: int) -> str:
    return f"epoch {number:>{len(str(epochs))}}/{epochs}"


def score(part: str, metric: Metric, value: float) -> str:
    """The unit of an accuracy tells what it is; other metrics are named."""
    name = "" if metric.name == "accuracy" else f" {metric.name}"
    return f"{part}{name} {metric.text(value)}"


def rates_text(rates: Sequence[float]) -> str:
    """The rate of each layer, of many layers the lowest and the highest."""
    if len(rates) <= LAYERS:
        return ", ".join(f"{100 * rate:.1f} %" for rate in rates) or "none"
    return f"{100 * min(rates):.1f} to {100 * max(rates):.1f} % in {len(rates)} layers"


def ill_text(ailments: Mapping[str, str]) -> str:
    """The layers with each ailment: a few names, then how many more."""
    found = ""
    for ailment in dict.fromkeys(ailments.values()):
        names = [name or "the model" for name, own in ailments.items() if own == ailment]
        more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
        told = f"{', '.join(names[:NAMES])}{more} {'is' if len(names) == 1 else 'are'} {ailment}"
        found += f" [bold red]({escape(told)})[/]"
    return found


def clock(seconds: float) -> str:
    """Seconds as minutes:seconds, or with hours before."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
