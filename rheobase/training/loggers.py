"""Where the numbers of a run go besides its own files: three methods, and TensorBoard as an example of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rheobase.explained import explained

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


class Logger(Protocol):
    """Takes what a run tells. Values are plain: numbers, text, None, and mappings of them by name."""

    def start(self, settings: Mapping[str, Any], folder: Path | None) -> None:
        """The run begins, or goes on: what config.json holds, and the folder of the run."""

    def log(self, record: Mapping[str, Any], step: int) -> None:
        """What is known after `step` optimiser steps: {"batch": {...}} or {"epoch": {...}}."""

    def stop(self, outcome: Mapping[str, Any]) -> None:
        """The run has ended, well or not: outcome["state"] is "done", "stopped" or "failed"."""


class Guarded:
    """Several loggers as one. One that raises is named once by `say` and left out from then on; the run goes on.

    At the start, when nothing can be lost, an error is raised: the loggers started before it are stopped.
    """

    def __init__(self, loggers: Sequence[Logger], say: "Say") -> None:
        self._waiting, self._live, self._say = tuple(loggers), list[Logger](), say

    def start(self, settings: Mapping[str, Any], folder: Path | None) -> None:
        try:
            for logger in self._waiting:
                logger.start(settings, folder)
                self._live.append(logger)
        except BaseException:
            self.stop({"state": "failed"})
            raise

    def log(self, record: Mapping[str, Any], step: int) -> None:
        for logger in tuple(self._live):
            try:
                logger.log(record, step)
            except Exception as error:  # noqa: BLE001 -- days of training outweigh any error of a logger
                self._drop(logger, f"raised at step {step} and is left out from here on", error)

    def stop(self, outcome: Mapping[str, Any]) -> None:
        for logger in tuple(self._live):
            try:
                logger.stop(outcome)
            except Exception as error:  # noqa: BLE001 -- what the run brought is in its own files
                self._drop(logger, "raised at the end", error)
        self._live.clear()

    def _drop(self, logger: Logger, what: str, error: Exception) -> None:
        self._live.remove(logger)
        self._say(f"The logger {type(logger).__name__} {what}: {type(error).__name__}: {error}")


class Say(Protocol):
    def __call__(self, text: str, /) -> None: ...


class TensorBoard:
    """Writes event files for TensorBoard: numbers as scalars such as "epoch/firing_rates/2", the settings as text.

    A run that goes on does so at its step: what an earlier attempt wrote from there on is hidden.

    folder: "tensorboard" in the folder of the run by default.

    Raises ImportError without the package tensorboard.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as error:
            raise explained(
                ImportError("The TensorBoard logger needs: pip install 'rheobase[tensorboard]'"), "extras"
            ) from error
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def start(self, settings: Mapping[str, Any], folder: Path | None) -> None:
        own = self._folder if self._folder is not None or folder is None else folder / "tensorboard"
        if own is None:
            raise ValueError("A run without a folder needs TensorBoard(folder=...).")
        self._settings, self._own = json.dumps(settings, indent=2, default=str), Path(own)

    def log(self, record: Mapping[str, Any], step: int) -> None:
        if self._writer is None:
            self._writer = self._opened(step)
        for name, value in flat(record):
            if isinstance(value, str):
                self._writer.add_text(name, value, step)
            elif value is not None:
                self._writer.add_scalar(name, value, step)

    def stop(self, outcome: Mapping[str, Any]) -> None:
        if self._writer is not None:
            self._writer.add_text("outcome", as_code(json.dumps(outcome, indent=2, default=str)))
            self._writer.close()
            self._writer = None

    def _opened(self, step: int) -> "SummaryWriter":
        from torch.utils.tensorboard.writer import SummaryWriter

        writer = SummaryWriter(str(self._own), purge_step=step)
        writer.add_text("settings", as_code(self._settings), step)
        return writer


LOGGERS = {"tensorboard": TensorBoard}


def flat(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The values with their names, those of mappings within as "outer/inner"."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}/")
        else:
            yield f"{above}{name}", value


def as_code(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())
