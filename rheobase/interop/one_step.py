"""One step of a model as a plain function: state goes in and comes out, and nothing is hidden."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from rheobase.engine import override
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
        self.model, self.slots = model, slots

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        given = iter(states)
        before = {
            self.model.get_submodule(name): tuple(next(given) for _ in range(n)) for name, n in self.slots.items()
        }
        with stepping(self.model, before) as after:
            output = self.model(x)
        return output, *(part for name in self.slots for part in after[self.model.get_submodule(name)])


@contextmanager
def stepping(model: nn.Module, before: States) -> Iterator[States]:
    """Inside, a call of the model computes one step from the states `before`, and fills the states after it.

    What `before` lacks starts from rest, which is written there.
    """
    after: States = {}

    def fire(neuron: Neuron, current: Tensor) -> Tensor:
        if neuron not in before:
            before[neuron] = neuron.initial_state(current)
        output, after[neuron] = neuron.dynamics(current, before[neuron])
        return output

    def loop(module: Loop, x: Tensor) -> Tensor:
        current = module.synapse(x)
        if module not in before:
            before[module] = (module.silence(current),)
        output: Tensor = module.body(current + module.recurrent(*before[module]))
        after[module] = (output,)
        return output

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
