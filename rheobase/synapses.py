"""Synapses: linear layers seen as an operation with its three gradients."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rheobase.explained import explained
from rheobase.layers import WSConv2d, WSLinear

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
SYNAPSES = (nn.Linear, *CONVOLUTIONS)
_OWN_FORWARD = {kind: kind.forward for kind in (*SYNAPSES, WSLinear, WSConv2d)}


def effective_weight(synapse: nn.Module) -> Tensor:
    """The weight that the synapse multiplies by: standardised or parametrised where that is so."""
    if isinstance(synapse, (WSConv2d, WSLinear)):
        return synapse.effective_weight()
    weight = synapse.weight
    assert isinstance(weight, Tensor)
    return weight


def standardised_current(synapse: WSConv2d | WSLinear, weight: Tensor, x: Tensor) -> Tensor:
    """The synapse's output for x, given the effective weight it would compute."""
    if isinstance(synapse, WSConv2d):
        return synapse._conv_forward(x, weight, synapse.bias)
    return F.linear(x, weight, synapse.bias)


class Operation(ABC):
    """y = weight * x + bias, with the vector-Jacobian products that rules combine. x: [N, ...]."""

    @abstractmethod
    def prepare(self, x: Tensor) -> Tensor:
        """x as the operation takes it (padded)."""

    @abstractmethod
    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor: ...

    @abstractmethod
    def input_gradient(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor: ...

    @abstractmethod
    def weight_gradient(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor: ...

    @abstractmethod
    def both_gradients(self, grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Input gradient and weight gradient in one call; the former does not depend on `x`."""

    @abstractmethod
    def bias_gradient(self, grad: Tensor) -> Tensor: ...


class _Linear(Operation):
    def prepare(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)

    def input_gradient(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return grad @ weight

    def weight_gradient(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return grad.flatten(0, -2).T @ x.flatten(0, -2)

    def both_gradients(self, grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self.input_gradient(grad, x, weight), self.weight_gradient(grad, x, weight)

    def bias_gradient(self, grad: Tensor) -> Tensor:
        return grad.flatten(0, -2).sum(0)


@dataclass(frozen=True)
class _Convolution(Operation):
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int
    pad_before: tuple[int, ...]  # sides to pad before the operation, for `padding_mode` and `padding="same"`
    pad_mode: str

    def prepare(self, x: Tensor) -> Tensor:
        return F.pad(x, self.pad_before, self.pad_mode) if self.pad_before else x

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return torch.ops.aten.convolution(
            x,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
        )

    def _gradients(self, grad: Tensor, x: Tensor, weight: Tensor, mask: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
        return torch.ops.aten.convolution_backward(
            grad, x, weight, None, self.stride, self.padding, self.dilation, self.transposed, self.output_padding,
            self.groups, mask,
        )  # fmt: skip

    def input_gradient(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return self._gradients(grad, x, weight, [True, False, False])[0]

    def weight_gradient(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return self._gradients(grad, x, weight, [False, True, False])[1]

    def both_gradients(self, grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._gradients(grad, x, weight, [True, True, False])[:2]

    def bias_gradient(self, grad: Tensor) -> Tensor:
        return grad.sum([0, *range(2, grad.dim())])


def computes_as_its_kind(synapse: nn.Module) -> bool:
    """Whether the synapse's forward is that of its kind, with a weight and a bias."""
    return type(synapse).forward in _OWN_FORWARD.values()


def operation(synapse: nn.Module, name: str) -> Operation:
    """The operation of a synapse module.

    Raises TypeError for a subclass that computes something else than its kind does.
    """
    if not computes_as_its_kind(synapse):
        raise explained(
            TypeError(
                f"Expected layer {name!r} to compute what {type(synapse).__mro__[1].__name__} does, but "
                f"{type(synapse).__name__} has a forward of its own, so this rule cannot know its weight gradient. "
                "Use the plain layer (a parametrisation of its weight is fine), or BPTT or SLTT."
            ),
            "refused",
        )
    if isinstance(synapse, nn.Linear):
        return _Linear()
    assert isinstance(synapse, CONVOLUTIONS)
    padding = synapse.padding
    pads_before = synapse.padding_mode != "zeros" or isinstance(padding, str)
    return _Convolution(
        stride=tuple(synapse.stride),
        padding=(0,) * len(synapse.stride) if isinstance(padding, str) or pads_before else tuple(padding),
        dilation=tuple(synapse.dilation),
        transposed=synapse.transposed,
        output_padding=tuple(synapse.output_padding),
        groups=synapse.groups,
        pad_before=tuple(synapse._reversed_padding_repeated_twice) if pads_before else (),
        pad_mode="constant" if synapse.padding_mode == "zeros" else synapse.padding_mode,
    )  # fmt: skip
