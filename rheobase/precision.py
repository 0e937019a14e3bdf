"""Half precision for training: autocast, and a loss scaler where float16 needs one."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rheobase.explained import explained

_DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
_HOPELESS = 2.0**-20  # a scale below it only stands for gradients that are not finite at any scale


class Precision:
    """The precision that a training loop computes in; parameters, their gradients, states and traces stay in float32.

        with precision.autocast():
            rule.backward(model, xs, target, loss=loss, backward=precision.backward)
        precision.unscale(optimizer)    # only to look at the gradients first, or to clip them
        precision.step(optimizer)

    name: "float16" scales the loss, so that small gradients are not lost; "bfloat16" has no need to; "float32" changes
        nothing. With one optimiser; gradients gathered over several batches are unscaled and stepped once.

    Raises ValueError for a precision that the device does not have.
    """

    def __init__(self, name: Literal["float32", "bfloat16", "float16"], device: torch.device) -> None:
        if name not in _DTYPES:
            raise ValueError(f"Expected the precision {', '.join(map(repr, _DTYPES))}, got {name!r}.")
        self.name, self.device, self._dtype = name, device, _DTYPES[name]
        if self._dtype is not None:
            self._require_support()
        self._scaler = torch.amp.GradScaler(device.type) if name == "float16" else None
        self._is_unscaled = False

    def autocast(self) -> AbstractContextManager[Any]:
        """What training and evaluation run in; the optimiser steps outside."""
        return nullcontext() if self._dtype is None else torch.autocast(self.device.type, self._dtype)

    def backward(self, total: Tensor) -> None:
        """For `rule.backward(..., backward=precision.backward)`."""
        (total if self._scaler is None else self._scaler.scale(total)).backward()

    def scale(self) -> float:
        """What the gradients are multiplied by until `unscale` or `step`."""
        return 1.0 if self._scaler is None else self._scaler.get_scale()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divides the gradients by the scale, if that was not done since the last `step`."""
        if self._scaler is not None and not self._is_unscaled and _has_gradients(optimizer):
            self._scaler.unscale_(optimizer)
            self._is_unscaled = True

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Steps, unless a scaled gradient overflowed; then the scale is lowered and the answer is False.

        May be called after each learning step as well (`after_step`). Raises RuntimeError when no scale is low enough.
        """
        self.unscale(optimizer)
        if self._scaler is None or not self._is_unscaled:
            optimizer.step()
            return True
        before, self._is_unscaled = self.scale(), False
        self._scaler.step(optimizer)
        self._scaler.update()
        if self.scale() < _HOPELESS:
            raise explained(
                RuntimeError(
                    f"The gradients are not finite in float16 at a loss scale of {before:g}, nor at any above it, so "
                    'no step was made: look for NaN in inputs or weights, or train in "bfloat16" or "float32".'
                ),
                "numbers",
            )
        return self.scale() >= before

    def state(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {"name": self.name, "scaler": None if self._scaler is None else self._scaler.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` gave; raises ValueError for another precision's."""
        if state.get("name") != self.name:
            raise ValueError(f"Expected the state of precision {self.name!r}, got that of {state.get('name')!r}.")
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])

    def _require_support(self) -> None:
        """Tries a convolution and a matrix product, there and back."""
        x = torch.ones(1, 1, 3, 3, device=self.device, requires_grad=True)
        try:
            with self.autocast():
                y = F.linear(F.conv2d(x, x).flatten(1), x.flatten(2)[0, :, :1])
            y.backward(torch.ones_like(y))
        except (RuntimeError, UserWarning) as error:
            raise ValueError(self._refusal()) from error
        if y.dtype != self._dtype:
            raise ValueError(self._refusal())

    def _refusal(self) -> str:
        return f'Device "{self.device.type}" cannot train in {self.name} here: use "float32", or another device.'


def _has_gradients(optimizer: torch.optim.Optimizer) -> bool:
    return any(p.grad is not None for group in optimizer.param_groups for p in group["params"])
