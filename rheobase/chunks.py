"""How many steps are computed together."""

import re
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from rheobase.aside import RandomStates, buffers_kept
from rheobase.engine import Sweep
from rheobase.layers import SEQUENCE_NORMS
from rheobase.neurons import Neuron
from rheobase.norms import uses_batch_statistics
from rheobase.sequence import Feed

Chunk = int | str | None

# For "auto", in bytes. Blocks of 32 MiB and more are fetched from the system anew each time, which costs more than
# to fill them; on most networks larger chunks bring nothing more.
_BUDGET = 32 * 2**20 - 2**14
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}

_widest: WeakKeyDictionary[nn.Module, dict[object, int]] = WeakKeyDictionary()


def checked_chunk(chunk: Chunk) -> Chunk:
    """The chunk as it is.

    Raises ValueError for what is no number of steps from 1 on, "auto" or a memory size such as "64MiB".
    """
    if isinstance(chunk, str):
        budget(chunk)
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


def chunk_size(model: nn.Module, chunk: Chunk, feed: Feed, *, default: int = 1) -> int | None:
    """Steps per chunk, None for all: what was asked for; without it all for sequence norms, else the default."""
    checked_chunk(chunk)
    if isinstance(chunk, int):
        return chunk
    if sequence_norms(model):
        return None
    if chunk is None:
        return default
    return max(1, budget(chunk) // _widest_step(model, feed.first()))


def few_steps(model: nn.Module, feed: Feed) -> int | None:
    """As many small steps as bring most of the gain for little memory: 8 at most, with 1 MiB a layer; None for all."""
    size = chunk_size(model, "1MiB", feed)
    return None if size is None else min(size, 8)


def _widest_step(model: nn.Module, x: Tensor) -> int:
    """The most bytes that a layer of neurons gives out at one step, whose input is `x` `[N, ...]`: tried once."""
    known = _widest.setdefault(model, {})
    key = (x.shape, x.dtype, tuple(map(id, model.modules())))
    if key not in known:
        sizes = [1]

        def note(sweep: Sweep, neuron: Neuron, spikes: Tensor) -> Tensor:
            sizes.append(spikes.numel() * spikes.element_size())
            return spikes

        with torch.no_grad(), buffers_kept(model), RandomStates(x.device).again(), Sweep(model, steps=1) as sweep:
            sweep.tap = note
            sweep.forward(x.unsqueeze(0))
        known[key] = max(sizes)
    return known[key]
