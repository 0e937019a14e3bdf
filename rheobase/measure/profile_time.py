"""How long each layer of a model takes in one training step, forward and backward."""

import bisect
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import nn

from rheobase.allocations import run_under
from rheobase.measure.operations import layers_of

_MARK = "rheobase layer: "
_BACKWARD = "autograd::engine::evaluate_function: "


def seconds_of_layers(model: nn.Module, call: Callable[[], object]) -> dict[str, tuple[float, float]]:
    """By the name of each layer: seconds forward and backward while `call` learns on the CPU.

    A backward pass belongs to the layer in whose forward its node was made, by autograd's sequence numbers. What lies
    between layers (sums, losses) belongs to none. The profiler slows operations down, by some microseconds each.
    """
    marks = _Marks()
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    with ExitStack() as hooks:
        for name, module in layers_of(model).items():
            hooks.callback(module.register_forward_pre_hook(partial(marks.begin, name)).remove)
            hooks.callback(module.register_forward_hook(marks.end).remove)
        run_under(profiler, call)
    return _by_layer(profiler)


class _Marks:
    def __init__(self) -> None:
        self._open: list[Any] = []

    def begin(self, name: str, module: nn.Module, inputs: Any) -> None:
        self._open.append(torch.profiler.record_function(_MARK + name))
        self._open[-1].__enter__()

    def end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._open.pop().__exit__(None, None, None)


def _by_layer(profiler: torch.profiler.profile) -> dict[str, tuple[float, float]]:
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    events: list[Any] = sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    layers = [event for event in events if event.name().startswith(_MARK)]
    starts, forward, backward = (
        [e.start_ns() for e in layers],
        defaultdict[str, float](float),
        defaultdict[str, float](float),
    )
    owners: dict[int, str | None] = {}  # of a node: the operation seen last with its number made it
    for event in layers:
        forward[event.name().removeprefix(_MARK)] += event.duration_ns() / 1e9
    for event in events:
        number = event.sequence_nr()
        if event.name().startswith(_BACKWARD):
            owner = owners.get(number)
            if owner is not None:
                backward[owner] += event.duration_ns() / 1e9
        elif number >= 0:
            place = bisect.bisect_right(starts, event.start_ns()) - 1
            inside = place >= 0 and event.start_ns() < starts[place] + layers[place].duration_ns()
            owners[number] = layers[place].name().removeprefix(_MARK) if inside else None
    return {name: (forward[name], backward[name]) for name in forward}
