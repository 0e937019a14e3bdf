"""Running a model without learning: a whole sequence, or step by step."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from rheobase.engine import Sweep, uses_batch_statistics
from rheobase.layers import SEQUENCE_NORMS
from rheobase.neurons import Neuron, State
from rheobase.sequence import Feed


def require_neurons(model: nn.Module) -> None:
    if not any(isinstance(module, Neuron) for module in model.modules()):
        raise ValueError(
            f"Expected a model with at least one neuron such as rheobase.LIF(), found none in {type(model).__name__}."
        )


def sequence_norms(model: nn.Module) -> list[str]:
    """The names of the norms that need the whole sequence at once, as they are now."""
    return [name for name, m in model.named_modules() if isinstance(m, SEQUENCE_NORMS) and uses_batch_statistics(m)]


def chunk_size(model: nn.Module, chunk: int | None, default: int | None) -> int | None:
    """Steps per chunk, None for all: what was asked for, else all for sequence norms, else the default."""
    if chunk is not None and chunk < 1:
        raise ValueError(f"Expected chunk >= 1 step, got {chunk}.")
    if chunk is None:
        return None if sequence_norms(model) else default
    return chunk


@torch.no_grad()
def run(model: nn.Module, xs: Tensor | Iterable[Tensor], *, chunk: int | None = None) -> Tensor:
    """The model's outputs `[T, N, ...]` for the sequence `xs` `[T, N, ...]`, from rest, without autograd.

    chunk: steps computed together, 1 by default. More is faster on small models, and takes more memory; the
        outputs are the same.

    BatchNorm and dropout follow the model's train or eval mode, as in any PyTorch model.
    """
    require_neurons(model)
    feed = Feed(xs)
    with Sweep(model, steps=feed.steps) as sweep:
        size = chunk_size(model, chunk, default=1)
        return torch.cat([sweep.forward(part, steady=feed.is_steady) for part in feed.chunks(size)])


@torch.no_grad()
def step(model: nn.Module, x: Tensor, state: dict[str, State] | None = None) -> tuple[Tensor, dict[str, State]]:
    """One step of a stream, without autograd: the output `[N, ...]` and the state to give to the next call.

    x: `[N, ...]`. state: None at the start of a stream; otherwise what the last call returned.

    Raises ValueError for a state of another model or another batch size.
    """
    require_neurons(model)
    (xs,) = Feed([x]).chunks(1)
    modules = dict(model.named_modules())
    with Sweep(model, steps=None) as sweep:
        sweep.reuses_state = False
        if state is not None:
            unknown = state.keys() - modules.keys()
            if unknown:
                raise ValueError(f"The state is of another model: this one has no {', '.join(sorted(unknown))}.")
            sweep.states = {modules[name]: part for name, part in state.items()}
        output = sweep.forward(xs)[0]
        names = {module: name for name, module in modules.items()}
        return output, {names[module]: part for module, part in sweep.states.items()}
