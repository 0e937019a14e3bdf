"""The benchmark's networks and inputs: one description each, built with each side's own layers."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Build = Callable[..., nn.Module]


class Block(nn.Sequential):
    """A synapse, perhaps a norm, and its neurons: what a memory optimiser computes again as one piece."""


def spliced(*layers: nn.Module) -> list[nn.Module]:
    return list(layers)


def wrapped(*layers: nn.Module) -> list[nn.Module]:
    return [Block(*layers)]


@dataclass(frozen=True)
class Kit:
    """One side's layers. block: how the layers of a block stand in the network, one by one or as one module."""

    neuron: Callable[[], nn.Module]
    recurrent: Build
    conv: Build = nn.Conv2d
    norm: Build = nn.BatchNorm2d
    linear: Build = nn.Linear
    avg_pool: Build = nn.AvgPool2d
    global_pool: Build = nn.AdaptiveAvgPool2d
    flatten: Build = nn.Flatten
    sequential: Build = nn.Sequential
    block: Callable[..., list[nn.Module]] = spliced


class Residual(nn.Module):
    """conv-BN-LIF-conv-BN, the shortcut's current added before the second LIF."""

    def __init__(self, kit: Kit, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = kit.conv(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = kit.norm(outputs)
        self.neuron1 = kit.neuron()
        self.conv2 = kit.conv(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = kit.norm(outputs)
        self.shortcut: nn.Module | None = None
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(kit.conv(inputs, outputs, 1, stride=stride, bias=False), kit.norm(outputs))
        self.neuron2 = kit.neuron()

    def forward(self, x: Tensor) -> Tensor:
        current = self.norm2(self.conv2(self.neuron1(self.norm1(self.conv1(x)))))
        return self.neuron2(current + (x if self.shortcut is None else self.shortcut(x)))


def vgg(kit: Kit, quick: bool) -> nn.Module:
    channels = (3, 4, 8, 8, 8, 8) if quick else (3, 32, 64, 64, 128, 128)
    layers: list[nn.Module] = []
    for place in range(5):
        conv = kit.conv(channels[place], channels[place + 1], 3, padding=1, bias=False)
        layers += kit.block(conv, kit.norm(channels[place + 1]), kit.neuron())
        if place in (1, 3):
            layers.append(kit.avg_pool(2))
    return kit.sequential(*layers, kit.global_pool(1), kit.flatten(), kit.linear(channels[-1], 10))


def resnet18(kit: Kit, quick: bool) -> nn.Module:
    widths = (4, 4, 8, 8) if quick else (64, 128, 256, 512)
    layers = kit.block(kit.conv(3, widths[0], 3, padding=1, bias=False), kit.norm(widths[0]), kit.neuron())
    inputs = widths[0]
    for stage, width in enumerate(widths):
        for place in range(2):
            layers.append(Residual(kit, inputs, width, stride=2 if stage and not place else 1))
            inputs = width
    return kit.sequential(*layers, kit.global_pool(1), kit.flatten(), kit.linear(inputs, 10))


def mlp(kit: Kit, quick: bool) -> nn.Module:
    inputs, hidden, classes = (20, 16, 4) if quick else (700, 256, 20)
    first, second = kit.linear(inputs, hidden), kit.linear(hidden, hidden)
    amplify(first, 10.0)
    amplify(second, 6.0)
    blocks = [*kit.block(first, kit.neuron()), *kit.block(second, kit.neuron())]
    return kit.sequential(*blocks, kit.linear(hidden, classes))


def recurrent(kit: Kit, quick: bool) -> nn.Module:
    inputs, hidden, classes = (20, 16, 4) if quick else (700, 450, 20)
    synapse, own = kit.linear(inputs, hidden), kit.linear(hidden, hidden, bias=False)
    amplify(synapse, 10.0)
    return kit.sequential(kit.recurrent(synapse, own, kit.neuron()), kit.linear(hidden, classes))


def amplify(synapse: nn.Module, gain: float) -> None:
    """PyTorch's initial weights are too small for sparse spikes: the neurons would never fire."""
    assert isinstance(synapse, nn.Linear)
    with torch.no_grad():
        synapse.weight.mul_(gain)


@dataclass(frozen=True)
class Net:
    """One of the benchmark's networks.

    steps: the numbers of steps T it is measured at. bptt_until: the largest T at which what keeps all steps is run.
    long_from: from this T on, one timed repetition after a short warm-up, with `long_batch` samples.
    """

    build: Callable[[Kit, bool], nn.Module]
    steps: tuple[int, ...]
    batch: int
    classes: int
    bptt_until: int
    long_from: int
    long_batch: int
    images: bool = True

    def batch_at(self, steps: int, quick: bool) -> int:
        return 4 if quick else self.long_batch if steps >= self.long_from else self.batch

    def elements(self, steps: int, quick: bool) -> int:
        """Values in the input."""
        return steps * self.batch_at(steps, quick) * (3 * 32 * 32 if self.images else 700)

    def inputs(self, steps: int, quick: bool, device: torch.device) -> Tensor:
        """`[T, N, ...]`, another input at each step: noise images, or spikes with 2 % probability."""
        batch = self.batch_at(steps, quick)
        generator = torch.Generator().manual_seed(1)
        if self.images:
            side = 8 if quick else 32
            return torch.rand(steps, batch, 3, side, side, generator=generator).to(device)
        size, probability = (20, 0.3) if quick else (700, 0.02)
        return torch.empty(steps, batch, size).bernoulli_(probability, generator=generator).to(device)

    def targets(self, steps: int, quick: bool, device: torch.device) -> Tensor:
        generator = torch.Generator().manual_seed(2)
        classes = 4 if quick and not self.images else self.classes
        return torch.randint(classes, (self.batch_at(steps, quick),), generator=generator).to(device)


NETS = {
    "vgg": Net(vgg, (4, 8, 16, 32, 1000), 32, 10, bptt_until=64, long_from=1000, long_batch=8),
    "resnet18": Net(resnet18, (4, 8), 8, 10, bptt_until=32, long_from=1000, long_batch=2),
    "mlp": Net(mlp, (10, 100, 1000, 10000), 64, 20, bptt_until=1000, long_from=10000, long_batch=64, images=False),
    "recurrent": Net(recurrent, (100,), 128, 20, bptt_until=1000, long_from=10000, long_batch=128, images=False),
}
