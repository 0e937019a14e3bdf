"""Where a hidden neuron's error comes from."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor

from rheobase.engine import Sweep
from rheobase.names import choose
from rheobase.neurons import Neuron
from rheobase.sequence import PerStep, Target


class Signal(ABC):
    """Where the error comes from that reaches a layer's spikes."""

    @abstractmethod
    def start(self, target: Target, weight: float) -> "SignalPath":
        """The signal's path for one sequence, to `target` as it was given to the rule.

        weight: factor of one step's loss in the total, which a delta that does not come from the loss has to bring.
        """


class SignalPath:
    """Lets the error come down by spatial backpropagation; other signals override it.

    For each chunk: `hidden` at every layer of neurons while the forward comes by; then, if the chunk learns, `join` and
    `root`, and the backward pass. The gradient that arrives at the spikes is the rule's delta; a hook on them
    (`spikes.register_hook`) may put another in its place.
    """

    def hidden(self, sweep: Sweep, neuron: Neuron, spikes: Tensor) -> Tensor:
        """What the next layer sees of a neuron's output `[c * N, ...]`, c = `sweep.chunk`.

        Inside of recurrent layers it is step `sweep.offset` of the chunk alone. Neurons that do not spike, such as a
        readout's, come by as well; at steps that do not learn the spikes have no graph.
        """
        return spikes

    def join(self, outputs: Tensor, first: int) -> Tensor:
        """The outputs `[c, N, ...]` of the steps from `first` on, through which the error enters."""
        return outputs

    def root(self, total: Tensor) -> Tensor:
        """The weighted loss, a scalar, that the backward pass starts from."""
        return total


@dataclass(frozen=True)
class Backprop(Signal):
    """Spatial backpropagation within the step."""

    def start(self, target: Target, weight: float) -> SignalPath:
        return SignalPath()


@dataclass(frozen=True)
class DirectFeedback(Signal):
    """A fixed random matrix B per layer of neurons brings the output's error straight to it: delta = e B.

    error: "error" is e = d loss / d output (DFA, Noekland, NeurIPS 2016); "sign" its sign; "target" the one-hot
        target (DRTP, Frenkel et al., 2021). The latter two are scaled by the weight of one sample's loss.
    seed: of the matrices, which are uniform in +-sqrt(6 / units) and depend on the layer's name and shape alone.

    The paper's code applies B after pooling and dropout, this after the neuron.
    """

    error: Literal["error", "sign", "target"] = "error"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.error not in ("error", "sign", "target"):
            raise ValueError(f'Expected error "error", "sign" or "target", got {self.error!r}.')

    def start(self, target: Target, weight: float) -> SignalPath:
        return _FeedbackPath(self, target, weight)


SIGNALS: dict[str, Signal] = {
    "backprop": Backprop(),
    "dfa": DirectFeedback(),
    "drtp": DirectFeedback("target"),
    "sdfa": DirectFeedback("sign"),
}


def signal_named(signal: Signal | str) -> Signal:
    return choose("signal", signal, SIGNALS) if isinstance(signal, str) else signal


@lru_cache(maxsize=64)
def feedback_matrix(seed: int, layer: str, outputs: int, units: int) -> Tensor:
    """B `[outputs, units]`, Kaiming uniform, always the same for the same arguments."""
    generator = torch.Generator().manual_seed(seed * 2**32 + crc32(layer.encode()))
    bound = math.sqrt(6 / units)
    return torch.rand(outputs, units, generator=generator, dtype=torch.float64) * 2 * bound - bound


@dataclass
class _Anchor:
    layer: str
    spikes: Tensor
    offset: int  # first step within the chunk
    steps: int


@dataclass
class _FeedbackPath(SignalPath):
    signal: DirectFeedback
    target: Target
    weight: float
    anchors: list[_Anchor] = field(default_factory=list)
    scale: Tensor | None = None  # of the loss, as a loss scaler may have chosen it; known in the backward pass

    def hidden(self, sweep: Sweep, neuron: Neuron, spikes: Tensor) -> Tensor:
        if not neuron.spiking or not spikes.requires_grad:
            return spikes
        self.anchors.append(_Anchor(sweep.name(neuron), spikes, sweep.offset, sweep.chunk))
        return spikes.detach()

    def join(self, outputs: Tensor, first: int) -> Tensor:
        if not outputs.requires_grad:
            if self.anchors:
                raise ValueError(
                    "Direct feedback needs a readout that learns after the last spiking neuron: its error is what "
                    "the feedback brings to the layers below."
                )
            return outputs
        anchors, self.anchors = self.anchors, []
        joined: Tensor = _Join.apply(outputs, self, anchors, first, *(anchor.spikes for anchor in anchors))
        return joined

    def root(self, total: Tensor) -> Tensor:
        rooted: Tensor = _Root.apply(total, self)
        return rooted

    def errors(self, grad: Tensor, first: int) -> Tensor:
        """What the matrices multiply, `[c, N, C]`, given d total / d outputs."""
        if self.signal.error == "error":
            return grad.flatten(2)
        assert self.scale is not None
        share = self.scale * (self.weight / grad.shape[1])  # a loss scaler's 2^16 is more than float16 holds
        if self.signal.error == "sign":
            return (grad.flatten(2).sign().to(share.dtype) * share).to(grad.dtype)
        if isinstance(self.target, PerStep):
            target = self.target.targets[first : first + len(grad)]
        else:
            target = self.target.expand(len(grad), *self.target.shape)
        if target.is_floating_point() or target.dim() != 2:
            raise TypeError("Target projection (DRTP) needs integer class targets [N].")
        return (F.one_hot(target, grad.flatten(2).shape[2]).to(share) * share).to(grad.dtype)


class _Root(torch.autograd.Function):
    """The loss as it is; on the way back it notes by what the loss was scaled."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, path: _FeedbackPath) -> Tensor:  # type: ignore[override]
        ctx.path = path
        return total.view_as(total)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ctx.path.scale = grads[0]
        return grads[0], None


class _Join(torch.autograd.Function):
    """The outputs as they are; on the way back each anchor gets its share of the output's error."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, outputs: Tensor, path: _FeedbackPath, anchors: list[_Anchor], first: int, *spikes: Tensor
    ) -> Tensor:
        ctx.path, ctx.first = path, first
        ctx.places = [(a.layer, a.offset, a.steps, a.spikes.shape) for a in anchors]
        return outputs.view_as(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (grad,) = grads
        errors = ctx.path.errors(grad, ctx.first)
        below = []
        for layer, offset, steps, shape in ctx.places:
            matrix = feedback_matrix(ctx.path.signal.seed, layer, errors.shape[2], shape[1:].numel()).to(errors)
            below.append((errors[offset : offset + steps].flatten(0, 1) @ matrix).view(shape))
        return grad, None, None, None, *below
