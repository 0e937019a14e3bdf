"""What a rule does at the modules of a model."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.casts import at_least_float32, half_of
from rheobase.kernels import Kernel
from rheobase.kernels.autograd import Fired, Respond
from rheobase.layers import Loop, TimeSharedDropout, WSConv2d, WSLinear
from rheobase.layout import channels_last, convolved, pays
from rheobase.neurons import Neuron, State
from rheobase.norms import STEADY_NORMS, NormedRespond, normalised_steady, normed_of, without_graph
from rheobase.pools import pooled
from rheobase.synapses import computes_as_its_kind, standardised_current
from rheobase.wiring import Wiring, origins

if TYPE_CHECKING:
    from rheobase.engine import Sweep

Forward = Callable[..., Tensor]


class Treatment:
    """What a rule does at neurons, synapses and norms. This one does what autograd would; rules override methods.

    It serves one sequence, so it may keep what it needs of earlier steps, such as traces. Its methods take the place of
    the modules' `forward`, at steps that learn and at others. Tensors are `[c * N, ...]`, the c steps of a chunk below
    one another: `sweep.unfolded(x)` are the c tensors `[N, ...]`, `sweep.folded(steps)` is the way back.

    asks_wiring: whether to be told, by `wired`, which neurons each synapse hears and feeds.
    """

    asks_wiring = False

    def wired(self, sweep: "Sweep", wiring: Wiring) -> None:
        """Called after the forward of the first step, which then runs alone, if `asks_wiring`."""

    def chunk_done(self) -> None:
        """Called after each chunk, when its backward pass, if it has one, is done."""

    def settle(self) -> None:
        """Called after the last chunk: the time for gradients that were gathered over the steps."""

    def neuron(self, sweep: "Sweep", neuron: Neuron, currents: Tensor) -> Tensor:
        """What the neurons give out at all steps of the chunk, given their currents, both `[c * N, ...]`.

        The state before is `sweep.state(neuron, current)`, that after belongs into `sweep.states[neuron]`, detached.
        """
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
        """The current `[c * N, ...]` of a linear layer or convolution that hears x, `[c * N, ...]`.

        plain: `plain(x)` is what the module computes. The weight's gradient is that of what is returned: a rule that
        credits it with a trace of x returns the value of `plain(x)` with the graph of `plain(trace)`.
        """
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
        """What a batch norm, by steps or over the sequence, makes of x, both `[c * N, ...]`; plain: as in `synapse`."""
        once = None
        if type(norm) in STEADY_NORMS and sweep.steps is not None:
            once = sweep.once(norm, x, partial(normalised_steady, norm, sweep.steps))
        return sweep.normalised(norm, plain, x) if once is None else once

    def recurrent(self, sweep: "Sweep", layer: Loop, x: Tensor) -> Tensor:
        """The outputs `[c * N, ...]` of a recurrent layer, step by step: it hears its own output of the step before.

        Its synapses and neurons come to `synapse` and `neuron` as all others, one step at a time.
        """
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
        return sweep._apart(sweep.folded(outputs), *sweep.states[layer])

    def joined(self, sweep: "Sweep", currents: Tensor, current: Tensor, recurrent: Tensor) -> Tensor:
        """The current of a recurrent layer's neurons; `current` is the present step of `currents`."""
        return current + recurrent

    def dropout(self, sweep: "Sweep", dropout: TimeSharedDropout, x: Tensor) -> Tensor:
        """x `[c * N, ...]`, times a mask that is drawn once for the sequence."""
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
    source, make = currents, None
    if normed:
        source, make = normed.x.detach(), without_graph(normed).again
    elif (half := half_of(currents)) is not None:
        source, make = half, at_least_float32  # half the bytes, the same values
    spikes, *after = Fired.apply(currents, kernel, source, make, initial, *state)
    sweep.states[neuron] = tuple(after)
    if sweep.packed and kernel.binary:
        sweep.packed.add(spikes)
    return spikes


def detached(state: State) -> State:
    return tuple(part.detach() for part in state)
