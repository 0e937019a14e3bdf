"""Running a model aside: no trace is left in its forwards, its buffers, nor in the random generators."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def override(model: nn.Module, forward_of: Callable[[nn.Module], Callable[..., Any] | None]) -> Iterator[None]:
    """Inside, each module m of the model computes `forward_of(m)` in place of m.forward, unless that is None.

    Afterwards the modules are as they were, also when the model raises; overrides may be nested.
    """
    replaced: list[tuple[nn.Module, Any]] = []
    try:
        for module in model.modules():
            forward = forward_of(module)
            if forward is not None:
                replaced.append((module, vars(module).get("forward")))
                module.forward = forward  # type: ignore[method-assign]
        yield
    finally:
        for module, before in replaced:
            if before is None:
                vars(module).pop("forward", None)
            else:
                module.forward = before


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """The model works on copies of its buffers (running statistics), which are dropped afterwards."""
    kept = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        for module, name, buffer in kept:
            module._buffers[name] = buffer.clone()
        yield
    finally:
        for module, name, buffer in kept:
            module._buffers[name] = buffer


class RandomStates:
    """The states of the random generators at one moment, of the CPU and of the device in use."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = [device] if device.type == "cuda" else []
        self._cpu_state = torch.get_rng_state()
        self._cuda_states = [torch.cuda.get_rng_state(d) for d in self._cuda]

    @contextmanager
    def again(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=self._cuda):
            torch.set_rng_state(self._cpu_state)
            for device, state in zip(self._cuda, self._cuda_states, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
