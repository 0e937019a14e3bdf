"""What a run says while it goes on: a live bar in a terminal, plain lines elsewhere."""

import time
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from rheobase.training.loop import Epoch


class Progress(Protocol):
    """What a run tells as it goes on."""

    def start(self, epochs: int, batches: int, done: int) -> None:
        """Of `epochs` epochs of `batches` batches, `done` are done."""

    def batch(self, epoch: int, batch: int, loss: float, samples_per_second: float) -> None:
        """A batch is done."""

    def epoch(self, record: "Epoch") -> None:
        """An epoch is done and evaluated."""

    def stop(self) -> None:
        """The run has ended, well or not."""


class Silent:
    """Says nothing."""

    def start(self, epochs: int, batches: int, done: int) -> None:
        pass

    def batch(self, epoch: int, batch: int, loss: float, samples_per_second: float) -> None:
        pass

    def epoch(self, record: "Epoch") -> None:
        pass

    def stop(self) -> None:
        pass


class ConsoleProgress:
    """A line for each epoch, and below them, in a terminal, a bar that moves with the batches.

    title: stands before the bar. lines: whether epochs get lines, or the whole run one at its end.
    """

    def __init__(self, console: Console, *, title: str = "training", lines: bool = True) -> None:
        self._console, self._title, self._lines = console, title, lines
        self._bar: Bar | None = None
        self._last: Epoch | None = None

    def start(self, epochs: int, batches: int, done: int) -> None:
        self._epochs, self._batches, self._first, self._started = epochs, batches, done, time.perf_counter()
        if self._console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[now]}"),
                TimeRemainingColumn(), console=self._console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task(
                escape(self._title), total=epochs * batches, completed=done * batches, now=""
            )
            self._bar.start()

    def batch(self, epoch: int, batch: int, loss: float, samples_per_second: float) -> None:
        if self._bar is not None:
            now = f"epoch {epoch}/{self._epochs}  loss {loss:.4f}  {samples_per_second:,.0f} samples/s"
            self._bar.update(self._task, completed=(epoch - 1) * self._batches + batch, now=now)

    def epoch(self, record: "Epoch") -> None:
        self._last = record
        if self._lines:
            spent = (time.perf_counter() - self._started) / (record.epoch - self._first)
            left = spent * (self._epochs - record.epoch)
            self._console.print(
                f"{epoch_line(record, self._epochs)}  {clock(left)} left", highlight=False, soft_wrap=True
            )

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._last is not None and not self._lines:
            line = f"{escape(self._title)}: {epoch_line(self._last, self._epochs)}"
            self._console.print(line, highlight=False, soft_wrap=True)


def epoch_line(record: "Epoch", epochs: int) -> str:
    """One epoch in one line, with the firing rate of each layer, dead and saturated ones pointed out."""
    rates = ", ".join(layer_rate(name, rate, record.ailments.get(name)) for name, rate in record.firing_rates.items())
    return (
        f"epoch {record.epoch:>{len(str(epochs))}}/{epochs}  loss {record.loss:.4f}  "
        f"train {100 * record.train_accuracy:5.1f} %  validation {100 * record.validation_accuracy:5.1f} %  "
        f"firing {rates or 'none'}  {record.samples_per_second:,.0f} samples/s"
    )


def layer_rate(name: str, rate: float, ailment: str | None) -> str:
    return f"{100 * rate:.1f} %" + (f" [bold red]({escape(name)} is {ailment})[/]" if ailment else "")


def clock(seconds: float) -> str:
    """Seconds as minutes:seconds, or with hours before."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
