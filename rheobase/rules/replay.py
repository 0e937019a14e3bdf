"""Exact gradients with little memory: keep the states between segments, compute the rest again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rheobase.engine import Sweep
from rheobase.neurons import State
from rheobase.rules.rule import Backward, Result
from rheobase.sequence import Feed

States = dict[nn.Module, State]


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


def checkpointed(
    model: nn.Module,
    feed: Feed,
    segment: int,
    chunk: int | None,
    objective: Callable[[Tensor], Tensor],
    backward: Backward,
) -> Result:
    """The exact gradient of `objective(outputs [T, N, ...])`, with activations of `segment` steps at a time."""
    segments: list[tuple[Tensor, States, RandomStates]] = []
    parts = []
    with Sweep(model, steps=feed.steps, learns=True) as sweep:
        sweep.reuses_state = False

        def forward(xs: Tensor) -> Tensor:
            return torch.cat([sweep.forward(x, steady=feed.is_steady) for x in xs.split(chunk or segment)])

        with torch.no_grad():
            for xs in feed.chunks(segment):
                segments.append((xs, dict(sweep.states), RandomStates(xs.device)))
                parts.append(forward(xs))
        outputs = torch.cat(parts).requires_grad_()
        total = objective(outputs)
        backward(total)
        assert outputs.grad is not None
        grads = list(outputs.grad.split(segment))
        later: States = {}
        for xs, before, random in reversed(segments):
            entering = {m: tuple(part.detach().requires_grad_() for part in state) for m, state in before.items()}
            sweep.states = dict(entering)
            with buffers_kept(model), random.again(), torch.enable_grad():
                output = forward(xs)
            roots, root_grads = [output], [grads.pop()]
            for module, state in later.items():
                for leaving, entered in zip(sweep.states[module], state, strict=True):
                    if entered.grad is not None and leaving.requires_grad:
                        roots.append(leaving)
                        root_grads.append(entered.grad)
            torch.autograd.backward(roots, root_grads)
            later = entering
        sweep.settle()
    return Result(total.detach(), outputs.detach())
