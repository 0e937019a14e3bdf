"""One step of a model as a plain function: state goes in and comes out, and nothing is hidden."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from rheobase.aside import override
from rheobase.casts import at_least_float32
from rheobase.explained import explained
from rheobase.layers import Loop, TimeSharedDropout
from rheobase.neurons import Neuron, State
from rheobase.treatment import Forward

States = dict[nn.Module, State]


class OneStep(nn.Module):
    """`(x, *states) -> (output, *states)` for one step `[N, ...]` of a model in eval mode.

    slots: how many tensors each neuron and loop carries, by its name in the model; the states are these in this order.

    Dynamics are computed as they are written, without kernels, so that what traces PyTorch can follow them.
    """

    def __init__(self, model: nn.Module, slots: dict[str, int]) -> None:
        super().__init__()
        self.model = model
        # While torch traces, an attribute is another module than it was; these are the same ones.
        self.whole, self.parts = (model,), [(model.get_submodule(name), size) for name, size in slots.items()]

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        given = iter(states)
        before = {module: tuple(next(given) for _ in range(size)) for module, size in self.parts}
        with stepping(*self.whole, before) as after:
            output = self.model(x)
        return output, *(part for module, _ in self.parts for part in after[module])


def used_twice(model: nn.Module, module: nn.Module) -> ValueError:
    """Says so of what has state: a neuron or a loop."""
    name = next(name for name, each in model.named_modules() if each is module)
    return explained(
        ValueError(
            f"{name!r} ({type(module).__name__}) is used twice in one step; its state would mix two places. Give each "
            "place a layer of its own."
        ),
        "model",
    )


@contextmanager
def stepping(model: nn.Module, before: States) -> Iterator[States]:
    """Inside, a call of the model computes one step from the states `before`, and fills the states after it.

    What `before` lacks starts from rest, which is written there.
    """
    after: States = {}

    def fire(neuron: Neuron, current: Tensor) -> Tensor:
        require_first(neuron)
        dtype, current = current.dtype, at_least_float32(current)
        if neuron not in before:
            before[neuron] = neuron.initial_state(current)
        output, after[neuron] = neuron.dynamics(current, before[neuron])
        return output.to(dtype)

    def loop(module: Loop, x: Tensor) -> Tensor:
        require_first(module)
        current = module.synapse(x)
        if module not in before:
            before[module] = (module.silence(current),)
        output: Tensor = module.body(current + module.recurrent(*before[module]))
        after[module] = (output,)
        return output

    def require_first(module: nn.Module) -> None:
        if module in after:
            raise used_twice(model, module)

    def forward_of(module: nn.Module) -> Forward | None:
        if isinstance(module, Neuron):
            return partial(fire, module)
        if isinstance(module, Loop):
            return partial(loop, module)
        return _unchanged if isinstance(module, TimeSharedDropout) else None

    with override(model, forward_of):
        yield after


def _unchanged(x: Tensor) -> Tensor:
    return x


def states_at_rest(model: nn.Module, sample: Tensor) -> dict[str, State]:
    """The states before the first step, by the names of the neurons and loops, for one step `sample` `[N, ...]`."""
    before: States = {}
    with stepping(model, before):
        model(sample)
    return {name: before[module] for name, module in model.named_modules() if module in before}
