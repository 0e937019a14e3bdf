"""A guard for rate passes: what lies between neurons must commute with the mean over time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from rheobase.explained import explained
from rheobase.wiring import tensors, written

_AFFINE = frozenset(
    """
    add add_ __add__ __radd__ __iadd__ sub sub_ __sub__ __rsub__ __isub__ rsub neg __neg__ sum mean __get__ __getitem__
    flatten unflatten view view_as reshape permute transpose swapaxes movedim squeeze unsqueeze contiguous clone
    detach to type float double half bfloat16 cpu cuda expand expand_as repeat cat concat stack hstack vstack split
    chunk unbind narrow select index_select roll flip pad interpolate pixel_shuffle pixel_unshuffle
    avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d linear
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d requires_grad_ register_hook
    zeros_like ones_like full_like new_zeros new_ones new_full new_tensor cumsum tile repeat_interleave
    __setitem__ copy_
    """.split()  # noqa: SIM905
)
# What asks a tensor for its form, not for its values.
_FORMS = frozenset(["size", "dim", "numel", "stride", "element_size", "is_floating_point", "__len__"])
_FORM_ATTRIBUTES = frozenset(
    ["shape", "dtype", "device", "layout", "ndim", "requires_grad", "is_leaf", "grad_fn", "_base"]
)
_BILINEAR = frozenset("mul mul_ __mul__ __rmul__ __imul__ matmul __matmul__ __rmatmul__ mm bmm einsum".split())  # noqa: SIM905
_QUOTIENT = frozenset(["div", "div_", "__truediv__", "__itruediv__", "true_divide"])


class CommutesWithMean(TorchFunctionMode):
    """While active, refuses any function of time-dependent values that is not affine in them.

    trusts: lets everything pass, for code that is known to handle its own means.
    """

    def __init__(self, changes: bool) -> None:
        super().__init__()
        self.trusts = False
        self._input_changes = changes

    def marked(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """A view of x, marked as time-dependent if the input is (or, given `like`, if that is)."""
        trusted, self.trusts = self.trusts, True
        x = x[...]  # unlike `view_as`, keeps the strides of a single sample
        self.trusts = trusted
        x._rheobase_changes = self._input_changes if like is None else _changes(like)  # type: ignore[attr-defined]
        return x

    def changing(self, x: Tensor) -> Tensor:
        """x, marked as time-dependent: it comes from a neuron."""
        x._rheobase_changes = True  # type: ignore[attr-defined]
        return x

    def hollow(self, x: Tensor, whole: Callable[[], Tensor]) -> Tensor:
        """x, of which only the graph and the shape count; `whole()` is the same tensor with its value."""
        x._rheobase_whole = whole  # type: ignore[attr-defined]
        return x

    def whole(self, x: Tensor) -> Tensor:
        """x with its value: made once, as the model may go on to change it in place."""
        make = getattr(x, "_rheobase_whole", None)
        if make is not None and not hasattr(x, "_rheobase_made"):
            x._rheobase_made = make()  # type: ignore[attr-defined]
        return self.as_is(x)

    def as_is(self, x: Tensor) -> Tensor:
        """x, hollow unless somebody has asked for its value."""
        return getattr(x, "_rheobase_made", x)

    @contextmanager
    def trusted(self) -> Iterator[None]:
        before, self.trusts = self.trusts, True
        try:
            yield
        finally:
            self.trusts = before

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if not self.trusts and not _asks_for_form(func):
            args = tuple(self._wholes(args))
            kwargs = {name: next(self._wholes((value,))) for name, value in (kwargs or {}).items()}
        out = func(*args, **(kwargs or {}))
        if self.trusts:
            return out
        made = list(written(func, args, out))
        changing = sum(_changes(x) for x in tensors((args, (kwargs or {}).values())))
        if made and changing:
            self._check(func, args, kwargs or {}, changing)
            for x in made:
                self.changing(x)
        return out

    def _wholes(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            if isinstance(value, Tensor):
                yield self.whole(value)
            elif type(value) in (tuple, list):
                yield type(value)(self._wholes(value))
            else:
                yield value

    @staticmethod
    def _check(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], changing: int) -> None:
        name = getattr(func, "__name__", str(func))
        if name in _AFFINE or (name in _BILINEAR and changing == 1):
            return
        if name in _QUOTIENT and changing == 1 and isinstance(args[0], Tensor) and _changes(args[0]):
            return
        if "dropout" in name:
            if not kwargs.get("training", args[2] if len(args) > 2 else True):
                return
            advice = "Use rheobase.TimeSharedDropout, whose mask is the same at every step."
        elif "max_pool" in name:
            advice = "Use average pooling, or nn.MaxPool2d as a module, whose mean Jacobian is known."
        else:
            advice = "Put it before the first neuron of a constant input, or train with SLTT, OTTT or BPTT."
        raise explained(
            ValueError(
                f"RateBP replaces spikes by their mean over time, but {name!r} between neurons does not commute with "
                f"the mean. {advice}"
            ),
            "refused",
        )


def _asks_for_form(func: Callable[..., Any]) -> bool:
    name = getattr(func, "__name__", "")
    if name == "__get__":  # of a property, which knows its own name
        return getattr(getattr(func, "__self__", None), "__name__", "") in _FORM_ATTRIBUTES
    return name in _FORMS


def _changes(x: Tensor) -> bool:
    return getattr(x, "_rheobase_changes", False)
