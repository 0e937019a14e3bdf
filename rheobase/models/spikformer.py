"""A spiking transformer for images."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from rheobase.models.convnet import require_image
from rheobase.models.spiking_attention import NormedConv, SpikingSelfAttention
from rheobase.models.width import scaled
from rheobase.neurons import LIF, Neuron


def spikformer_neuron() -> LIF:
    """SpikingJelly's default neuron, which the paper uses."""
    return LIF(tau=2.0, decay_input=True, reset="zero", detach_reset=True)


def spikformer_attention_neuron() -> LIF:
    """The same with half the threshold."""
    return LIF(tau=2.0, threshold=0.5, decay_input=True, reset="zero", detach_reset=True)


class Patches(nn.Module):
    """Spiking patch splitting: four convolutions, pools behind the last ones, plus a convolution for the position."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        pools: int,
        norm: Callable[[int], nn.Module],
        neuron: Callable[[], Neuron],
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, part in enumerate((8, 4, 2, 1)):
            outputs = channels // part
            layers.append(NormedConv(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), norm, neuron))
            if index >= 4 - pools:
                layers.append(nn.MaxPool2d(3, 2, 1))
            inputs = outputs
        self.split = nn.Sequential(*layers)
        self.position = NormedConv(nn.Conv2d(channels, channels, 3, padding=1, bias=False), norm, neuron)

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.split(x)
        return patches + self.position(patches)


class Block(nn.Module):
    """x + attention(x), then x + two layers at each place (x)."""

    def __init__(
        self,
        attention: SpikingSelfAttention,
        channels: int,
        hidden: int,
        norm: Callable[[int], nn.Module],
        neuron: Callable[[], Neuron],
    ) -> None:
        super().__init__()
        self.attention = attention
        self.mlp = nn.Sequential(
            NormedConv(nn.Conv2d(channels, hidden, 1), norm, neuron),
            NormedConv(nn.Conv2d(hidden, channels, 1), norm, neuron),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        out: Tensor = x + self.mlp(x)
        return out


def spikformer(
    shape: Sequence[int],
    classes: int,
    *,
    depth: int = 4,
    channels: int = 384,
    heads: int = 12,
    pools: int = 2,
    hidden_ratio: int = 4,
    scale: float = 0.125,
    neuron: Callable[[], Neuron] = spikformer_neuron,
    attention_neuron: Callable[[], Neuron] = spikformer_attention_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """Spiking patch splitting, `depth` blocks of spiking self-attention and two layers; global pool; linear readout.

    shape: (C, H, W) of one step. The defaults are the paper's net for CIFAR (Spikformer-4-384); on event frames of
    128 x 128 it has depth=2, channels=256, heads=16, pools=4, scale=0.25.
    channels: of the patches, a multiple of 8 and of `heads`. width: factor for them.
    pools: how many of the four splitting convolutions, the last ones, have a max pool 3x3 of stride 2 behind them.
    scale: of q k^T v. attention_neuron: what hears it; `neuron` is all others.
    norm: nn.BatchNorm2d per step, or rheobase.SequenceBatchNorm2d, the authors' (over all steps).

    Weights of 1x1 layers and the readout N(0, 0.02^2) and biases 0.
    RateBP refuses attention. Under the other rules the product is differentiated as it is, within each step.
    Zhou et al., ICLR 2023, arXiv 2209.15425.
    """
    require_image(shape, "spikformer")
    size = _checked(scaled(channels, width), depth, pools)
    layers: list[nn.Module] = [Patches(shape[0], size, pools, norm, neuron)]
    for _ in range(depth):
        attention = SpikingSelfAttention(size, heads, scale, norm, neuron, attention_neuron)
        layers.append(Block(attention, size, hidden_ratio * size, norm, neuron))
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size, classes))
    for module in net.modules():
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return net


def _checked(channels: int, depth: int, pools: int) -> int:
    """The channels, once the sizes are known to make sense."""
    if channels % 8:
        raise ValueError(f"Expected channels to be a multiple of 8, got {channels}.")
    if depth < 1:
        raise ValueError(f"Expected depth >= 1 blocks, got {depth}.")
    if not 0 <= pools <= 4:
        raise ValueError(f"Expected 0 to 4 pools behind the four splitting convolutions, got {pools}.")
    return channels
