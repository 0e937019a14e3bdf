"""Autocast over time: a weight is cast once per sequence, and what its uses send back is added up in float32."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def at_least_float32(x: Tensor) -> Tensor:
    """x, in float32 if it has half precision: what is carried or summed over time must not be rounded at each step."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def widened(x: Tensor) -> Tensor:
    """The same; `half_of` knows what it was made of."""
    wide = at_least_float32(x)
    if wide is not x and not wide.is_inference():
        wide._rheobase_half = x.detach(), wide._version  # type: ignore[attr-defined]
    return wide


def half_of(wide: Tensor) -> Tensor | None:
    """What `widened` made the tensor of, if it did and the tensor was not changed in place since."""
    half, version = getattr(wide, "_rheobase_half", (None, 0))
    return half if half is not None and version == wide._version else None


@contextmanager
def uncached() -> Iterator[None]:
    """Inside, autocast has no memory: it would give old weights after an update within the sequence, and sum the
    gradients of all steps in half precision, where 256 + 1 = 256."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


def outside_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """For backward passes: their precision is that of the forward pass, and products in float32 stay so."""
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


class Casts:
    """What one sequence's synapses multiply by under autocast."""

    def __init__(self) -> None:
        self._made: dict[Tensor, Tensor] = {}

    def of(self, parameter: Tensor) -> Tensor:
        """The parameter as autocast would give it to a synapse; itself outside of autocast."""
        device = parameter.device.type
        if not torch.is_autocast_enabled(device) or parameter.dtype == torch.float64:
            return parameter
        dtype = torch.get_autocast_dtype(device)
        if parameter.dtype == dtype:
            return parameter
        cast = self._made.get(parameter)
        if cast is None or cast.dtype != dtype:
            cast = self._made[parameter] = parameter.detach().to(dtype)
        used: Tensor = _Used.apply(parameter, [cast])
        return used

    def inside(self, synapse: nn.Module, compute: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """`compute(x)`, to which the synapse's own weight and bias look cast."""

        def computed(x: Tensor) -> Tensor:
            own = {name: p for name in ("weight", "bias") if (p := synapse._parameters.get(name)) is not None}
            try:
                synapse._parameters.update({name: self.of(p) for name, p in own.items()})  # type: ignore[misc]
                return compute(x)
            finally:
                synapse._parameters.update(own)

        return computed

    def given(self, weight: Tensor, compute: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """`compute(weight, x)`, with the weight cast."""
        return lambda x: compute(self.of(weight), x)

    def forget(self) -> None:
        self._made.clear()


class _Used(torch.autograd.Function):
    """One use of a parameter's cast (in a list: no input of autograd's); the gradient leaves it in float32."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, cast: list[Tensor]) -> Tensor:  # type: ignore[override]
        ctx.dtype = parameter.dtype
        return cast[0].view_as(cast[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].to(ctx.dtype), None
