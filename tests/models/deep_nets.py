"""The papers' nets at a small width and depth, made lively enough for every layer to fire and learn."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.losses import cross_entropy, mse
from rheobase.models.flow import flow
from rheobase.models.nf_resnet import nf_resnet
from rheobase.models.recurrent import recurrent
from rheobase.models.spikformer import spikformer
from rheobase.models.stllr_resnet import stllr_resnet18
from rheobase.models.vgg9 import vgg9
from rheobase.models.vgg_sws import vgg_sws

STEPS, BATCH, CLASSES = 3, 2, 3


def neuron() -> rb.LIF:
    return rb.LIF(0.5, threshold=0.4, surrogate="sigmoid(alpha=2.0)")


def attending() -> rb.LIF:
    return rb.LIF(0.5, threshold=0.2, surrogate="sigmoid(alpha=2.0)")


NETS: dict[str, Callable[[], nn.Module]] = {
    "nf-basic": partial(nf_resnet, (2, 8, 8), CLASSES, (1, 2), bottleneck=False, neuron=neuron, width=1 / 8),
    "nf-bottleneck": partial(nf_resnet, (2, 8, 8), CLASSES, (2,), bottleneck=True, neuron=neuron, width=1 / 8),
    "vgg-sws": partial(vgg_sws, (2, 8, 8), CLASSES, neuron=neuron, width=1 / 16),
    "vgg9": partial(vgg9, (2, 8, 8), CLASSES, neuron=neuron, width=1 / 16),
    "vgg9-max": partial(vgg9, (2, 8, 8), CLASSES, neuron=neuron, pool="max", width=1 / 16),
    "stllr-resnet18": partial(stllr_resnet18, (2, 8, 8), CLASSES, neuron=neuron, width=1 / 16),
    "flow": partial(flow, (2, 8, 8), neuron=neuron, width=1 / 4),
    "spikformer": partial(
        spikformer, (2, 8, 8), CLASSES, depth=2, heads=4, neuron=neuron, attention_neuron=attending, width=1 / 24
    ),
    "recurrent": partial(recurrent, (2, 8, 8), CLASSES, hidden=12, neuron=neuron, standardised=True),
}  # fmt: skip
FEED_FORWARD = [name for name in NETS if name != "recurrent"]


def lively(name: str) -> nn.Module:
    """The net in float64, its gains raised and all weights in use from the start."""
    torch.manual_seed(1)
    net = NETS[name]().double()
    with torch.no_grad():
        for key, p in net.named_parameters():
            if key.endswith("gain") and not name.startswith("nf-"):
                p.uniform_(1.5, 2.5)
            elif key.endswith("skip"):
                p.uniform_(2, 4)
            elif key.endswith("bias"):
                p.uniform_(0, 0.2)
        readout = [m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]
        readout.weight.normal_(std=0.3)  # so that no loss saturates
    return net


def sequence(name: str, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Frames `[T, N, 2, H, W]` and targets: flow fields for the flow net, classes for the others."""
    torch.manual_seed(2)
    xs = torch.rand(steps, BATCH, 2, 8, 8, dtype=torch.float64) * 2
    if name == "flow":
        return xs, torch.rand(BATCH, 2, 8, 8, dtype=torch.float64)
    return xs, torch.randint(CLASSES, (BATCH,))


def loss_of(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    return mse if name == "flow" else cross_entropy


def gradients(net: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
