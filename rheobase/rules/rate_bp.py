"""Rate-based backpropagation."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rheobase.casts import at_least_float32
from rheobase.chunks import Chunk, checked_chunk, few_steps
from rheobase.engine import Sweep
from rheobase.rules.bptt import BPTT
from rheobase.rules.online import Scale, checked_scale
from rheobase.rules.rate_pass import RatePass, SpikePass
from rheobase.rules.rule import Backward, Loss, Result, require_gradient, require_learning, send_back
from rheobase.sequence import Feed, Outputs, PerStep, Target


@dataclass(frozen=True)
class RateBP:
    """Rate-based backpropagation: T steps without autograd, then one backward pass through the rates.

        rate = mean_t spikes[t],  gain = mean_t d spikes[t] / d current (the same shift of the current at all steps)
        delta_current = gain * delta_rate,  grad W = delta_current^T rate_in,  loss of the mean output

    It is BPTT with the mean of a product over time replaced by the product of the means, at every neuron and every
    weight. The gain comes from the neuron's own dynamics, so any neuron and any reset will do, and parameters of
    neurons learn. BatchNorm uses the statistics of the spike pass, per step or over the sequence. A recurrent layer's
    own past counts as a constant input. Layers that do not commute with the mean over time are refused; MaxPool2d
    is handled, with the mean of its Jacobian.

    scale: "mean" is the gradient of the loss of the mean output; "paper" divides it by T, as the authors' code.
    chunk: steps computed together; None for a few of small models (8 at most, within 1 MiB a layer), and for all where
        sequence norms need them. "auto" or a memory size as in `BPTT`.

    Memory: one step. Time: T forward, one backward.
    Equals: BPTT(objective="mean_output") at T = 1.
    Differs from the authors' single-step mode, which normalises the rate pass with the last step's statistics and
    feeds it the last step's input: here both are means over all steps.
    Yu et al., NeurIPS 2024, arXiv 2410.11488.
    """

    scale: Scale = "mean"
    chunk: Chunk = None

    def __post_init__(self) -> None:
        checked_scale(self.scale)
        checked_chunk(self.chunk)

    @property
    def exact(self) -> BPTT:
        return BPTT("mean_output")

    def backward(
        self,
        model: nn.Module,
        xs: Tensor | Iterable[Tensor],
        target: Target,
        *,
        loss: Loss,
        after_step: Callable[[], None] | None = None,
        backward: Backward = Tensor.backward,
    ) -> Result:
        require_learning(model)
        if isinstance(target, PerStep):
            raise ValueError("RateBP learns from the mean output of the sequence: it cannot have PerStep targets.")
        feed = Feed(xs, target)
        spiking = SpikePass()
        outputs, total_input = Outputs(feed.steps), None
        with torch.no_grad(), Sweep(model, steps=feed.steps, treatment=spiking) as sweep:
            pace = few_steps(model, self.chunk)
            for part in pace.chunks(feed, sweep):
                if pace.steps(sweep) is None:
                    sweep.steps = len(part)
                outputs.add(sweep.forward(part, steady=feed.is_steady))
                if feed.is_steady:
                    mean_input = part[0]
                else:
                    summed = at_least_float32(part).sum(0)
                    total_input = summed if total_input is None else total_input.add_(summed)
            masks = sweep.masks()
        spikes = outputs.stacked()
        if total_input is not None:
            mean_input = total_input.div_(len(spikes)).to(part.dtype)
        rates = RatePass(spiking, len(spikes), changes=not feed.is_steady)
        with Sweep(model, steps=1, treatment=rates, learns=True) as sweep, rates.guard:
            sweep.states.update(masks)
            (output,) = rates.guard.whole(sweep.forward(rates.guard.marked(mean_input).unsqueeze(0)))
            require_gradient(output)
            rates.guard.trusts = True
            total = loss(output, target)
            if total.dim():
                raise ValueError(f"Expected the loss to return a scalar, got shape {list(total.shape)}.")
            total = at_least_float32(total)
            send_back(total / len(spikes) if self.scale == "paper" else total, backward)
            sweep.settle()
        if after_step is not None:
            after_step()
        return Result(total.detach(), spikes)
