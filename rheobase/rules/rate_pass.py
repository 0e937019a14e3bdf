"""The two passes of rate-based backpropagation, as treatments of a model's modules."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.casts import at_least_float32
from rheobase.engine import Sweep
from rheobase.explained import explained
from rheobase.kernels import Response
from rheobase.kernels.autograd import Respond
from rheobase.kernels.norm import in_order, observed, ordered_as
from rheobase.layers import SEQUENCE_NORMS, Loop, TimeSharedDropout
from rheobase.moments import joint_moments
from rheobase.neurons import Neuron
from rheobase.norms import STEADY_NORMS, affine, kernels_know, observed_by_batch, statistics, uses_batch_statistics
from rheobase.rules.commutes import CommutesWithMean
from rheobase.rules.credit import Call, CreditedSynapse
from rheobase.rules.max_pool import MeanMaxPool, windows_won
from rheobase.rules.rate_norm import RateNorm
from rheobase.rules.tangent import Changes, parameter_response, response
from rheobase.synapses import operation
from rheobase.synchronised import is_joint
from rheobase.treatment import Treatment

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

    def sum_of(self, place: Place, like: Tensor) -> Tensor:
        """The sum so far, to be added to in place."""
        if place not in self._sums:
            self._sums[place] = torch.zeros_like(like)
        return self._sums[place]

    def set(self, place: Place, value: Tensor) -> None:
        self._steady[place] = value

    def knows(self, place: Place) -> bool:
        return place in self._steady

    def gathered(self, place: Place, total: Tensor) -> None:
        self._sums[place] = total

    def over(self, steps: int) -> dict[Place, Tensor]:
        return {place: total.div_(steps) for place, total in self._sums.items()} | self._steady


class SpikePass(Treatment):
    """Runs the real network and observes, in one step's memory, what the rate pass needs."""

    def __init__(self) -> None:
        self._means = Means()
        self._responses: dict[Neuron, Response] = {}
        self._changes: dict[tuple[Neuron, str], Changes] = {}
        self.shapes: dict[tuple[nn.Module, int], list[int]] = {}  # of what each synapse gives out at one step

    def observed(self, steps: int) -> dict[Place, Tensor]:
        for neuron, gathered in self._responses.items():
            self._means.gathered((neuron, 0, "rate"), gathered.rates)
            self._means.gathered((neuron, 0, "gain"), gathered.gains)
        means = self._means.over(steps)
        for module, place, what in [key for key in means if key[2] == "scaled"]:
            scaled, offset = means.pop((module, place, what)), means.pop((module, place, "offset"))
            means[module, place, "normalised"] = scaled.sub_(offset.to(scaled))
            means[module, place, "inverse"] = means[module, place, "inverse"].to(scaled)
        return means

    def synapse(self, sweep: Sweep, synapse: nn.Module, x: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        current = super().synapse(sweep, synapse, x, plain)
        self.shapes[synapse, sweep.place(synapse)] = [len(current) // sweep.chunk, *current.shape[1:]]
        return current

    def neuron(self, sweep: Sweep, neuron: Neuron, currents: Tensor) -> Tensor:
        kernel = sweep.kernel(neuron, currents)
        if kernel is not None:
            step = sweep.unfolded(currents)[0]
            if neuron not in self._responses:
                self._responses[neuron] = Response(kernel, step)
            output, sweep.states[neuron] = kernel.respond(currents, sweep.state(neuron, step), self._responses[neuron])
            return output
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
        if not uses_batch_statistics(norm):
            return super().norm(sweep, norm, x, plain)
        if type(norm) not in STEADY_NORMS:
            raise explained(
                ValueError(
                    "RateBP knows how to average nn.BatchNorm1d/2d/3d and the sequence norms, not "
                    f"{type(norm).__name__} ({sweep.name(norm)!r})."
                ),
                "refused",
            )
        if sweep.is_steady(x):
            step = sweep.unfolded(x)[0]
            if not self._means.knows((norm, sweep.place(norm), "normalised")):
                normalised, inverse = _normalised(norm, step)
                self._means.set((norm, sweep.place(norm), "normalised"), normalised)
                self._means.set((norm, sweep.place(norm), "inverse"), inverse)
            return super().norm(sweep, norm, x, plain)
        if isinstance(norm, SEQUENCE_NORMS):
            sweep.needs_all_steps(norm)
            return self._observed_norm(sweep, norm, x)
        return sweep.folded([self._observed_norm(sweep, norm, step) for step in sweep.unfolded(x)])

    def _observed_norm(self, sweep: Sweep, norm: _BatchNorm, x: Tensor) -> Tensor:
        """Batch normalisation of one step, or of all at once; the sums of x * inverse, inverse, mean * inverse."""
        place, shape = sweep.place(norm), [1, -1, *[1] * (x.dim() - 2)]
        whole = isinstance(norm, SEQUENCE_NORMS)
        if kernels_know(norm, x):
            total = self._means.sum_of(
                (norm, place, "scaled"), sweep.unfolded(in_order(x))[0] if whole else in_order(x)
            )
            x = ordered_as(in_order(x), total)
            mean, inverse = statistics(norm, x)
            scale, shift = affine(norm, mean, inverse, x.dtype)
            unit, y = inverse.to(x.dtype), torch.empty_like(x)
            steps = [(x, y)] if not whole else list(zip(sweep.unfolded(x), sweep.unfolded(y), strict=True))
            for step, out in steps:
                observed(step, scale, shift, out, unit, total)
        else:
            y, mean, inverse = observed_by_batch(norm, x)
            for step in sweep.unfolded(x) if whole else [x]:
                total = self._means.sum_of((norm, place, "scaled"), at_least_float32(step))
                total.addcmul_(at_least_float32(step), inverse.view(shape))
        for _ in range(sweep.chunk if whole else 1):
            self._means.add((norm, place, "inverse"), inverse.view(shape))
            self._means.add((norm, place, "offset"), (mean * inverse).view(shape))
        return y

    def recurrent(self, sweep: Sweep, layer: Loop, x: Tensor) -> Tensor:
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


def _normalised(norm: _BatchNorm, x: Tensor) -> tuple[Tensor, Tensor]:
    """x without its mean, in units of its standard deviation, and the inverse of that; per channel."""
    x = at_least_float32(x)
    if is_joint(norm):
        moments, shape = joint_moments(x, 1), [1, -1, *[1] * (x.dim() - 2)]
        mean, variance = (part.to(x.dtype).view(shape) for part in (moments.mean, moments.variance))
    else:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    inverse = torch.rsqrt(variance + norm.eps)
    return (x - mean) * inverse, inverse


class RatePass(Treatment):
    """One step on means: values as observed in the spike pass, Jacobians as their means over time."""

    def __init__(self, spiking: SpikePass, steps: int, changes: bool) -> None:
        self._observed, self._shapes = spiking.observed(steps), spiking.shapes
        self.guard = CommutesWithMean(changes)

    def synapse(self, sweep: Sweep, synapse: nn.Module, x: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        """The current hollow: what follows it asks for its Jacobian, hardly ever for its value."""
        x = self.guard.whole(x)
        with self.guard.trusted():
            op = operation(synapse, sweep.name(synapse))
            own = sweep.weight(synapse)
            x_in, weight = at_least_float32(op.prepare(x)), at_least_float32(own)
            bias = at_least_float32(synapse.bias) if isinstance(synapse.bias, Tensor) else None
            shape = self._shapes[synapse, sweep.place(synapse)]

        def current(value: Tensor | None) -> Tensor:
            with self.guard.trusted(), torch.autocast(x_in.device.type, enabled=False):
                call = Call(op, factors=lambda: (1.0, 0.0), bias_trace=None, skips=lambda: False, value=value)
                return CreditedSynapse.apply(x_in, weight, bias, x_in.detach(), False, call).to(own.dtype)

        hollow = self.guard.marked(current(x_in.new_zeros(()).expand(shape)), like=x)
        return self.guard.hollow(hollow, lambda: self.guard.marked(current(None), like=x))

    def neuron(self, sweep: Sweep, neuron: Neuron, currents: Tensor) -> Tensor:
        with self.guard.trusted():
            observed = self._observed
            rate: Tensor = Respond.apply(
                self.guard.as_is(currents), [observed[neuron, 0, "rate"]], observed[neuron, 0, "gain"]
            )
            for name, parameter in neuron.named_parameters():
                if parameter.requires_grad:
                    rate = _ParameterResponse.apply(rate, parameter, observed[neuron, 0, name])
        return self.guard.changing(rate)

    def norm(self, sweep: Sweep, norm: _BatchNorm, x: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        with self.guard.trusted():
            if not uses_batch_statistics(norm):
                y = plain(self.guard.whole(x))
            else:
                place = sweep.place(norm)
                normalised, inverse = (self._observed[norm, place, what] for what in ("normalised", "inverse"))
                y = RateNorm.apply(self.guard.as_is(x), norm.weight, norm.bias, normalised, inverse, is_joint(norm)).to(
                    x.dtype
                )
        return self.guard.marked(y, like=x)

    def recurrent(self, sweep: Sweep, layer: Loop, x: Tensor) -> Tensor:
        return layer.body(layer.synapse(x) + layer.recurrent(self._observed[layer, 0, "heard"]))

    def dropout(self, sweep: Sweep, dropout: TimeSharedDropout, x: Tensor) -> Tensor:
        with self.guard.trusted():
            y = super().dropout(sweep, dropout, self.guard.whole(x))
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
        return rate.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (change,) = ctx.saved_tensors
        return grads[0], (grads[0] * change).sum_to_size(ctx.shape), None
