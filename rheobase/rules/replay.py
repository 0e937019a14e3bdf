"""Exact gradients with little memory: keep the states between segments, compute the rest again."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rheobase.aside import RandomStates, buffers_kept
from rheobase.casts import outside_autocast
from rheobase.chunks import Pace
from rheobase.engine import Sweep
from rheobase.neurons import State
from rheobase.rules.rule import Backward, Result, require_gradient, send_back
from rheobase.sequence import Feed, Outputs

States = dict[nn.Module, State]


def checkpointed(
    model: nn.Module,
    feed: Feed,
    segment: int,
    pace: Pace,
    objective: Callable[[Tensor], Tensor],
    backward: Backward,
) -> Result:
    """The exact gradient of `objective(outputs [T, N, ...])`, with activations of `segment` steps at a time.

    The last segment keeps its graph, so it is not computed again.
    """
    segments: list[tuple[Tensor, States, RandomStates]] = []
    outputs = Outputs(feed.steps)
    parts: list[Tensor] = []
    while (xs := feed.take(segment)) is not None:
        parts.append(xs)
    with Sweep(model, steps=feed.steps, learns=True, packs=True) as sweep:
        sweep.reuses_state = False

        def forward(xs: Tensor) -> Tensor:
            return torch.cat([sweep.forward(x, steady=feed.is_steady) for x in pace.parts(xs, sweep)])

        with torch.no_grad():
            for xs in parts[:-1]:
                segments.append((xs, dict(sweep.states), RandomStates(xs.device)))
                outputs.add(forward(xs))
        later = _entering(sweep)
        output = forward(parts[-1])
        outputs.add(output)
        leaf = outputs.stacked().requires_grad_()
        total = objective(leaf)
        send_back(total, backward)
        assert leaf.grad is not None
        grads = list(leaf.grad.split(segment))
        require_gradient(output)
        with outside_autocast(output):
            output.backward(grads.pop())
        for xs, before, random in reversed(segments):
            sweep.states = before
            entering = _entering(sweep)
            with buffers_kept(model), random.again():
                output = forward(xs)
            roots, root_grads = [output], [grads.pop()]
            for module, state in later.items():
                for leaving, entered in zip(sweep.states[module], state, strict=True):
                    if entered.grad is not None and leaving.requires_grad:
                        roots.append(leaving)
                        root_grads.append(entered.grad)
            with outside_autocast(output):
                torch.autograd.backward(roots, root_grads)
            later = entering
        sweep.settle()
    return Result(total.detach(), leaf.detach())


def _entering(sweep: Sweep) -> States:
    """The states before a segment, made leaves, whose gradients go on to the segment before."""
    sweep.states = {m: tuple(part.detach().requires_grad_() for part in state) for m, state in sweep.states.items()}
    return dict(sweep.states)
