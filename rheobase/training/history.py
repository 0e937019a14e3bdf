"""What the folders of runs tell, also of runs that stopped half-way and of folders that hold something else."""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rheobase.metrics import ACCURACY, METRICS, Metric
from rheobase.training.files import CONFIG, FILES, RESULT, json_object, read_json, read_lines
from rheobase.training.files import METRICS as EPOCHS

FRESH = 900.0  # seconds: a run writes more often than that
DEEPEST = 4  # folders below the one that is searched


@dataclass(frozen=True)
class PastRun:
    """A run as its folder tells of it. What the folder does not tell is None, "" or empty.

    name: the folder as it is reached from the one that was searched. notes: what is wrong with its files.
    age: seconds since the last of them was written.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    epochs: Sequence[Mapping[str, Any]]
    result: Mapping[str, Any]
    age: float
    notes: Sequence[str] = ()

    @property
    def settings(self) -> Mapping[str, Any]:
        return mapping(self.config, "experiment")

    @property
    def state(self) -> str:
        """With the complete epochs; the question mark is a guess: a killed run looks like one that goes on."""
        if number(self.result, "test_score") is not None:
            return "done"
        ended = self.result.get("state")
        if ended not in ("failed", "stopped"):
            ended = "running?" if self.age < FRESH else "stopped"
        return f"{ended} {len(self.epochs)}/{self.settings.get('epochs', '?')}"

    @property
    def validation(self) -> float | None:
        """The best score."""
        scores = [s for epoch in self.epochs if (s := number(epoch, "validation_score")) is not None]
        better = max if self.metric("validation").higher_is_better else min
        return better((s for s in scores if not math.isnan(s)), default=None)

    @property
    def seconds(self) -> float | None:
        """Of training, without evaluation."""
        spent = [s for epoch in self.epochs if (s := number(epoch, "seconds")) is not None]
        return sum(spent) if spent else None

    def metric(self, part: str) -> Metric:
        name = text(mapping(self.config, "metrics"), part)
        return METRICS.get(name, ACCURACY)


def read_run(folder: Path, name: str) -> PastRun:
    """The run in `folder`. Raises ValueError or OSError where its settings cannot be read."""
    config, notes = read_json(folder / CONFIG), list[str]()
    if not mapping(config, "experiment"):
        raise ValueError(f'{CONFIG} tells of no "experiment"')
    epochs, result = list[dict[str, Any]](), dict[str, Any]()
    with noted(notes):
        if (folder / EPOCHS).is_file():
            epochs = read_lines(folder / EPOCHS, notes.append)
    with noted(notes):
        if (folder / RESULT).is_file():
            result = json_object((folder / RESULT).read_bytes(), RESULT)
    times = [(folder / file).stat().st_mtime for file in FILES if (folder / file).exists()]
    return PastRun(name, folder, config, epochs, result, time.time() - max(times), notes)


@contextmanager
def noted(notes: list[str]) -> Iterator[None]:
    """What cannot be read inside becomes a note."""
    try:
        yield
    except (ValueError, OSError) as error:
        notes.append(str(error))


def find_runs(folder: Path) -> tuple[list[PastRun], dict[str, str]]:
    """The runs in and below `folder`, and why other folders with files in them, by name, are none.

    Hidden folders, links and what lies more than four folders deep are not searched.
    """
    runs, others = list[PastRun](), dict[Path, str]()
    for place, holds_run in folders(folder, others):
        try:
            if holds_run:
                runs.append(read_run(place, name_of(place, folder)))
            else:
                others[place] = f"no {CONFIG}"
        except (ValueError, OSError) as error:
            others[place] = str(error)
    above = {parent for run in runs for parent in run.folder.parents}
    return runs, {name_of(place, folder): reason for place, reason in others.items() if place not in above}


def folders(top: Path, unreadable: dict[Path, str]) -> Iterator[tuple[Path, bool]]:
    """The folders with files in them, and whether they hold the settings of a run; what is within a run is not seen."""

    def note(error: OSError) -> None:
        unreadable[Path(error.filename)] = error.strerror or "unreadable"

    for place, below, files in os.walk(top, onerror=note):
        deep = len(Path(place).relative_to(top).parts) >= DEEPEST
        below[:] = [] if deep or CONFIG in files else sorted(name for name in below if not name.startswith("."))
        if files:
            yield Path(place), CONFIG in files


def name_of(place: Path, top: Path) -> str:
    return str(place.relative_to(top)) if place != top else str(place)


def mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def number(values: Mapping[str, Any], name: str) -> float | None:
    found = values.get(name)
    if not isinstance(found, (int, float)) or isinstance(found, bool):
        return None
    return math.inf if abs(found) > 1e300 else float(found)


def text(values: Mapping[str, Any], name: str) -> str:
    found = values.get(name)
    return found if isinstance(found, str) else ""
