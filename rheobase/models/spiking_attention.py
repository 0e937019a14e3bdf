"""Self-attention between spikes, without softmax."""

from collections.abc import Callable

from torch import Tensor, nn

from rheobase.neurons import Neuron


class NormedConv(nn.Sequential):
    """Convolution, norm, neuron: `[N, inputs, H, W]` to spikes `[N, outputs, H, W]`."""

    def __init__(self, conv: nn.Conv2d, norm: Callable[[int], nn.Module], neuron: Callable[[], Neuron]) -> None:
        super().__init__(conv, norm(conv.out_channels), neuron())  # fmt: skip


class SpikingSelfAttention(nn.Module):
    """Each place asks all places of the image; queries, keys and values are spikes.

        out = neuron(norm(W attention_neuron(scale q k^T v)))

    The product is taken as q (k^T v): the sums of zeros and ones are the same, and it needs [d, d] numbers a head
    where q k^T has [L, L] (L places, d channels a head).

    Both factors change over time, so the product does not commute with a mean over it: RateBP refuses it.
    Zhou et al., ICLR 2023, eq. 7-8.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        scale: float,
        norm: Callable[[int], nn.Module],
        neuron: Callable[[], Neuron],
        attention_neuron: Callable[[], Neuron],
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"Expected channels divisible by heads, got {channels} channels and {heads} heads.")
        self.heads, self.scale = heads, scale
        self.query, self.key, self.value, self.projection = (
            NormedConv(nn.Conv2d(channels, channels, 1), norm, neuron) for _ in range(4)
        )
        self.neuron = attention_neuron()

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (self._by_head(part(x)) for part in (self.query, self.key, self.value))
        attended = query @ (key.transpose(-2, -1) @ value) * self.scale
        out: Tensor = self.projection(self.neuron(attended.transpose(-2, -1).reshape(x.shape)))
        return out

    def _by_head(self, spikes: Tensor) -> Tensor:
        """`[N, C, H, W]` as `[N, heads, H W, C / heads]`."""
        return spikes.flatten(2).unflatten(1, (self.heads, -1)).transpose(-2, -1)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, scale={self.scale:g}"
