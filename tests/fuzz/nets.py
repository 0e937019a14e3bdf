"""Random small nets, with sequences to learn, for rules: every kind of layer at every kind of place."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import rheobase as rb
from rheobase.losses import cross_entropy, mse
from rheobase.neurons import Neuron
from rheobase.norms import uses_batch_statistics

CLASSES = 3

# Each line is code to compile, so they are few; what they are started with is drawn.
NEURONS = (
    lambda decay, threshold: rb.LIF(decay, threshold=threshold),
    lambda decay, threshold: rb.LIF(decay, threshold=threshold, reset="zero", detach_reset=True, surrogate="triangle"),
    lambda decay, threshold: rb.LIF(decay, threshold=threshold / 2, reset="zero", reset_value=-0.23, decay_input=True),
    lambda decay, threshold: rb.LIF(decay, threshold=threshold, detach_reset=True, surrogate="fast_sigmoid(slope=3.0)"),
    lambda decay, threshold: rb.IF(threshold=threshold, surrogate="atan"),
    lambda decay, threshold: rb.IF(threshold=threshold, reset="zero", detach_reset=True, surrogate="rectangle"),
    lambda decay, threshold: rb.ALIF(decay, threshold=threshold, adaptation=0.31),
    lambda decay, threshold: rb.CubaLIF(decay, threshold=threshold, reset="zero", surrogate="inverse_quadratic"),
    lambda decay, threshold: rb.PLIF(decay, threshold=threshold),
    lambda decay, threshold: rb.LI(decay),
)  # fmt: skip


@dataclass
class Case:
    """A net in float64, what it sees `[T, N, ...]`, and what it is to give out.

    pixels: from how many on convolutions run in channels-last order.
    """

    net: nn.Module
    xs: Tensor
    target: Tensor | rb.PerStep
    loss: object
    pixels: int

    def __repr__(self):
        names = [name for name, p in self.net.named_parameters() if not p.requires_grad]
        constant = self.xs.stride(0) == 0
        seen = f"xs={list(self.xs.shape)}, {constant=}, pixels={self.pixels}, {type(self.target).__name__}"
        return f"{self.net}\ntraining={self.net.training}, frozen={names}, {seen}"


class Spiking(nn.Module):
    """Synapse, norm, neuron, pool; `change` is done to the current in place, `after` to the spikes."""

    def __init__(self, synapse, norm, neuron, pool, change=None, after=None):
        super().__init__()
        self.synapse, self.norm, self.neuron, self.pool = synapse, norm, neuron, pool
        self.change, self.after = change, after

    def forward(self, x):
        current = self.synapse(x)
        if self.change == "scaled":
            current *= 0.8
        elif self.change == "shifted":
            current.add_(0.1)
        spikes = self.neuron(self.norm(current))
        if self.after == "scaled":
            spikes *= 1.3
        elif self.after == "bent":
            spikes = 1.5 * torch.tanh(spikes)
        return self.pool(spikes)

    def extra_repr(self):
        return f"change={self.change}, after={self.after}"


class InPlace(nn.Module):
    """Changes what it is given."""

    def forward(self, x):
        x *= 1.2
        return x


class Added(nn.Module):
    """What a block gives out and what it was given, added before or after the neuron, in place or not."""

    def __init__(self, block, neuron, kind):
        super().__init__()
        self.block, self.kind = block, kind
        if neuron is not None:
            self.neuron = neuron

    def forward(self, x):
        y = self.block(x)
        if self.kind == "in place":
            y += x
            return y
        return self.neuron(y + x) if self.kind == "before a neuron" else y + x

    def extra_repr(self):
        return self.kind


class Twice(nn.Module):
    """One synapse and one norm at two places."""

    def __init__(self, synapse, norm, neurons):
        super().__init__()
        self.synapse, self.norm, self.neurons = synapse, norm, nn.ModuleList(neurons)

    def forward(self, x):
        for neuron in self.neurons:
            x = neuron(self.norm(self.synapse(x)))
        return x


class Branches(nn.Module):
    """Two blocks side by side, their outputs added, one below the other, or written into one tensor."""

    def __init__(self, one, other, kind):
        super().__init__()
        self.one, self.other, self.kind = one, other, kind

    def forward(self, x):
        parts = self.one(x), self.other(x)
        if self.kind == "added":
            return parts[0] + parts[1]
        if self.kind == "joined":
            return torch.cat(parts, 1)
        channels = parts[0].shape[1]
        whole = torch.zeros(len(x), 2 * channels, *parts[0].shape[2:], dtype=x.dtype)
        whole[:, :channels] = parts[0]
        whole[:, channels:].copy_(parts[1])
        return whole

    def extra_repr(self):
        return self.kind


class Net(nn.Module):
    """Layers one after the other; images are flattened before the head by `flat`."""

    def __init__(self, body, head, flat, drops):
        super().__init__()
        self.body, self.head, self.flat = nn.ModuleList(body), nn.Sequential(*head), flat
        self.drop = {"none": nn.Identity(), "own": nn.Dropout(0.5), "shared": rb.TimeSharedDropout(0.5)}[drops]

    def forward(self, x):
        for layer in self.body:
            x = layer(x)
        x = self.drop(x)
        if self.flat == "view":
            x = x.view(len(x), -1)
        elif self.flat == "mean":
            x = x.flatten(2).mean(2) if x.dim() > 2 else x
        else:
            x = x.flatten(1)
        return self.head(x)

    def train(self, mode=True):
        super().train(mode)
        self.drop.eval()  # what is drawn at random could not be compared
        return self

    def extra_repr(self):
        return self.flat


class Drawn:
    """Draws modules that fit together; `shape` is that of one sample so far."""

    def __init__(self, draw, shape):
        self.draw, self.shape = draw, shape

    def one_of(self, *choices):
        return self.draw(st.sampled_from(choices))

    def neuron(self):
        made = self.one_of(*NEURONS)(self.one_of(0.3, 0.5, 0.9), self.one_of(0.37, 0.71))
        if isinstance(made, rb.PLIF) and self.draw(st.booleans()):
            shape = (self.shape[0], *[1] * (len(self.shape) - 1))
            return rb.PLIF(0.6, shape=shape, threshold=0.4, decay_input=True, detach_reset=True)
        return made

    def synapse(self, outputs=None, keeps=False):
        """A synapse from the present shape, which moves on to that of its output."""
        inputs, bias = self.shape[0], self.draw(st.booleans())
        outputs = inputs if keeps else outputs or self.one_of(2, 4)
        if len(self.shape) == 1:
            kind, self.shape = self.one_of(nn.Linear, nn.Linear, rb.WSLinear), (outputs,)
            return kind(inputs, outputs, bias=bias)
        kind = self.one_of("plain", "plain", "grouped", "depthwise", "standardised", "pointwise", "circular")
        kernel, stride = (1 if kind == "pointwise" else 3), (1 if keeps else self.one_of(1, 1, 2))
        groups = {"grouped": 2, "depthwise": inputs}.get(kind, 1)
        outputs = max(outputs, inputs) if groups > 1 else outputs
        options = {"stride": stride, "padding": kernel // 2, "groups": groups, "bias": bias}
        if kind == "circular":
            options["padding_mode"] = "circular"
        made = (rb.WSConv2d if kind == "standardised" else nn.Conv2d)(inputs, outputs, kernel, **options)
        self.shape = (outputs, *(-(-side // stride) for side in self.shape[1:]))
        return made

    def norm(self):
        flat, channels = len(self.shape) == 1, self.shape[0]
        kind = self.one_of("none", "none", "step", "step", "sequence", "group")
        if kind == "none":
            return nn.Identity()
        if kind == "group":
            return nn.GroupNorm(1, channels)
        kinds = {"step": (nn.BatchNorm1d, nn.BatchNorm2d), "sequence": (rb.SequenceBatchNorm1d, rb.SequenceBatchNorm2d)}
        options = self.one_of({}, {}, {"affine": False}, {"momentum": None}, {"track_running_stats": False})
        return (kinds[kind][0] if flat else kinds[kind][1])(channels, **options)

    def pool(self):
        if len(self.shape) == 1 or min(self.shape[1:]) < 3:
            return nn.Identity()
        kind = self.one_of("none", "none", "average", "overlapping", "max", "wide max")
        if kind == "none":
            return nn.Identity()
        made = {
            "average": nn.AvgPool2d(2), "overlapping": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
            "max": nn.MaxPool2d(2), "wide max": nn.MaxPool2d(3, 2, 1),
        }[kind]  # fmt: skip
        self.shape = tuple(made(torch.zeros(1, *self.shape)).shape[1:])
        return made

    def spiking(self, keeps=False, outputs=None):
        """A block of one layer, which may change its own tensors in place."""
        synapse, norm, neuron = self.synapse(outputs, keeps), self.norm(), self.neuron()
        change, after = self.one_of(None, None, None, "scaled", "shifted"), self.one_of(*[None] * 5, "scaled", "bent")
        return Spiking(synapse, norm, neuron, nn.Identity() if keeps else self.pool(), change, after)

    def layer(self):
        kind = self.one_of("spiking", "spiking", "added", "twice", "branches", "chain", "recurrent", "feedback", "bare")
        if kind == "spiking":
            return self.spiking()
        if kind == "added":
            where = self.one_of("after the neuron", "in place", "before a neuron")
            return Added(self.spiking(keeps=True), self.neuron() if where == "before a neuron" else None, where)
        if kind == "twice":
            return Twice(self.synapse(keeps=True), self.norm(), [self.neuron(), self.neuron()])
        if kind == "branches":
            how, inputs = self.one_of("added", "joined", "written"), self.shape[0]
            blocks = [self.spiking(keeps=True), self.spiking(keeps=True)]
            self.shape = (inputs if how == "added" else 2 * inputs, *self.shape[1:])
            return Branches(*blocks, how)
        if kind == "chain":
            return nn.Sequential(self.synapse(), self.norm(), self.synapse(), self.neuron())
        if kind == "bare":
            return self.one_of(nn.ReLU(), InPlace(), rb.Scale(1.7), nn.Identity(), self.neuron())
        synapse = nn.Sequential(self.synapse(), self.norm())
        if kind == "recurrent":
            neuron = self.neuron()
            return rb.Recurrent(synapse, self.back(), neuron)
        layers = nn.Sequential(self.neuron(), self.synapse(keeps=True), self.norm(), self.neuron(), rb.Scale(1.1))
        return rb.Feedback(synapse, self.back(), layers, self.shape)

    def back(self):
        """A synapse that keeps the shape, without a stride."""
        return self.synapse(keeps=True)


def norms(net):
    return [m for m in net.modules() if isinstance(m, _BatchNorm)]


def enliven(net, seed):
    """Weights and norms with which all layers fire at some steps and rest at others."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        with torch.no_grad():
            if isinstance(weight, Tensor):
                share = 1.5 * weight[0].numel() ** -0.5 if weight.dim() > 1 else 0.3
                weight.copy_(torch.randn(weight.shape, generator=generator) * share + (weight.dim() == 1))
            if isinstance(bias, Tensor):
                bias.copy_(torch.rand(bias.shape, generator=generator) * 0.6)
            if getattr(module, "running_mean", None) is not None:
                module.running_mean.copy_(torch.rand(module.running_mean.shape, generator=generator) * 0.3)


@st.composite
def cases(draw):
    choose = Drawn(draw, draw(st.sampled_from([(5,), (2, 5, 5), (4, 4, 6)])))
    shape = choose.shape
    body = []
    for _ in range(draw(st.integers(1, 3))):
        body += [choose.layer(), *([InPlace()] if draw(st.integers(0, 5)) == 0 else [])]
    if not any(isinstance(m, Neuron) for layer in body for m in layer.modules()):
        body.append(choose.spiking())
    flat = draw(st.sampled_from(["flatten", "view", "mean"]))
    units = choose.shape[0] if flat == "mean" else torch.Size(choose.shape).numel()
    choose.shape = (units,)
    head = [choose.synapse(CLASSES), *([rb.LI(draw(st.sampled_from([0.3, 0.9])))] if draw(st.booleans()) else [])]
    net = Net(body, head, flat, draw(st.sampled_from(["none", "own", "shared"]))).double()
    seed = draw(st.integers(0, 10**6))
    enliven(net, seed)
    net.train(draw(st.sampled_from([True, True, False])))
    for p in list(net.parameters())[:-1]:
        p.requires_grad_(draw(st.integers(0, 9)) > 0)
    torch.manual_seed(seed)
    steps, samples = draw(st.integers(1, 6)), draw(st.integers(2, 4))
    if draw(st.integers(0, 3)) == 0 and not any(map(uses_batch_statistics, norms(net))):
        samples = 1
    changes = draw(st.booleans())
    x = 2 * torch.rand(steps if changes else 1, samples, *shape, dtype=torch.float64)
    xs = x if changes else rb.constant(x[0], steps)
    classifies, each = draw(st.booleans()), draw(st.integers(0, 3)) == 0
    times = (steps, samples) if each else (samples,)
    target = torch.randint(CLASSES, times) if classifies else torch.rand(*times, CLASSES, dtype=torch.float64)
    target, loss = (rb.PerStep(target) if each else target), (cross_entropy if classifies else mse)
    return Case(net, xs, target, loss, draw(st.sampled_from([1, 1024])))
