"""Models that compute the same, but let no gradient through one kind of path."""

import copy
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.layers import Loop
from rheobase.neurons import Firing, Neuron, State
from rheobase.norms import uses_batch_statistics


def without_reset(model: nn.Module) -> nn.Module:
    """No gradient flows through the spikes of the reset. The model itself where none does anyway.

    A neuron of your own keeps its path unless a `Firing` makes its reset, or it has `detach_reset` as those have.
    """
    if not any(_resets(module) for module in model.modules()):
        return model
    copied = copy.deepcopy(model)
    for own in (vars(module) for module in copied.modules() if _resets(module)):
        if isinstance(own.get("firing"), Firing):
            own["firing"] = replace(own["firing"], detach_reset=True)
        else:
            own["detach_reset"] = True
    return copied


def without_statistics(model: nn.Module) -> nn.Module:
    """Batch norms take the mean and the deviation of the batch as constants. The model itself where none has any."""
    if not any(isinstance(module, _BatchNorm) and uses_batch_statistics(module) for module in model.modules()):
        return model
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, _BatchNorm) and uses_batch_statistics(module):
            module.__class__ = constant_statistics(type(module))  # type: ignore[arg-type]
    return copied


def without_time(model: nn.Module) -> nn.Module:
    """No gradient flows from a step to the one before: neither through states nor through recurrent spikes.

    What flows through the statistics of a sequence norm belongs to the norm and stays.
    """
    copied = copy.deepcopy(model)
    for module in list(copied.modules()):
        if isinstance(module, Neuron):
            module.__class__ = forgetful(type(module))  # type: ignore[arg-type]
        elif isinstance(module, Loop):
            module.recurrent.register_forward_pre_hook(_detach)
    return copied


def _resets(module: nn.Module) -> bool:
    own = vars(module)
    made = vars(own["firing"]) if isinstance(own.get("firing"), Firing) else own
    return isinstance(module, Neuron) and made.get("detach_reset") is False


def _detach(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.detach() if isinstance(x, Tensor) else x for x in inputs)


@lru_cache
def constant_statistics(kind: type[_BatchNorm]) -> type[_BatchNorm]:
    """The norm with d y / d x = weight / deviation. Its running statistics stay: it serves for gradients alone."""

    class Constant(kind):  # type: ignore[misc, valid-type]
        def forward(self, input: Tensor) -> Tensor:
            if not uses_batch_statistics(self):
                return super().forward(input)  # type: ignore[no-any-return]
            axes = [axis for axis in range(input.dim()) if axis != 1]
            variance, mean = torch.var_mean(input.detach(), axes, correction=0, keepdim=True)
            y = (input - mean) * torch.rsqrt(variance + self.eps)
            y = y if self.weight is None else y * self.weight.view_as(mean[0])
            return y if self.bias is None else y + self.bias.view_as(mean[0])

    return Constant


@lru_cache
def forgetful(kind: type[Neuron]) -> type[Neuron]:
    """The neuron that takes its state as a constant."""

    class Forgetful(kind):  # type: ignore[misc, valid-type]
        def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
            return super().dynamics(current, tuple(part.detach() for part in state))  # type: ignore[no-any-return]

    return Forgetful
