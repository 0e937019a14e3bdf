"""Spoken words as spikes: the files of SHD and SSC."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rheobase.events.hdf5 import dataset, holds, opened, ragged, require_sound_heaps

CHANNELS = 700


class SpokenFile:
    """An open SHD or SSC file: words by their index, read when asked for.

    In the file, `spikes/times` has a row of times for each word, seconds, float16 (SHD) or float32;
    `spikes/units` the channel of each of its spikes; `labels` the word's class; `extra/speaker` who spoke it,
    in SHD.

    labels: `[M]`.
    speakers: `[M]`; None where the file does not tell.
    channels: that a spike may come from.

    Raises ValueError, naming the file and the dataset, for another layout. To be closed, or used in `with`.
    """

    labels: NDArray[np.int64]
    speakers: NDArray[np.int64] | None

    def __init__(self, path: str | Path, *, channels: int = CHANNELS) -> None:
        self.path, self.channels = (path := Path(path)), channels
        self._file = opened(path)
        try:
            require_sound_heaps(path)
            self._times = ragged(self._file, "spikes/times", kinds="f", path=path)
            self._units = ragged(self._file, "spikes/units", kinds="iu", path=path)
            self.labels = self._numbers("labels")
            self.speakers = self._numbers("extra/speaker") if holds(self._file, "extra/speaker", path=path) else None
            if not len(self.labels):
                raise ValueError(f"{path}: no words: 'labels' is empty.")
            for name, found in (("times", self._times), ("units", self._units), ("speakers", self.speakers)):
                if found is not None and len(found) != len(self.labels):
                    raise ValueError(f"{path}: {len(self.labels)} labels but {len(found)} {name}.")
        except ValueError:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.labels)

    def spikes(self, index: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Times, seconds, and channels of the spikes of one word, in the order of their times.

        A row out of order is put in order: every spike has a time of its own, so nothing is lost.

        Raises ValueError where the row is damaged: lengths differ, a time is negative or no number, or a
        channel is not there.
        """
        times = self._times[index].astype(np.float64)
        units = self._units[index].astype(np.int64)
        where = f"{self.path}: word {index}"
        if len(times) != len(units):
            raise ValueError(f"{where}: {len(times)} times but {len(units)} channels.")
        bad = ~(np.isfinite(times) & (times >= 0))
        if bad.any():
            raise ValueError(f"{where}: expected times from 0 s on, got {times[bad][0]} at spike {int(bad.argmax())}.")
        bad = (units < 0) | (units >= self.channels)
        if bad.any():
            raise ValueError(
                f"{where}: expected channels in 0 .. {self.channels - 1}, got {units[bad][0]} "
                f"at spike {int(bad.argmax())}."
            )
        if (times[1:] < times[:-1]).any():
            order = np.argsort(times, kind="stable")
            times, units = times[order], units[order]
        return times, units

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "SpokenFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _numbers(self, name: str) -> NDArray[np.int64]:
        found = dataset(self._file, name, dimensions=1, kinds="iu", path=self.path)
        numbers: NDArray[np.int64] = found[:].astype(np.int64)
        return numbers
