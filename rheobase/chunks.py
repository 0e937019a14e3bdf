"""How many steps are computed together."""

import re
from collections.abc import Iterator

from torch import Tensor, nn

from rheobase.engine import Sweep
from rheobase.layers import SEQUENCE_NORMS
from rheobase.norms import uses_batch_statistics
from rheobase.sequence import Feed

Chunk = int | str | None

# For "auto", in bytes. Larger blocks are fetched from the system anew each time, which costs more than to fill them.
_BUDGET = 32 * 2**20
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def checked_chunk(chunk: Chunk) -> Chunk:
    """The chunk as it is.

    Raises ValueError or TypeError for what is no number of steps from 1 on, "auto" or a memory size such as "64MiB".
    """
    if isinstance(chunk, str):
        budget(chunk)
    elif chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int)):
        raise TypeError(f'Expected chunk as a number of steps, "auto" or a memory size such as "64MiB", got {chunk!r}.')
    elif chunk is not None and chunk < 1:
        raise ValueError(f"Expected chunk >= 1 step, got {chunk}.")
    return chunk


def budget(chunk: str) -> int:
    """The bytes that the currents of one layer may take."""
    if chunk == "auto":
        return _BUDGET
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b", chunk.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(
            f'Expected chunk as a number of steps, "auto" or a memory size such as "64MiB", got {chunk!r}.'
        )
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])


def sequence_norms(model: nn.Module) -> list[str]:
    """The names of the norms that need the whole sequence at once, as they are now."""
    return [name for name, m in model.named_modules() if isinstance(m, SEQUENCE_NORMS) and uses_batch_statistics(m)]


class Pace:
    """How many steps come next.

    chunk: a number of steps; "auto" or a size: the first step alone, then as many as keep each layer within it; None:
        all for sequence norms, else `default` (a number or a size as well). most: steps at most, for sizes.
    """

    def __init__(self, model: nn.Module, chunk: Chunk, *, default: int | str = 1, most: int | None = None) -> None:
        checked_chunk(chunk)
        whole = not isinstance(chunk, int) and bool(sequence_norms(model))
        chosen = None if whole else default if chunk is None else chunk
        self._bytes = budget(chosen) if isinstance(chosen, str) else None
        self._steps = chosen if isinstance(chosen, int) else None
        self._most = most

    def steps(self, sweep: Sweep) -> int | None:
        """Steps of the next chunk; None for all that are left."""
        if self._bytes is None:
            return self._steps
        fit = max(1, self._bytes // sweep.widest) if sweep.widest else 1
        return fit if self._most is None else min(fit, self._most)

    def chunks(self, feed: Feed, sweep: Sweep) -> Iterator[Tensor]:
        """The rest of the feed `[c, N, ...]`, chunk by chunk."""
        while (xs := feed.take(self.steps(sweep))) is not None:
            yield xs

    def parts(self, xs: Tensor, sweep: Sweep) -> Iterator[Tensor]:
        """`xs` `[T, N, ...]`, chunk by chunk."""
        while len(xs):
            count = self.steps(sweep) or len(xs)
            yield xs[:count]
            xs = xs[count:]


def few_steps(model: nn.Module, chunk: Chunk) -> Pace:
    """Without a chunk given, as many small steps as bring most of the gain for little memory: 8, 1 MiB a layer."""
    return Pace(model, chunk, default="1MiB", most=8 if chunk is None else None)
