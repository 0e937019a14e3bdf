"""Layers that plain PyTorch lacks: standardised weights, recurrence, and layers that know about time."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rheobase.explained import explained
from rheobase.neurons import Neuron


def standardised(weight: Tensor, gain: Tensor) -> Tensor:
    """Scaled weight standardisation, one output unit at a time.

        gain_o (W_o - mean(W_o)) / sqrt(n var(W_o) + 1e-4),  n inputs a unit, var unbiased

    weight: [O, ...]; gain: [O]. Brock et al., ICLR 2021; as in the code of OTTT (Xiao et al., NeurIPS 2022).
    """
    rows = weight.flatten(1)
    variance, mean = torch.var_mean(rows, dim=1, keepdim=True)
    return ((rows - mean) * (gain[:, None] * torch.rsqrt(rows.shape[1] * variance + 1e-4))).view_as(weight)


def heaviside_gain(threshold: float = 1.0) -> float:
    """The factor that gives the spikes of standard normal potentials unit variance: 2.737 at threshold 1."""
    probability = 0.5 * math.erfc(threshold / math.sqrt(2))
    return 1 / math.sqrt(probability * (1 - probability))


class WSConv2d(nn.Conv2d):
    """A convolution with scaled weight standardisation and a learned gain per output channel, 1 at the start."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.gain = nn.Parameter(torch.ones(out_channels))

    def effective_weight(self) -> Tensor:
        return standardised(self.weight, self.gain)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.effective_weight(), self.bias)


class WSLinear(nn.Linear):
    """A linear layer with scaled weight standardisation and a learned gain per output, 1 at the start."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.gain = nn.Parameter(torch.ones(out_features))

    def effective_weight(self) -> Tensor:
        return standardised(self.weight, self.gain)

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.effective_weight(), self.bias)


class Scale(nn.Module):
    """Multiplies by a constant, for instance `heaviside_gain(threshold)` after a neuron."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = float(factor)

    def forward(self, input: Tensor) -> Tensor:
        return self.factor * input

    def extra_repr(self) -> str:
        return f"{self.factor:g}"


class TimeLayer(nn.Module):
    """A layer whose steps hang together; the engine runs it, and outside of it has no meaning."""

    @abstractmethod
    def forward(self, input: Tensor) -> Tensor:
        raise explained(
            RuntimeError(
                f"{type(self).__name__} lives in time and cannot be called directly: use rheobase.run(model, xs), "
                "rheobase.step(model, x, state) or rule.backward(...)."
            ),
            "state",
        )


class Loop(TimeLayer):
    """What hears its own output of the step before: output[t] = body(synapse(x[t]) + recurrent(output[t-1])).

    output[-1] = 0. synapse, recurrent: layers with outputs of one shape.
    """

    def __init__(self, synapse: nn.Module, recurrent: nn.Module) -> None:
        super().__init__()
        self.synapse, self.recurrent = synapse, recurrent

    @property
    @abstractmethod
    def body(self) -> nn.Module:
        """What the sum of both currents goes through."""

    @property
    @abstractmethod
    def heard(self) -> Neuron:
        """The neurons of the body whose spikes come back."""

    @abstractmethod
    def silence(self, current: Tensor) -> Tensor:
        """The output before the first step, zeros, for currents `[N, ...]` of one step."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)


class Recurrent(Loop):
    """Neurons that also hear their own spikes of the step before.

    current[t] = synapse(x[t]) + recurrent(spikes[t-1]), spikes[-1] = 0

    synapse, recurrent: linear or convolutional layers with outputs of one shape; neuron: any neuron.
    """

    def __init__(self, synapse: nn.Module, recurrent: nn.Module, neuron: Neuron) -> None:
        super().__init__(synapse, recurrent)
        if not isinstance(neuron, Neuron):
            raise TypeError(f"Recurrent expects a neuron such as rheobase.LIF() last, got {type(neuron).__name__}.")
        self.neuron = neuron

    @property
    def body(self) -> nn.Module:
        return self.neuron

    @property
    def heard(self) -> Neuron:
        return self.neuron

    def silence(self, current: Tensor) -> Tensor:
        return torch.zeros_like(current, requires_grad=False)


class Feedback(Loop):
    """Layers whose last spikes come back to the first current one step later.

    spikes[t] = layers(synapse(x[t]) + feedback(spikes[t-1])), spikes[-1] = 0

    layers: from the first neuron to the last; what follows the last neuron may only scale or pool.
    shape: of the layers' output for one sample, `(C, H, W)`.

    The form of OTTT's VGG-F (Xiao et al., NeurIPS 2022), whose code leaves the feedback out at the first step; here it
    hears zeros then, which differs by its bias.
    """

    def __init__(self, synapse: nn.Module, feedback: nn.Module, layers: nn.Module, shape: Sequence[int]) -> None:
        super().__init__(synapse, feedback)
        if not any(isinstance(module, Neuron) for module in layers.modules()):
            raise TypeError(f"Feedback expects layers with neurons such as rheobase.LIF(), got {layers}.")
        self.layers, self.shape = layers, tuple(shape)

    @property
    def body(self) -> nn.Module:
        return self.layers

    @property
    def heard(self) -> Neuron:
        return [module for module in self.layers.modules() if isinstance(module, Neuron)][-1]

    def silence(self, current: Tensor) -> Tensor:
        return current.new_zeros(len(current), *self.shape)

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


class TimeSharedDropout(TimeLayer):
    """Dropout with one mask per sample for the whole sequence; what is kept is scaled by 1 / (1 - p)."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"Expected a dropout probability in [0, 1), got {p}.")
        self.p = p

    def mask(self, like: Tensor) -> Tensor:
        """A fresh mask of 0 and 1 / (1 - p), shaped like one step `[N, ...]`."""
        mask = torch.empty(like.shape, dtype=like.dtype, device=like.device)  # whatever the memory order of `like`
        return mask.bernoulli_(1 - self.p).div_(1 - self.p)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class SequenceBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation with the statistics of the whole sequence, T * N samples a channel (tdBN).

    The running statistics move once per sequence. Needs all steps at once: BPTT and RateBP; online rules refuse it.
    """


class SequenceBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with the statistics of the whole sequence, T * N * H * W values a channel (tdBN).

    The running statistics move once per sequence. Needs all steps at once: BPTT and RateBP; online rules refuse it.
    """


SEQUENCE_NORMS = (SequenceBatchNorm1d, SequenceBatchNorm2d)
