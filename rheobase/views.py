"""Views of images in channels-last order, for models that know nothing of it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rheobase.explained import explained

_PLAIN = ("batchnorm", "container", "conv", "dropout", "flatten", "linear", "pooling")
_ANY_ORDER = ("rheobase.", *(f"torch.nn.modules.{name}" for name in _PLAIN))
_VIEWS = frozenset([Tensor.view, Tensor.view_as])
_STRIDED = frozenset([Tensor.as_strided, torch.as_strided])
_MAY_COPY = frozenset([
    Tensor.reshape, torch.reshape, Tensor.reshape_as, Tensor.flatten, torch.flatten, Tensor.ravel, torch.ravel,
    Tensor.contiguous,
])  # fmt: skip
_ORDERED = _VIEWS | _STRIDED | _MAY_COPY


def may_view(model: nn.Module) -> bool:
    """Whether code that may take views of images runs: a hook, or a forward that is not known to do without.

    Known are those of the library and of PyTorch's plain layers.
    """
    return any(
        not type(m).__module__.startswith(_ANY_ORDER)
        or "forward" in vars(m)
        or m._forward_hooks
        or m._forward_pre_hooks
        for m in model.modules()
    )


class ViewingAnyLayout(TorchFunctionMode):
    """Inside, `x.view(...)` works on channels-last tensors as on others: a model need not know of the layout.

    What is a view of other tensors is a copy of these, so to change it in place is an error. Each call of PyTorch takes
    some 10 us more, a third of the time of a step of a small net.
    """

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
