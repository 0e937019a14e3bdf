"""The oracle's networks as plain rheobase modules, and their gradients under a rule."""

from collections.abc import Callable, Sequence
from typing import Any

import oracles
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.neurons import Neuron
from rheobase.surrogates import Surrogate

Named = dict[tuple[int, str], Tensor]


class Triangle(Surrogate):
    """The oracle's triangle, written as the library's own, to be compared with it."""

    def __call__(self, distance: Tensor) -> Tensor:
        return oracles.triangle_slope(distance)


def neuron(cell: oracles.Neuron | oracles.LI) -> Neuron:
    if isinstance(cell, oracles.LI):
        return rb.LI(cell.decay)
    return rb.LIF(
        cell.decay,
        threshold=cell.threshold,
        reset=cell.reset,
        reset_value=cell.reset_value,
        detach_reset=cell.detach_reset,
        decay_input=cell.decay_input,
        surrogate="sigmoid" if cell.slope is oracles.sigmoid_slope else Triangle(),
    )


def linear(weight: Tensor, bias: Tensor | None, gain: Tensor | None) -> nn.Linear:
    kind = nn.Linear if gain is None else rb.WSLinear
    return filled(kind(weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias, gain)


def filled(synapse: nn.Module, weight: Tensor, bias: Tensor | None, gain: Tensor | None) -> nn.Module:
    synapse.double()
    with torch.no_grad():
        for name, value in {"weight": weight, "bias": bias, "gain": gain}.items():
            if value is not None:
                synapse.get_parameter(name).copy_(value)
    return synapse


class Block(nn.Module):
    """One layer of the oracle: synapse, norm, recurrence or skip, neuron, pool."""

    def __init__(self, layer: oracles.Layer) -> None:
        super().__init__()
        self.is_flat = layer.kind == "linear"
        self.gap = layer.gap
        if layer.kind == "linear":
            self.synapse = linear(layer.weight, layer.bias, layer.gain)
        else:
            kind = nn.Conv2d if layer.gain is None else rb.WSConv2d
            outputs, inputs = layer.weight.shape[:2]
            synapse = kind(inputs, outputs, 3, layer.stride, 1, bias=layer.bias is not None)
            self.synapse = filled(synapse, layer.weight, layer.bias, layer.gain)
        if layer.norm is not None:
            kind = rb.SequenceBatchNorm2d if layer.norm.mode == "sequence" else nn.BatchNorm2d
            self.norm = kind(len(layer.norm.gamma), eps=layer.norm.eps)
            filled(self.norm, layer.norm.gamma, layer.norm.beta, None)
        else:
            self.norm = nn.Identity()
        if layer.neuron is not None:
            self.neuron = neuron(layer.neuron)
        if layer.recurrent is not None:
            recurrent = linear(layer.recurrent, None, layer.recurrent_gain)
            self.recurrent = rb.Recurrent(self.synapse, recurrent, self.neuron)
        self.pool = nn.AvgPool2d(layer.pool) if layer.pool > 1 else nn.Identity()
        self.layer = layer

    def forward(self, x: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        if self.gap:
            x = x.mean((2, 3))
        if self.is_flat:
            x = x.flatten(1)
        if self.layer.recurrent is not None:
            return self.recurrent(x)
        current = self.norm(self.synapse(x))
        if self.layer.skip is not None:
            current = current + outputs[self.layer.skip]
        return self.pool(current if self.layer.neuron is None else self.neuron(current))


class Network(nn.Module):
    def __init__(self, layers: Sequence[oracles.Layer]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(map(Block, layers))
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for block in self.blocks:
            x = block(x, outputs)
            outputs.append(x)
        return x

    def gradients(self) -> Named:
        """The `.grad`s by the oracle's names."""
        found: Named = {}
        for index, block in enumerate(self.blocks):
            own = {"weight": "weight", "bias": "bias", "gain": "gain"}
            found |= named(index, block.synapse, own)
            found |= named(index, block.norm, {"weight": "gamma", "bias": "beta"})
            if block.layer.recurrent is not None:
                found |= named(index, block.recurrent.recurrent, {"weight": "recurrent", "gain": "recurrent_gain"})
        return found

    def running(self) -> dict[int, tuple[Tensor, Tensor]]:
        """The running mean and variance of each norm."""
        return {
            index: (block.norm.running_mean, block.norm.running_var)
            for index, block in enumerate(self.blocks)
            if not isinstance(block.norm, nn.Identity)
        }


def named(index: int, module: nn.Module, names: dict[str, str]) -> Named:
    return {
        (index, names[name]): parameter.grad
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.grad is not None
    }


def flat(gradients: Named) -> Tensor:
    return torch.cat([gradients[key].flatten() for key in sorted(gradients)])


class Residual(nn.Module):
    """x + neuron(norm(conv(x))), and the sum goes through a neuron: two synapses and a skip feed one neuron."""

    def __init__(self, channels: int, norm: type[nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1), norm(channels)
        self.neuron1 = rb.LIF(0.5, threshold=0.5)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), norm(channels)
        self.shortcut = nn.Conv2d(channels, channels, 1)
        self.neuron2 = rb.LIF(0.5, detach_reset=True, threshold=0.5)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.neuron1(self.norm1(self.conv1(x)))
        return self.neuron2(self.norm2(self.conv2(inner)) + self.shortcut(x)) + x


def spiking_nets() -> dict[str, Callable[[], nn.Module]]:
    """Nets on steps [N, 2, 6, 6] with three classes, one of each kind that rules must work on."""
    return {
        "linear": lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(72, 6), rb.LIF(0.5), nn.Linear(6, 5), rb.LIF(0.5, reset="zero"), nn.Linear(5, 3)
        ),
        "conv-norm-residual": lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), rb.LIF(0.5, threshold=0.5), Residual(3),
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 3),
        ),
        "standardised": lambda: nn.Sequential(
            rb.WSConv2d(2, 3, 3, padding=1), rb.LIF(0.5, threshold=0.4), rb.Scale(rb.heaviside_gain()),
            nn.AvgPool2d(2), nn.Flatten(), rb.WSLinear(27, 5), rb.LIF(0.5, threshold=0.3), nn.Linear(5, 3),
        ),
        "recurrent": lambda: nn.Sequential(
            nn.Flatten(), rb.Recurrent(nn.Linear(72, 6), nn.Linear(6, 6, bias=False), rb.LIF(0.5, threshold=0.4)),
            nn.Linear(6, 3), rb.LI(0.5),
        ),
    }  # fmt: skip


def flat_gradient(
    rule: Any, net: nn.Module, xs: Any, target: Any, *, keep: bool = False, backward: Any = Tensor.backward
) -> Tensor:
    """The rule's gradient as one vector; the buffers are put back, and earlier gradients dropped unless `keep`."""
    buffers = [b.clone() for b in net.buffers()]
    if not keep:
        net.zero_grad()
    rule.backward(net, xs, target, loss=cross_entropy, backward=backward)
    with torch.no_grad():
        for buffer, before in zip(net.buffers(), buffers, strict=True):
            buffer.copy_(before)
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
