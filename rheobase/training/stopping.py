"""Stopping between two batches, with everything saved, when the system or the user asks for it."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):  # noqa: N818 -- not an error: the run was asked to stop
    """The run was stopped by a signal, its state saved.

    exit_code: the conventional one, 128 + signal.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(f"Stopped by {self.signal.name}.")

    @property
    def exit_code(self) -> int:
        return 128 + self.signal


@dataclass(frozen=True)
class Wishes:
    """What a process wants between two batches: to save, and to stop because of a signal (0 for none)."""

    save: bool = False
    signal: int = 0

    @property
    def signals(self) -> list[bool]:
        """For each of SIGNALS whether it came, to be told to the other processes."""
        return [self.signal == number for number in SIGNALS]


def signal_of(counts: Sequence[float]) -> int:
    """The first of SIGNALS that came to any process, 0 for none. counts: in how many each did."""
    return next((number for number, count in zip(SIGNALS, counts, strict=True) if count), 0)


class Stop:
    """What was asked for.

    requested: the number of the first signal that came, None while none has.
    """

    def __init__(self) -> None:
        self.requested: int | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self.requested is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.requested is None:
            self.requested = number


@contextmanager
def listening() -> Iterator[Stop]:
    """Inside, SIGTERM and SIGINT are only noted; a SIGINT after one of them raises KeyboardInterrupt at once.

    Outside of the main thread, where Python hears no signals, nothing changes; nor for a signal that is ignored (nohup)
    or that another language handles.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in heard:
            signal.signal(number, stop)
        yield stop
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
