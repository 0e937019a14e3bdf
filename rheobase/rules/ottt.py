"""Online training through time."""

from dataclasses import dataclass

from rheobase.chunks import Chunk
from rheobase.rules.eligibility import Traces
from rheobase.rules.online import NamedOnline, Online, Scale, checked_scale


@dataclass(frozen=True)
class OTTT(NamedOnline):
    """Online training through time: SLTT with the presynaptic trace in place of the spikes.

        trace[t] = decay trace[t-1] + x[t],  grad W = sum_t (delta[t] slope[t])^T trace[t]

    trace_decay: None for the decay of the membrane that the synapse feeds (before a readout without membrane: that of
        the neuron in front of it).
    input_trace, readout_trace, bias_trace: whether the synapses that hear the input, a readout without membrane,
        and the biases have a trace. The defaults are the paper's code; True, False, True are the exact forms, for
        which the last hidden layer under a memoryless readout gets BPTT's gradient (reset detached).
    scale: "mean" and "paper" are the same here, as every step learns and both divide by T.
    chunk: steps computed together, the same gradient; "auto" or a memory size as in `BPTT`.

    A leaky integrator's synapse always has a trace. Updates within the sequence (OTTT-O): an `after_step` that calls
    `optimizer.step()` and `optimizer.zero_grad()`. Neurons with parameters that learn are refused.

    Memory: one step and one trace per synapse. Time: as SLTT.
    Equals: SLTT at trace_decay=0, BPTT at T = 1.
    Xiao et al., NeurIPS 2022, arXiv 2210.04195.
    """

    trace_decay: float | None = None
    input_trace: bool = False
    readout_trace: bool = True
    bias_trace: bool = False
    scale: Scale = "mean"
    chunk: Chunk = 1

    def __post_init__(self) -> None:
        checked_scale(self.scale)
        self.online  # noqa: B018 (checks the rest)

    @property
    def online(self) -> Online:
        traces = Traces(
            decay_pre=self.trace_decay,
            decay_readout=self.trace_decay,
            on_input=self.input_trace,
            on_readout=self.readout_trace,
            on_bias=self.bias_trace,
        )
        return Online(traces, average="learning" if self.scale == "mean" else "all", chunk=self.chunk)
