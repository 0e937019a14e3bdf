"""Running a model without learning: a whole sequence, or step by step."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from rheobase.chunks import Chunk, few_steps
from rheobase.engine import Sweep
from rheobase.explained import explained
from rheobase.neurons import Neuron, State
from rheobase.processes import require_whole
from rheobase.sequence import Feed, Outputs

CONVERTED = {"norse", "snntorch", "spikingjelly"}  # libraries whose nets `from_...` brings


def require_neurons(model: nn.Module) -> None:
    if not any(isinstance(module, Neuron) for module in model.modules()):
        others = {type(module).__module__.partition(".")[0] for module in model.modules()}
        converted = [f" `rheobase.from_{other}(model)` converts it." for other in sorted(others & CONVERTED)]
        raise explained(
            ValueError(
                "Expected a model with at least one neuron such as rheobase.LIF(), found none in "
                f"{type(model).__name__}.{''.join(converted)}"
            ),
            "nothing-learns",
        )


@torch.no_grad()
def run(model: nn.Module, xs: Tensor | Iterable[Tensor], *, chunk: Chunk = None) -> Tensor:
    """The model's outputs `[T, N, ...]` for the sequence `xs` `[T, N, ...]`, from rest, without autograd.

    chunk: steps computed together, with the same outputs: a few of small models by default (8 at most, within 1 MiB a
        layer). "auto" or a size such as "64MiB": as many as keep each layer's currents within that.

    BatchNorm and dropout follow the model's train or eval mode, as in any PyTorch model.
    """
    require_neurons(model)
    require_whole(model)
    feed = Feed(xs)
    with Sweep(model, steps=feed.steps) as sweep:
        outputs = Outputs(feed.steps)
        for part in few_steps(model, chunk).chunks(feed, sweep):
            outputs.add(sweep.forward(part, steady=feed.is_steady))
        return outputs.stacked()


@torch.no_grad()
def step(model: nn.Module, x: Tensor, state: dict[str, State] | None = None) -> tuple[Tensor, dict[str, State]]:
    """One step of a stream, without autograd: the output `[N, ...]` and the state to give to the next call.

    x: `[N, ...]`. state: None at the start of a stream; otherwise what the last call returned.

    Raises ValueError for a state of another model or another batch size.
    """
    require_neurons(model)
    require_whole(model)
    xs = Feed([x]).take(1)
    assert xs is not None
    modules = dict(model.named_modules())
    with Sweep(model, steps=None) as sweep:
        sweep.reuses_state = False
        if state is not None:
            unknown = state.keys() - modules.keys()
            if unknown:
                raise explained(
                    ValueError(f"The state is of another model: this one has no {', '.join(sorted(unknown))}."), "state"
                )
            sweep.states = {modules[name]: part for name, part in state.items()}
        output = sweep.forward(xs)[0]
        names = {module: name for name, module in modules.items()}
        return output, {names[module]: part for module, part in sweep.states.items()}
