"""Channels last: the memory order in which convolutions on CPUs are fastest."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rheobase.explained import explained

_PIXELS = 1024
_VIEWS = frozenset([Tensor.view, Tensor.view_as])
_STRIDED = frozenset([Tensor.as_strided, torch.as_strided])
_MAY_COPY = frozenset([
    Tensor.reshape, torch.reshape, Tensor.reshape_as, Tensor.flatten, torch.flatten, Tensor.ravel, torch.ravel,
    Tensor.contiguous,
])  # fmt: skip
_ORDERED = _VIEWS | _STRIDED | _MAY_COPY


def prefers_channels_last(model: nn.Module) -> bool:
    """Whether the model has a 2-d convolution, on a CPU, that is more than a product per pixel."""
    return any(
        isinstance(m, nn.Conv2d) and m.weight.device.type == "cpu" and max(m.kernel_size) > 1 for m in model.modules()
    )


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def pays(x: Tensor) -> bool:
    """Whether a convolution of x `[N, C, H, W]` has pixels enough to make up for bringing its weights in order."""
    return x.numel() // x.shape[1] >= _PIXELS


def convolved(synapse: nn.Conv2d, weight: Tensor, x: Tensor) -> Tensor:
    """The convolution of x, given the synapse's weight in the order that suits."""
    return synapse._conv_forward(x, weight, synapse.bias)


def viewing_any_layout(active: bool) -> AbstractContextManager[Any]:
    """Inside, `x.view(...)` works on channels-last tensors as on others: a model need not know of the layout.

    What is a view of other tensors is a copy of these, so to change it in place is an error.
    """
    return _Viewing() if active else nullcontext()


class _Viewing(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        copies = [(x, x._version) for x in (*args, *options.values()) if isinstance(x, Tensor) and _stands_alone(x)]
        y = _computed(func, args, options)
        if any(x._version != version for x, version in copies):
            raise explained(
                RuntimeError(
                    f"{func.__name__} changes in place what .view, .flatten or .reshape made of a tensor. Rheobase "
                    "keeps images in channels-last order, where that is a copy, so the tensor itself would stay as "
                    "it was. Use the form that returns a new tensor (x * y in place of x *= y), or change the tensor "
                    "before the view."
                ),
                "model",
            )
        return y


def _computed(func: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    x = args[0] if args else None
    if not isinstance(x, Tensor) or func not in _ORDERED or x.is_contiguous():
        return func(*args, **options)
    given = (*args, *options.values())
    if func in _VIEWS and not isinstance(given[-1], torch.dtype):
        y = x.reshape(given[1].shape) if func is Tensor.view_as else x.reshape(*given[1:])
        # A reshape gives the axis of a single sample any stride, which PyTorch's batch norm takes for another order.
        return _copy(x[...] if y.shape == x.shape else y, x)
    if func in _STRIDED and _is_channels_last(x):
        return _copy(func(_copy(x.contiguous(), x), *args[1:], **options), x)
    y = func(*args, **options)
    return _copy(y, x) if func in _MAY_COPY else y


def _is_channels_last(x: Tensor) -> bool:
    """Whether x is a channels-last tensor or part of one."""
    return x.dim() > 2 and x.stride(-3) == 1 and not x.is_contiguous()


def _copy(y: Tensor, x: Tensor) -> Tensor:
    """y, marked as made of x if it is a copy only because x is in channels-last order."""
    if _is_channels_last(x) and y.data_ptr() != x.data_ptr():
        y._rheobase_copied = ref(x if x._base is None else x._base)  # type: ignore[attr-defined]
    return y


def _stands_alone(x: Tensor) -> bool:
    """Whether x would be a view of a tensor that is still in use, but is a copy."""
    copied = getattr(x, "_rheobase_copied", None) or getattr(x._base, "_rheobase_copied", None)
    return copied is not None and copied() is not None and not x.is_inference()
