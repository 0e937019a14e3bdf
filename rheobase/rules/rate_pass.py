"""The two passes of rate-based backpropagation, as treatments of a model's modules."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.engine import STEADY_NORMS, Sweep, Treatment, at_least_float32, uses_batch_statistics
from rheobase.kernels.autograd import Respond
from rheobase.layers import SEQUENCE_NORMS, Recurrent, TimeSharedDropout
from rheobase.neurons import Neuron
from rheobase.rules.commutes import CommutesWithMean
from rheobase.rules.credit import Call, CreditedSynapse
from rheobase.rules.max_pool import MeanMaxPool, windows_won
from rheobase.rules.rate_norm import RateNorm
from rheobase.rules.tangent import Changes, parameter_response, response
from rheobase.synapses import operation

Place = tuple[nn.Module, int, str]  # module, its how manieth use within the step, what is observed there


@dataclass
class Means:
    """Means over time, gathered as sums; a steady value is its own mean."""

    _sums: dict[Place, Tensor] = field(default_factory=dict)
    _steady: dict[Place, Tensor] = field(default_factory=dict)

    def add(self, place: Place, value: Tensor) -> None:
        if place in self._sums:
            self._sums[place].add_(value)
        else:
            wide = at_least_float32(value)
            self._sums[place] = wide.clone() if wide is value else wide

    def set(self, place: Place, value: Tensor) -> None:
        self._steady[place] = at_least_float32(value)

    def over(self, steps: int) -> dict[Place, Tensor]:
        return {place: total.div_(steps) for place, total in self._sums.items()} | self._steady


class SpikePass(Treatment):
    """Runs the real network and observes, in one step's memory, what the rate pass needs."""

    def __init__(self) -> None:
        self._means = Means()
        self._changes: dict[tuple[Neuron, str], Changes] = {}

    def observed(self, steps: int) -> dict[Place, Tensor]:
        return self._means.over(steps)

    def synapse(self, sweep: Sweep, synapse: nn.Module, x: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        current = super().synapse(sweep, synapse, x, plain)
        place = (synapse, sweep.place(synapse), "current")
        self._observe(sweep, place, current)
        return current

    def neuron(self, sweep: Sweep, neuron: Neuron, currents: Tensor) -> Tensor:
        spikes = []
        learned = [name for name, p in neuron.named_parameters() if p.requires_grad]
        for current in sweep.unfolded(currents):
            state = sweep.state(neuron, current)
            for name in learned:
                change, self._changes[neuron, name] = parameter_response(
                    neuron, name, current, state, self._changes.get((neuron, name))
                )
                self._means.add((neuron, 0, name), change)
            spike, gain, sweep.states[neuron], self._changes[neuron, ""] = response(
                neuron, current, state, self._changes.get((neuron, ""))
            )
            self._means.add((neuron, 0, "rate"), spike)
            self._means.add((neuron, 0, "gain"), gain)
            spikes.append(spike)
        return sweep.folded(spikes)

    def norm(self, sweep: Sweep, norm: _BatchNorm, x: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        y = super().norm(sweep, norm, x, plain)
        if not uses_batch_statistics(norm):
            return y
        if type(norm) not in STEADY_NORMS:
            raise ValueError(
                f"RateBP knows how to average nn.BatchNorm1d/2d/3d and the sequence norms, not {type(norm).__name__} "
                f"({sweep.name(norm)!r})."
            )
        axes = [axis for axis in range(x.dim()) if axis != 1]
        place = sweep.place(norm)
        together = isinstance(norm, SEQUENCE_NORMS)
        for step in [at_least_float32(x)] if together else sweep.unfolded(at_least_float32(x)):
            variance, mean = torch.var_mean(step, axes, correction=0, keepdim=True)
            inverse = torch.rsqrt(variance + norm.eps)
            normalised = (step - mean) * inverse
            for part in sweep.unfolded(normalised) if together else [normalised]:
                self._means.add((norm, place, "normalised"), part)
                self._means.add((norm, place, "inverse"), inverse)
        return y

    def recurrent(self, sweep: Sweep, layer: Recurrent, x: Tensor) -> Tensor:
        before = sweep.states.get(layer)
        spikes = super().recurrent(sweep, layer, x)
        heard = sweep.unfolded(spikes)[:-1]
        for spike in heard if before is None else [before[0], *heard]:
            self._means.add((layer, 0, "heard"), spike)
        if before is None:
            self._means.add((layer, 0, "heard"), torch.zeros_like(sweep.unfolded(spikes)[0]))
        return spikes

    def other(self, sweep: Sweep, module: nn.Module, plain: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        if type(module) is not nn.MaxPool2d or sweep.is_steady(inputs[0]):
            return super().other(sweep, module, plain, *inputs, **options)
        outputs = []
        for x in sweep.unfolded(inputs[0]):
            output, won = windows_won(module, x)
            self._means.add((module, sweep.place(module), "pooled"), output)
            self._means.add((module, sweep.place(module), "won"), won)
            outputs.append(output)
        return sweep.folded(outputs)

    def _observe(self, sweep: Sweep, place: Place, value: Tensor) -> None:
        if sweep.is_steady(value):
            self._means.set(place, sweep.unfolded(value)[0])
            return
        for step in sweep.unfolded(value):
            self._means.add(place, step)


class RatePass(Treatment):
    """One step on means: values as observed in the spike pass, Jacobians as their means over time."""

    def __init__(self, observed: dict[Place, Tensor], changes: bool) -> None:
        self._observed = observed
        self.guard = CommutesWithMean(changes)

    def synapse(self, sweep: Sweep, synapse: nn.Module, x: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        with self.guard.trusted():
            op = operation(synapse, sweep.name(synapse))
            value = self._observed[synapse, sweep.place(synapse), "current"]
            own = sweep.weight(synapse)
            x_in, weight = op.prepare(x).to(value.dtype), own.to(value.dtype)
            bias = synapse.bias.to(value.dtype) if isinstance(synapse.bias, Tensor) else None
            call = Call(op, factors=lambda: (1.0, 0.0), bias_trace=None, skips=lambda: False, value=value)
            current = CreditedSynapse.apply(x_in, weight, bias, x_in.detach(), False, call).to(own.dtype)
        return self.guard.marked(current, like=x)

    def neuron(self, sweep: Sweep, neuron: Neuron, currents: Tensor) -> Tensor:
        with self.guard.trusted():
            observed = self._observed
            rate: Tensor = Respond.apply(currents, [observed[neuron, 0, "rate"]], observed[neuron, 0, "gain"])
            for name, parameter in neuron.named_parameters():
                if parameter.requires_grad:
                    rate = _ParameterResponse.apply(rate, parameter, observed[neuron, 0, name])
        return self.guard.changing(rate)

    def norm(self, sweep: Sweep, norm: _BatchNorm, x: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        with self.guard.trusted():
            if not uses_batch_statistics(norm):
                y = plain(x)
            else:
                place = sweep.place(norm)
                normalised, inverse = (self._observed[norm, place, what] for what in ("normalised", "inverse"))
                y = RateNorm.apply(x, norm.weight, norm.bias, normalised, inverse).to(x.dtype)
        return self.guard.marked(y, like=x)

    def recurrent(self, sweep: Sweep, layer: Recurrent, x: Tensor) -> Tensor:
        return layer.neuron(layer.synapse(x) + layer.recurrent(self._observed[layer, 0, "heard"]))

    def dropout(self, sweep: Sweep, dropout: TimeSharedDropout, x: Tensor) -> Tensor:
        with self.guard.trusted():
            y = super().dropout(sweep, dropout, x)
        return self.guard.marked(y, like=x)

    def other(self, sweep: Sweep, module: nn.Module, plain: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        pooled = self._observed.get((module, sweep.place(module), "pooled"))
        if pooled is None:
            return plain(*inputs, **options)
        with self.guard.trusted():
            y = MeanMaxPool.apply(inputs[0], pooled, self._observed[module, sweep.place(module), "won"], module)
        return self.guard.changing(y)


class _ParameterResponse(torch.autograd.Function):
    """The rate, as if it depended on the neuron's parameter with the observed derivative."""

    @staticmethod
    def forward(ctx: Any, rate: Tensor, parameter: Tensor, change: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(change)
        ctx.shape = parameter.shape
        return rate.view_as(rate)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (change,) = ctx.saved_tensors
        return grads[0], (grads[0] * change).sum_to_size(ctx.shape), None
