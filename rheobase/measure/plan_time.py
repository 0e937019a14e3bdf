"""The time that a batch takes under a rule, foretold from a few of its samples."""

import time
from functools import partial

import torch
from torch import Tensor, nn

from rheobase.aside import RandomStates
from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import Target
from rheobase.training.anomalies import aside
from rheobase.training.need import DENSE, Need, Paced, learning, of_samples, over_steps

REPEATS, PATIENCE = 3, 2.0  # calls, and seconds from which on there are no further ones


def seconds_needed(
    model: nn.Module,
    rule: Rule,
    xs: Tensor,
    target: Target,
    loss: Loss,
    batch_size: int,
    *,
    most: int | None = None,
) -> Need:
    """The seconds of one `rule.backward`, as a line through a sixteenth and a half of the batch.

    xs: `[T, N, ...]`, few samples or many; they are repeated where they are fewer than that.
    most: samples that there is memory for. With fewer than half of the batch, what is foretold is no more than a guide:
        small batches do not fill the machine, large ones outgrow its caches.

    Measured as `rheobase.training.need.need` measures bytes, the fastest of up to three calls of each size.
    """
    paced = Paced.of(model, rule, xs, batch_size)
    small = max(2, batch_size // DENSE)
    large = max(2 * small, batch_size // 2)
    sizes = small, large if most is None else max(small, min(large, most))
    return over_steps(paced, len(xs), partial(_of_steps, model, paced, xs, target, loss, sizes))


def _of_steps(
    model: nn.Module, paced: Paced, xs: Tensor, target: Target, loss: Loss, sizes: tuple[int, int], steps: int
) -> Need:
    first, second = (
        timed(model, paced.with_samples(size), *of_samples(xs[:steps], target, size), loss, size) for size in sizes
    )
    slope = max(0.0, (second - first) / (sizes[1] - sizes[0])) if sizes[1] > sizes[0] else 0.0
    return Need.line(max(0.0, first - slope * sizes[0]), slope)


def timed(model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, samples: int) -> float:
    """The seconds of the fastest of some calls on so many samples, after a first one; the model stays as it is."""
    call = learning(model, rule, xs, target, loss, samples)
    found = list[float]()
    with aside(model, RandomStates(xs.device)):
        while len(found) < 2 or (len(found) <= REPEATS and sum(found) < PATIENCE):
            model.zero_grad(set_to_none=True)
            _settled(xs.device)
            started = time.perf_counter()
            call()
            _settled(xs.device)
            found.append(time.perf_counter() - started)
    return min(found[1:])


def _settled(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
