"""What a rule does at the modules of a model."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.kernels import Kernel
from rheobase.kernels.autograd import Fired, Respond
from rheobase.layers import Loop, TimeSharedDropout, WSConv2d, WSLinear
from rheobase.layout import channels_last, convolved, pays
from rheobase.neurons import Neuron, State
from rheobase.norms import STEADY_NORMS, NormedRespond, normalised_steady, normed_of, without_graph
from rheobase.pools import pooled
from rheobase.synapses import computes_as_its_kind, standardised_current
from rheobase.wiring import origins

if TYPE_CHECKING:
    from rheobase.engine import Sweep

Forward = Callable[..., Tensor]


class Treatment:
    """What a rule does at neurons, synapses and norms. This one does what autograd would; rules override methods."""

    def neuron(self, sweep: "Sweep", neuron: Neuron, currents: Tensor) -> Tensor:
        """All steps of the chunk, `[c * N, ...]`, through the neuron's dynamics."""
        kernel = sweep.kernel(neuron, currents)
        if kernel is not None:
            return fired(sweep, neuron, kernel, currents)
        spikes = []
        for current in sweep.unfolded(currents):
            spike, state = neuron.dynamics(current, sweep.state(neuron, current))
            sweep.states[neuron] = detached(state) if sweep.cut else state
            spikes.append(spike)
        return sweep.folded(spikes)

    def synapse(self, sweep: "Sweep", synapse: nn.Module, x: Tensor, plain: Forward) -> Tensor:
        """The synapse's current; `plain(x)` is what the module computes."""
        if isinstance(synapse, (WSConv2d, WSLinear)) and type(synapse) in (WSConv2d, WSLinear):
            plain = sweep.casts.given(sweep.weight(synapse), partial(standardised_current, synapse))
        elif type(synapse) is nn.Conv2d and sweep.channels_last:
            if pays(x):
                x, plain = channels_last(x), sweep.casts.given(sweep.weight(synapse), partial(convolved, synapse))
            else:
                x = x.contiguous()
        if torch.is_autocast_enabled(x.device.type) and computes_as_its_kind(synapse):
            plain = sweep.casts.inside(synapse, plain)
        once = sweep.once(synapse, x, plain)
        return plain(x) if once is None else once

    def norm(self, sweep: "Sweep", norm: _BatchNorm, x: Tensor, plain: Forward) -> Tensor:
        once = None
        if type(norm) in STEADY_NORMS and sweep.steps is not None:
            once = sweep.once(norm, x, partial(normalised_steady, norm, sweep.steps))
        return sweep.normalised(norm, plain, x) if once is None else once

    def recurrent(self, sweep: "Sweep", layer: Loop, x: Tensor) -> Tensor:
        """The layer step by step; its recurrent input is its own output of the step before."""
        outputs = []
        currents = layer.synapse(x)
        for current in sweep.each_step(currents):
            (before,) = sweep.states.get(layer) or (layer.silence(current),)
            if sweep.wiring:
                sweep.wiring.leave(layer.heard, before)
            output = layer.body(self.joined(sweep, currents, current, layer.recurrent(before)))
            if output.shape != before.shape:
                raise ValueError(
                    f"Expected an output of shape {list(before.shape[1:])} a sample from the layers of "
                    f"{sweep.name(layer)!r}, as given to it, got {list(output.shape[1:])}."
                )
            if sweep.wiring and origins(output) != {layer.heard}:
                raise ValueError(
                    f"What comes back in {sweep.name(layer)!r} must come from its last neuron alone, through layers "
                    "without weights. Use SLTT, RateBP or BPTT, which do not need to know."
                )
            sweep.states[layer] = (output.detach() if sweep.cut else output,)
            outputs.append(output)
        return sweep.folded(outputs)

    def joined(self, sweep: "Sweep", currents: Tensor, current: Tensor, recurrent: Tensor) -> Tensor:
        """The current of a recurrent layer's neurons; `current` is the present step of `currents`."""
        return current + recurrent

    def dropout(self, sweep: "Sweep", dropout: TimeSharedDropout, x: Tensor) -> Tensor:
        if not dropout.training or dropout.p == 0:
            return x
        if dropout not in sweep.states:
            sweep.states[dropout] = (dropout.mask(sweep.unfolded(x)[0]),)
        (mask,) = sweep.states[dropout]
        return (x.unflatten(0, (sweep.chunk, -1)) * mask).flatten(0, 1)

    def other(self, sweep: "Sweep", module: nn.Module, plain: Forward, *inputs: Any, **options: Any) -> Any:
        """A layer without parameters of its own kind that stays the same when its input does."""
        once = sweep.once(module, inputs[0], plain) if len(inputs) == 1 and not options else None
        if once is not None:
            return once
        if type(module) is nn.AvgPool2d:
            y = pooled(module, *inputs, **options)
            if sweep.wiring:
                sweep.wiring.carry(next(iter((*inputs, *options.values()))), y)
            return y
        return plain(*inputs, **options)


def fired(sweep: "Sweep", neuron: Neuron, kernel: Kernel, currents: Tensor) -> Tensor:
    """All steps of the chunk through the neuron's kernel."""
    state = sweep.state(neuron, sweep.unfolded(currents)[0])
    learns = torch.is_grad_enabled() and (currents.requires_grad or any(part.requires_grad for part in state))
    if not learns:
        spikes, sweep.states[neuron] = kernel.run(currents, state, in_place=sweep.reuses_state)
        return spikes
    if sweep.cut:
        with torch.no_grad():
            spikes, slopes, sweep.states[neuron] = kernel.slope(currents, state, in_place=sweep.reuses_state)
        normed = normed_of(currents)
        if normed:
            return NormedRespond.apply(normed.x, normed.weight, normed.bias, [spikes], slopes, normed)
        return Respond.apply(currents, [spikes], slopes)
    known = neuron.initial_state.__module__.startswith("rheobase.")  # others may give another state the next time
    initial = neuron.initial_state if known and neuron not in sweep.states else None
    normed = normed_of(currents)
    source, make = (normed.x.detach(), without_graph(normed).again) if normed else (currents, None)
    spikes, *after = Fired.apply(currents, kernel, source, make, initial, *state)
    sweep.states[neuron] = tuple(after)
    if sweep.packed and kernel.binary:
        sweep.packed.add(spikes)
    return spikes


def detached(state: State) -> State:
    return tuple(part.detach() for part in state)
