"""How long a run still takes."""


class TimeLeft:
    """Extrapolates from the batches and the evaluations of this session; what was done before it does not count.

    epochs, batches: of the run, and in each epoch. done: batches of the whole run. now: the present time, seconds.
    """

    def __init__(self, epochs: int, batches: int, done: int, now: float) -> None:
        self._batches_left = epochs * batches - done
        self._epochs_left = epochs - done // batches
        self._before = now
        self._training, self._batches = 0.0, 0
        self._evaluating, self._epochs = 0.0, 0

    def batch(self, now: float) -> None:
        """A batch was done at `now`."""
        self._training += now - self._before
        self._batches += 1
        self._batches_left -= 1
        self._before = now

    def epoch(self, now: float) -> None:
        """An evaluation was done at `now`."""
        self._evaluating += now - self._before
        self._epochs += 1
        self._epochs_left -= 1
        self._before = now

    def seconds(self) -> float:
        """0 before the first batch."""
        training = self._training / max(1, self._batches) * self._batches_left
        return training + self._evaluating / max(1, self._epochs) * max(0, self._epochs_left)
