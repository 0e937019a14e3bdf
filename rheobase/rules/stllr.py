"""Spike-timing-dependent temporal local learning."""

from dataclasses import dataclass

from rheobase.chunks import Chunk
from rheobase.rules.eligibility import Traces
from rheobase.rules.online import NamedOnline, Online, Scale, checked_scale
from rheobase.rules.schedules import EveryStep, LastSteps
from rheobase.rules.signals import Signal, signal_named


@dataclass(frozen=True)
class STLLR(NamedOnline):
    """S-TLLR: a three-factor rule with a causal and a non-causal (STDP-like) term.

        grad W = sum_t causal (delta slope)^T trace_x[t] + acausal (delta trace_slope[t-1])^T x[t]
        trace_x[t] = decay_pre trace_x[t-1] + x[t],  trace_slope[t] = decay_post trace_slope[t-1] + slope[t]

    decay_pre, decay_post, causal, acausal: the paper's lambda_pre, lambda_post, alpha_pre, alpha_post; the defaults
        are those for DVS-Gesture. acausal is as in the authors' code: the paper's formula has one decay more, so its
        alpha_post is our acausal / decay_post.
    last: learn at the last K steps only; None for all. Traces run from the first step.
    signal: "backprop", "dfa" (direct feedback), "sdfa" (its sign), "drtp" (target projection), or an object.
    decay_readout: trace decay in front of a leaky integrator readout, None for its own; a readout without membrane
        has no trace.
    scale: "mean" is the gradient of the mean loss over the learning steps; "paper" sums their losses.
    chunk: steps computed together, the same gradient; "auto" or a memory size as in `BPTT`.

    Biases, norms and a readout get the gradient of the step alone. Standardised weights stand in for W. A hidden
    synapse without a neuron after it is refused, and so are neurons with parameters that learn.

    Memory: one step, one trace per synapse and, unless acausal = 0, one per neuron. Time: one weight gradient more.
    Equals: OTTT(input_trace=True, readout_trace=False) at acausal = 0 and the membrane's decay; SLTT at all 0.
    Apolinario and Roy, TMLR 2025, arXiv 2306.15220.
    """

    decay_pre: float = 0.75
    decay_post: float = 0.2
    causal: float = 1.0
    acausal: float = -1.0
    last: int | None = None
    signal: Signal | str = "backprop"
    decay_readout: float | None = None
    scale: Scale = "mean"
    chunk: Chunk = 1

    def __post_init__(self) -> None:
        checked_scale(self.scale)
        self.online  # noqa: B018 (checks the rest)

    @property
    def online(self) -> Online:
        traces = Traces(
            decay_pre=self.decay_pre,
            decay_post=self.decay_post,
            causal=self.causal,
            acausal=self.acausal,
            decay_readout=self.decay_readout,
        )
        return Online(
            traces,
            signal_named(self.signal),
            EveryStep() if self.last is None else LastSteps(self.last),
            average="learning" if self.scale == "mean" else "nothing",
            chunk=self.chunk,
        )
