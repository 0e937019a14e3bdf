"""The learning rules' equations by hand: float64, no autograd, nothing imported from the library.

A network is a list of `Layer`s run one after the other over the whole sequence [T, N, ...]:

    drive[t]     = synapse(entering[t]) + bias                          entering: pooled, flattened
    current[t]   = norm(drive[t]) + recurrent spikes[t-1] + skip output[t]
    potential[t] = decay*(state[t-1] - reset_value) + reset_value + scale*current[t]
    spikes[t]    = 1[potential[t] >= threshold],        scale = 1 - decay if decay_input else 1
    output[t]    = average_pool(spikes[t])

`delta` is dL/dspikes; `current` and `drive` in a backward are dL/dcurrent and dL/ddrive.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
import torch.nn.grad as conv_vjps
from torch import Tensor

vjp: Any = conv_vjps  # it has no annotations


def sigmoid_slope(distance: Tensor, alpha: float = 4.0) -> Tensor:
    z = torch.sigmoid(alpha * distance)
    return alpha * z * (1 - z)


def triangle_slope(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp(min=0)


@dataclass(frozen=True)
class Neuron:
    decay: float = 0.5
    threshold: float = 1.0
    reset: Literal["subtract", "zero"] = "subtract"
    reset_value: float = 0.0
    detach_reset: bool = False
    decay_input: bool = False
    slope: Callable[[Tensor], Tensor] = sigmoid_slope

    @property
    def scale(self) -> float:
        return 1 - self.decay if self.decay_input else 1.0


@dataclass(frozen=True)
class LI:
    """The leaky readout, out[t] = decay*out[t-1] + current[t]."""

    decay: float


@dataclass(frozen=True, eq=False)
class Norm:
    """Train-mode batch norm; statistics over each step alone, or once over the whole sequence."""

    gamma: Tensor
    beta: Tensor
    eps: float = 1e-5
    mode: Literal["step", "sequence"] = "step"


@dataclass(frozen=True, eq=False)
class Layer:
    """One synapse and what follows it.

    kind: "conv" is 3x3 with padding 1.
    gain: [O], not None for scaled weight standardisation; `recurrent_gain` likewise for `recurrent`, [O, O].
    skip: the layer whose output of the same step, after that layer's pool, joins the current.
    gap: the mean over H and W enters the synapse.
    neuron: None or LI for the readout, the last layer.
    """

    weight: Tensor
    bias: Tensor | None = None
    kind: Literal["linear", "conv"] = "linear"
    stride: int = 1
    gain: Tensor | None = None
    norm: Norm | None = None
    recurrent: Tensor | None = None
    recurrent_gain: Tensor | None = None
    skip: int | None = None
    pool: int = 1
    gap: bool = False
    neuron: Neuron | LI | None = field(default_factory=Neuron)


@dataclass(frozen=True, eq=False)
class Given:
    """A target that prescribes the gradient at every output, [T, N, C]: loss_t = sum(errors[t]*output[t])."""

    errors: Tensor


Gradients = dict[tuple[int, str], Tensor]


class Answer(NamedTuple):
    gradients: Gradients
    outputs: Tensor
    loss: Tensor
    running: dict[int, tuple[Tensor, Tensor]]


class Record(NamedTuple):
    """What one layer did over the sequence, all [T, N, ...]; `entering` is after pool, mean and flatten."""

    entering: Tensor
    centred: Tensor
    sigma: Tensor
    potentials: Tensor
    spikes: Tensor
    slopes: Tensor
    outputs: Tensor


class Moment(NamedTuple):
    """One layer in the downward pass: the gradients at its spikes, its current and its drive."""

    depth: int
    layer: Layer
    record: Record
    delta: Tensor
    current: Tensor
    drive: Tensor


def traces(xs: Tensor, decay: float) -> Tensor:
    """trace[t] = decay*trace[t-1] + x[t], the current step included."""
    result = [xs[0]]
    for x in xs[1:]:
        result.append(decay * result[-1] + x)
    return torch.stack(result)


def delayed(xs: Tensor) -> Tensor:
    """x[t-1], zero at t = 0."""
    return torch.cat([torch.zeros_like(xs[:1]), xs[:-1]])


# Synapses: the time axis joins the batch.


def standardised(weight: Tensor, gain: Tensor | None) -> Tensor:
    """gain * (W - mean W) / sqrt(n*var(W) + 1e-4) for each output channel, with the unbiased variance."""
    if gain is None:
        return weight
    rows = weight.flatten(1)
    centred = rows - rows.mean(1, keepdim=True)
    n = rows.shape[1]
    root = (n * (centred**2).sum(1, keepdim=True) / (n - 1) + 1e-4).sqrt()
    return (gain[:, None] * centred / root).view_as(weight)


def standardised_vjp(gradient: Tensor, weight: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the raw weight and of the gain, from that of the standardised weight."""
    rows, g = weight.flatten(1), gradient.flatten(1)
    n = rows.shape[1]
    centred = rows - rows.mean(1, keepdim=True)
    root = (n * (centred**2).sum(1, keepdim=True) / (n - 1) + 1e-4).sqrt()
    along = (g * centred).sum(1, keepdim=True)
    raw = gain[:, None] / root * (g - g.mean(1, keepdim=True) - centred * n / (n - 1) * along / root**2)
    return raw.view_as(weight), (along / root).squeeze(1)


def unfolded(folded: Tensor, like: Tensor) -> Tensor:
    return folded.view(*like.shape[:2], *folded.shape[1:])


def synapse(layer: Layer, entering: Tensor) -> Tensor:
    weight, folded = standardised(layer.weight, layer.gain), entering.flatten(0, 1)
    if layer.kind == "conv":
        result = F.conv2d(folded, weight, layer.bias, stride=layer.stride, padding=1)
    else:
        result = F.linear(folded, weight, layer.bias)
    return unfolded(result, entering)


def weight_vjp(layer: Layer, entering: Tensor, drive: Tensor) -> Tensor:
    """drive^T entering, summed over time and batch: the gradient of the weight in effect."""
    x, g = entering.flatten(0, 1), drive.flatten(0, 1)
    if layer.kind == "conv":
        weight: Tensor = vjp.conv2d_weight(x, layer.weight.shape, g, stride=layer.stride, padding=1)
        return weight
    return g.T @ x


def entering_vjp(layer: Layer, entering: Tensor, drive: Tensor) -> Tensor:
    weight, g = standardised(layer.weight, layer.gain), drive.flatten(0, 1)
    if layer.kind == "conv":
        shape = entering.flatten(0, 1).shape
        below: Tensor = vjp.conv2d_input(shape, weight, g, stride=layer.stride, padding=1)
        return below.view_as(entering)
    return (g @ weight).view_as(entering)


def enter(layer: Layer, outputs: Tensor) -> Tensor:
    if layer.kind == "conv":
        return outputs
    return outputs.mean((3, 4)) if layer.gap else outputs.flatten(2)


def enter_vjp(layer: Layer, entering: Tensor, outputs: Tensor) -> Tensor:
    if layer.gap:
        height, width = outputs.shape[3:]
        return entering[..., None, None].expand_as(outputs) / (height * width)
    return entering.view_as(outputs)


def pool(spikes: Tensor, size: int) -> Tensor:
    if size == 1:
        return spikes
    return unfolded(F.avg_pool2d(spikes.flatten(0, 1), size), spikes)


def pool_vjp(outputs: Tensor, size: int) -> Tensor:
    if size == 1:
        return outputs
    return outputs.repeat_interleave(size, 3).repeat_interleave(size, 4) / size**2


# Batch norm: the mode only decides over which axes of [T, N, C, ...] the statistics run.


def axes(norm: Norm, x: Tensor) -> list[int]:
    return [a for a in range(x.dim()) if a != 2 and (a != 0 or norm.mode == "sequence")]


def channels(parameter: Tensor, like: Tensor) -> Tensor:
    return parameter.view([1, 1, -1] + [1] * (like.dim() - 3))


def over_channels(x: Tensor) -> Tensor:
    return x.sum([a for a in range(x.dim()) if a != 2])


def normalise(norm: Norm, drives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The normalised drives, (x - mean)/sigma, and sigma = sqrt(biased variance + eps)."""
    over = axes(norm, drives)
    mean = drives.mean(over, keepdim=True)
    sigma = (((drives - mean) ** 2).mean(over, keepdim=True) + norm.eps).sqrt()
    centred = (drives - mean) / sigma
    return channels(norm.gamma, drives) * centred + channels(norm.beta, drives), centred, sigma


def normalise_vjp(norm: Norm, current: Tensor, centred: Tensor, sigma: Tensor) -> Tensor:
    over = axes(norm, current)
    along = (current * centred).mean(over, keepdim=True)
    return channels(norm.gamma, current) / sigma * (current - current.mean(over, keepdim=True) - centred * along)


def running_statistics(norm: Norm, drives: Tensor, momentum: float = 0.1) -> tuple[Tensor, Tensor]:
    """Running mean and unbiased variance after the sequence, from 0 and 1: T updates, or one."""
    mean, variance = torch.zeros_like(norm.gamma), torch.ones_like(norm.gamma)
    columns_of = drives.transpose(1, 2).flatten(2) if norm.mode == "step" else [drives.transpose(0, 2).flatten(1)]
    for columns in columns_of:
        mean = (1 - momentum) * mean + momentum * columns.mean(1)
        variance = (1 - momentum) * variance + momentum * columns.var(1, unbiased=True)
    return mean, variance


# Forward.


def fire(layer: Layer, currents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Potentials, spikes and slopes; a readout's potential is its output."""
    neuron = layer.neuron
    if not isinstance(neuron, Neuron):
        outputs = currents if neuron is None else traces(currents, neuron.decay)
        return outputs, outputs, torch.ones_like(outputs)
    state = torch.full_like(currents[0], neuron.reset_value)
    spike = torch.zeros_like(currents[0])
    potentials, spikes = [], []
    for current in currents:
        if layer.recurrent is not None:
            current = current + spike @ standardised(layer.recurrent, layer.recurrent_gain).T
        potential = neuron.decay * (state - neuron.reset_value) + neuron.reset_value + neuron.scale * current
        spike = (potential >= neuron.threshold).to(potential)
        if neuron.reset == "subtract":
            state = potential - neuron.threshold * spike
        else:
            state = (1 - spike) * potential + spike * neuron.reset_value
        potentials.append(potential)
        spikes.append(spike)
    stacked = torch.stack(potentials)
    return stacked, torch.stack(spikes), neuron.slope(stacked - neuron.threshold)


def forward(layers: Sequence[Layer], xs: Tensor) -> tuple[list[Record], dict[int, tuple[Tensor, Tensor]]]:
    """Every layer's record, and the running statistics of every norm."""
    records: list[Record] = []
    running = {}
    for index, layer in enumerate(layers):
        entering = enter(layer, records[-1].outputs if records else xs)
        currents = synapse(layer, entering)
        centred = sigma = torch.ones_like(currents)
        if layer.norm is not None:
            running[index] = running_statistics(layer.norm, currents)
            currents, centred, sigma = normalise(layer.norm, currents)
        if layer.skip is not None:
            currents = currents + records[layer.skip].outputs
        potentials, spikes, slopes = fire(layer, currents)
        outputs = pool(spikes, layer.pool)
        records.append(Record(entering, centred, sigma, potentials, spikes, slopes, outputs))
    return records, running


# Backward: what the rules share.


def cross_entropy(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The batch mean of the cross entropy and its gradient, (softmax - onehot)/N."""
    logs = logits - logits.logsumexp(-1, keepdim=True)
    onehot = F.one_hot(target, logits.shape[-1]).to(logits)
    return -(onehot * logs).sum() / len(target), (logs.exp() - onehot) / len(target)


def step_errors(outputs: Tensor, target: Tensor | Given, weights: Tensor) -> tuple[Tensor, Tensor]:
    """sum_t weights[t]*loss_t and its gradient at every output; the target is [N], [T, N] or given errors."""
    losses, errors = [], []
    for t, output in enumerate(outputs):
        if isinstance(target, Given):
            loss, error = (target.errors[t] * output).sum(), target.errors[t]
        else:
            loss, error = cross_entropy(output, target if target.dim() == 1 else target[t])
        losses.append(weights[t] * loss)
        errors.append(weights[t] * error)
    return torch.stack(losses).sum(), torch.stack(errors)


def step_weights(outputs: Tensor, at: Iterable[int] | None, weight: float | None) -> Tensor:
    """`weight` (default 1/number) on the learning steps, 0 elsewhere."""
    steps = sorted(range(len(outputs)) if at is None else at)
    weights = torch.zeros(len(outputs)).to(outputs)
    weights[steps] = 1 / len(steps) if weight is None else weight
    return weights


def descend(
    layers: Sequence[Layer],
    records: Sequence[Record],
    errors: Tensor,
    respond: Callable[[int, Tensor], Tensor],
    feedback: Sequence[Tensor] | None = None,
) -> Iterator[Moment]:
    """Layers from the readout down; `respond(index, delta)` turns dL/dspikes into dL/dcurrent.

    Whatever crosses time is inside `respond`. With `feedback`, delta of hidden layer i is errors @ B_i.
    """
    gradients = [torch.zeros_like(record.outputs) for record in records]
    gradients[-1] = errors
    for index in reversed(range(len(layers))):
        layer, record = layers[index], records[index]
        delta = pool_vjp(gradients[index], layer.pool)
        if feedback is not None and index < len(layers) - 1:
            delta = (errors @ feedback[index]).view_as(record.spikes)
        current = drive = respond(index, delta)
        if layer.norm is not None:
            drive = normalise_vjp(layer.norm, current, record.centred, record.sigma)
        yield Moment(index, layer, record, delta, current, drive)
        if layer.skip is not None:
            gradients[layer.skip] = gradients[layer.skip] + current
        if index > 0:
            below = entering_vjp(layer, record.entering, drive)
            gradients[index - 1] = gradients[index - 1] + enter_vjp(layer, below, records[index - 1].outputs)


def parameters(
    moment: Moment, weight: Tensor, recurrent: Tensor | None = None, bias: Tensor | None = None
) -> Gradients:
    """One layer's gradients from those of the weights in effect; the bias is untraced unless given."""
    index, layer = moment.depth, moment.layer
    found = {"weight": weight}
    if layer.gain is not None:
        found["weight"], found["gain"] = standardised_vjp(weight, layer.weight, layer.gain)
    if layer.bias is not None:
        found["bias"] = over_channels(moment.drive) if bias is None else bias
    if layer.norm is not None:
        found["gamma"] = over_channels(moment.current * moment.record.centred)
        found["beta"] = over_channels(moment.current)
    if layer.recurrent is not None:
        assert recurrent is not None
        found["recurrent"] = recurrent
        if layer.recurrent_gain is not None:
            raw, gain = standardised_vjp(recurrent, layer.recurrent, layer.recurrent_gain)
            found["recurrent"], found["recurrent_gain"] = raw, gain
    return {(index, name): gradient for name, gradient in found.items()}


def products(posts: Tensor, pres: Tensor) -> Tensor:
    """sum_t posts[t]^T pres[t]."""
    return posts.flatten(0, 1).T @ pres.flatten(0, 1)


def untraced(moments: Iterable[Moment]) -> Gradients:
    """sum_t (dL/ddrive[t])^T x[t] for every synapse; a recurrent one's x[t] is spikes[t-1]."""
    gradients: Gradients = {}
    for moment in moments:
        weight = weight_vjp(moment.layer, moment.record.entering, moment.drive)
        recurrent = (
            products(moment.current, delayed(moment.record.spikes)) if moment.layer.recurrent is not None else None
        )
        gradients |= parameters(moment, weight, recurrent)
    return gradients


def instantaneous(layers: Sequence[Layer], records: Sequence[Record]) -> Callable[[int, Tensor], Tensor]:
    """dL/dcurrent = delta * slope within the step (times 1 - decay if the neuron decays its input)."""

    def respond(index: int, delta: Tensor) -> Tensor:
        return delta * post_factor(layers[index], records[index])

    return respond


def post_factor(layer: Layer, record: Record) -> Tensor:
    return layer.neuron.scale * record.slopes if isinstance(layer.neuron, Neuron) else record.slopes


# The rules.


def carry(neuron: Neuron, potential: Tensor, spikes: Tensor, slope: Tensor) -> Tensor:
    """dpotential[t+1]/dpotential[t] through leak and reset, for potential, spikes and slope at t."""
    if neuron.reset == "subtract":
        kept, path = torch.ones_like(slope), -neuron.threshold * slope
    else:
        kept, path = 1 - spikes, (neuron.reset_value - potential) * slope
    return neuron.decay * (kept if neuron.detach_reset else kept + path)


def through_time(layer: Layer, record: Record, delta: Tensor, horizon: int) -> Tensor:
    """The exact reverse recursion of one layer, dL/dspikes to dL/dcurrent, cut between windows."""
    result = torch.zeros_like(delta)
    next_potential = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        continues = t + 1 < len(delta) and (t + 1) % horizon != 0
        if not isinstance(layer.neuron, Neuron):
            decay = 0.0 if layer.neuron is None else layer.neuron.decay
            result[t] = delta[t] + (decay * result[t + 1] if continues else 0)
            continue
        potential = delta[t] * record.slopes[t]
        if continues:
            if layer.recurrent is not None:
                weight = standardised(layer.recurrent, layer.recurrent_gain)
                potential = potential + (result[t + 1] @ weight) * record.slopes[t]
            kept = carry(layer.neuron, record.potentials[t], record.spikes[t], record.slopes[t])
            potential = potential + kept * next_potential
        next_potential = potential
        result[t] = layer.neuron.scale * potential
    return result


def bptt(
    layers: Sequence[Layer],
    xs: Tensor,
    target: Tensor | Given,
    objective: Literal["each_step", "mean_output"] = "each_step",
    horizon: int | None = None,
    weight_per_step: float | None = None,
) -> Answer:
    """Backpropagation through time, exact or cut every `horizon` steps; weight_per_step: 1/T by default."""
    if horizon is not None and any(layer.norm is not None and layer.norm.mode == "sequence" for layer in layers):
        raise ValueError("Expected step norms with a horizon: a sequence norm's statistics cross every window.")
    records, running = forward(layers, xs)
    outputs = records[-1].outputs
    if objective == "mean_output":
        assert isinstance(target, Tensor)
        assert weight_per_step is None
        loss, error = cross_entropy(outputs.mean(0), target)
        errors = (error / len(xs)).expand_as(outputs)
    else:
        loss, errors = step_errors(outputs, target, step_weights(outputs, None, weight_per_step))

    def respond(index: int, delta: Tensor) -> Tensor:
        return through_time(layers[index], records[index], delta, horizon or len(xs))

    gradients = untraced(descend(layers, records, errors, respond))
    return Answer(gradients, outputs, loss, running)


def sltt(
    layers: Sequence[Layer],
    xs: Tensor,
    target: Tensor | Given,
    at: Iterable[int] | None = None,
    weight_per_step: float | None = None,
) -> Answer:
    """grad W = sum_t (delta[t]*slope[t])^T x[t]; every path through time is cut.

    at: the learning steps, all by default. weight_per_step: of a learning step's loss, 1/len(at) by default.
    """
    records, running = forward(layers, xs)
    outputs = records[-1].outputs
    loss, errors = step_errors(outputs, target, step_weights(outputs, at, weight_per_step))
    gradients = untraced(descend(layers, records, errors, instantaneous(layers, records)))
    return Answer(gradients, outputs, loss, running)


def ottt(
    layers: Sequence[Layer],
    xs: Tensor,
    target: Tensor | Given,
    trace_decay: float | None,
    input_trace: bool = False,
    readout_trace: bool = True,
    bias_trace: bool = False,
    at: Iterable[int] | None = None,
    weight_per_step: float | None = None,
) -> Answer:
    """grad W = sum_t (delta[t]*slope[t])^T trace[t], the trace of what enters the synapse.

    trace_decay: of every trace; None for the receiving neuron's, or the sender's for a plain readout.
    A leaky readout's weight is always traced, with its own decay. Norm parameters are untraced.
    bias_trace: the bias sees k[t] = decay*k[t-1] + 1 in neurons and leaky readouts, not in a plain readout.
    """
    records, running = forward(layers, xs)
    outputs = records[-1].outputs
    loss, errors = step_errors(outputs, target, step_weights(outputs, at, weight_per_step))
    gradients: Gradients = {}
    for moment in descend(layers, records, errors, instantaneous(layers, records)):
        index, layer, record = moment.depth, moment.layer, moment.record
        decay = trace_decay
        if isinstance(layer.neuron, LI):
            decay = layer.neuron.decay
        elif decay is None:
            neuron = layer.neuron or layers[index - 1].neuron
            assert neuron is not None
            decay = neuron.decay
        traced = (index > 0 or input_trace) if isinstance(layer.neuron, Neuron) else readout_trace
        pres = record.entering
        if traced or isinstance(layer.neuron, LI):
            pres = traces(pres, decay)
        recurrent = bias = None
        if layer.recurrent is not None:
            recurrent = products(moment.current, traces(delayed(record.spikes), decay))
        if bias_trace and layer.neuron is not None:
            k = traces(torch.ones_like(moment.drive), decay)
            bias = over_channels(k * moment.drive)
        gradients |= parameters(moment, weight_vjp(layer, pres, moment.drive), recurrent, bias)
    return Answer(gradients, outputs, loss, running)


def rate_gains(neuron: Neuron | LI | None, record: Record) -> tuple[Tensor, Tensor]:
    """rho[t] = dpotential[t]/dc for a constant shift c of the current, and the mean of rho*slope up to t."""
    rho = torch.zeros_like(record.slopes[0])
    rhos: list[Tensor] = []
    for t in range(len(record.slopes)):
        if isinstance(neuron, Neuron):
            if t > 0:
                rho = carry(neuron, record.potentials[t - 1], record.spikes[t - 1], record.slopes[t - 1]) * rho
            rho = rho + neuron.scale
        else:
            rho = (0.0 if neuron is None else neuron.decay) * rho + 1
        rhos.append(rho)
    stacked = torch.stack(rhos)
    counts = torch.arange(1, len(stacked) + 1).to(stacked).view([-1] + [1] * (stacked.dim() - 1))
    return stacked, (stacked * record.slopes).cumsum(0) / counts


def rate_bp(layers: Sequence[Layer], xs: Tensor, target: Tensor) -> Answer:
    """One backward pass through the mode m rate network: delta_current = delta_rate*gain, inputs are rates.

    Loss: cross entropy of the mean output. The gradient is not divided by T. A sequence norm's rate pass,
    (gamma/sigma)*[g - mean(g) - (x - mean(x))/sigma * mean(g*xhat)], is its ordinary one on the mean of xhat.
    """
    for layer in layers:
        if layer.recurrent is not None or (layer.norm is not None and layer.norm.mode == "step"):
            raise ValueError("Expected neither recurrence nor step norms: this rate pass does not define them.")
    records, running = forward(layers, xs)
    gains = [rate_gains(layer.neuron, record)[1][-1] for layer, record in zip(layers, records, strict=True)]
    outputs = records[-1].outputs
    rates = [Record(*(part.mean(0, keepdim=True) for part in record)) for record in records]
    loss, error = cross_entropy(outputs.mean(0), target)
    gradients = untraced(descend(layers, rates, error[None], lambda index, delta: delta * gains[index]))
    return Answer(gradients, outputs, loss, running)


def stllr(
    layers: Sequence[Layer],
    xs: Tensor,
    target: Tensor | Given,
    decay_pre: float,
    decay_post: float,
    causal: float,
    acausal: float,
    last: int | None = None,
    decay_readout: float | None = None,
    feedback: Sequence[Tensor] | None = None,
    weight_per_step: float | None = None,
) -> Answer:
    """grad W = sum_t causal*(delta*slope)^T tr_pre(x)[t] + acausal*(delta*tr_post(slope)[t-1])^T x[t].

    The code's form: the post trace holds decay_post^(t-1-t'). Bias and norm parameters are untraced, from
    delta*slope alone, as is the error sent below. Slope means dspikes/dcurrent: it includes the factor
    1 - decay of a neuron that decays its input. A memoryless readout has no trace.

    last: only these last steps learn; traces run at all.
    decay_readout: of the trace in front of a leaky readout, by default the readout's own.
    feedback: [C, units] for each hidden layer; delta = (dL/dlogits) B at the spikes, before the pool.
    weight_per_step: of a learning step's loss, 1/number of learning steps by default.
    """
    records, running = forward(layers, xs)
    outputs = records[-1].outputs
    at = None if last is None else range(max(0, len(xs) - last), len(xs))
    loss, errors = step_errors(outputs, target, step_weights(outputs, at, weight_per_step))
    gradients: Gradients = {}
    for moment in descend(layers, records, errors, instantaneous(layers, records), feedback):
        layer, record = moment.layer, moment.record
        if not isinstance(layer.neuron, Neuron):
            pres = record.entering
            if layer.neuron is not None:
                pres = traces(pres, layer.neuron.decay if decay_readout is None else decay_readout)
            gradients |= parameters(moment, weight_vjp(layer, pres, moment.drive))
            continue
        current = late = moment.delta * delayed(traces(post_factor(layer, record), decay_post))
        if layer.norm is not None:
            late = normalise_vjp(layer.norm, current, record.centred, record.sigma)
        weight = causal * weight_vjp(layer, traces(record.entering, decay_pre), moment.drive)
        weight = weight + acausal * weight_vjp(layer, record.entering, late)
        recurrent = None
        if layer.recurrent is not None:
            before = delayed(record.spikes)
            recurrent = causal * products(moment.current, traces(before, decay_pre))
            recurrent = recurrent + acausal * products(current, before)
        gradients |= parameters(moment, weight, recurrent)
    return Answer(gradients, outputs, loss, running)


# Small networks that spike, N = 3, T = 5, three classes.

Case = tuple[list[Layer], Tensor, Tensor]


class Draw:
    """Seeded weights: `draw(*shape)` is normal with variance scale^2 / fan_in."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, scale: float = 1.0) -> Tensor:
        drawn = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return scale * drawn / math.sqrt(math.prod(shape[1:]))

    def around(self, mean: float, *shape: int) -> Tensor:
        return mean + 0.2 * torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def inputs(self, *shape: int) -> tuple[Tensor, Tensor]:
        xs = torch.randn((5, 3, *shape), generator=self.generator, dtype=torch.float64)
        return xs, torch.randint(3, (3,), generator=self.generator)

    def readout(self, units: int, decay: float | None, gap: bool = False) -> Layer:
        leak = None if decay is None else LI(decay)
        return Layer(self(3, units, scale=2.0), self.around(0.0, 3), gap=gap, neuron=leak)


def linear_net(seed: int = 0, readout_decay: float | None = None, **neuron: Any) -> Case:
    """4 -> 6 -> 5 -> 3."""
    draw, cell = Draw(seed), Neuron(**neuron)
    boost = cell.threshold / cell.scale
    first = Layer(draw(6, 4, scale=1.5 * boost), draw.around(0.5 * boost, 6), neuron=cell)
    second = Layer(draw(5, 6, scale=2.0 * boost), draw.around(0.7 * boost, 5), neuron=cell)
    return [first, second, draw.readout(5, readout_decay)], *draw.inputs(4)


def conv_net(
    seed: int = 0,
    norm: Literal["step", "sequence"] | None = "step",
    gap: bool = False,
    readout_decay: float | None = None,
    **neuron: Any,
) -> Case:
    """Conv, conv with a skip and a pool, conv with stride 2, on 2x6x6; the first two are normalised."""
    draw, cell = Draw(seed), Neuron(**neuron)
    boost = cell.threshold / cell.scale

    def normed(channels: int) -> Norm | None:
        if norm is None:
            return None
        return Norm(draw.around(boost, channels), draw.around(0.4 * boost, channels), mode=norm)

    kernels = [
        draw(3, 2, 3, 3, scale=boost),
        draw(3, 3, 3, 3, scale=boost),
        draw(4, 3, 3, 3, scale=2 * boost),
    ]
    biases = [draw.around(mean * boost, len(kernel)) for mean, kernel in zip((0.5, 0.5, 0.9), kernels, strict=True)]
    first = Layer(kernels[0], biases[0], "conv", norm=normed(3), neuron=cell)
    second = Layer(kernels[1], biases[1], "conv", norm=normed(3), skip=0, pool=2, neuron=cell)
    third = Layer(kernels[2], biases[2], "conv", stride=2, neuron=cell)
    readout = draw.readout(4 if gap else 16, readout_decay, gap)
    return [first, second, third, readout], *draw.inputs(2, 6, 6)


def ws_net(seed: int = 0, readout_decay: float | None = None, **neuron: Any) -> Case:
    """Weight-standardised conv on 2x6x6, pool, weight-standardised linear, plain readout."""
    draw, cell = Draw(seed), Neuron(**neuron)
    boost = cell.threshold / cell.scale
    conv = Layer(draw(3, 2, 3, 3), draw.around(0.4 * boost, 3), "conv", gain=draw.around(boost, 3), pool=2, neuron=cell)
    linear = Layer(draw(5, 27), draw.around(0.8 * boost, 5), gain=draw.around(2 * boost, 5), neuron=cell)
    return [conv, linear, draw.readout(5, readout_decay)], *draw.inputs(2, 6, 6)


def recurrent_net(seed: int = 0, gain: bool = False, readout_decay: float | None = None, **neuron: Any) -> Case:
    """4 -> 6 recurrent -> 5 recurrent -> 3; with `gain` all hidden weights are standardised."""
    draw, cell = Draw(seed), Neuron(**neuron)
    boost = cell.threshold / cell.scale
    layers = []
    for inputs, units in ((4, 6), (6, 5)):
        layers.append(
            Layer(
                draw(units, inputs, scale=1.5 * boost),
                draw.around(0.5 * boost, units),
                gain=draw.around(1.5 * boost, units) if gain else None,
                recurrent=draw(units, units, scale=boost),
                recurrent_gain=draw.around(boost, units) if gain else None,
                neuron=cell,
            )
        )
    return [*layers, draw.readout(5, readout_decay)], *draw.inputs(4)
