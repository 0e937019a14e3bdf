"""What a synapse is credited with, given what it hears and what it feeds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from rheobase.engine import Sweep
from rheobase.explained import explained
from rheobase.neurons import Neuron
from rheobase.wiring import Wiring

if TYPE_CHECKING:
    from rheobase.rules.eligibility import Traces


@dataclass(frozen=True)
class Role:
    """decay, bias_decay: of the traces of the input and of the bias, None for no trace; the factors of both terms."""

    decay: float | None = None
    bias_decay: float | None = None
    causal: float = 1.0
    acausal: float = 0.0

    @property
    def has_trace(self) -> bool:
        return self.decay is not None or self.bias_decay is not None


def role(traces: "Traces", sweep: Sweep, synapse: nn.Module, wiring: Wiring) -> Role:
    """The role of one synapse.

    Raises ValueError where the postsynaptic trace has no neuron, or the decay cannot be told.
    """
    receivers = wiring.receivers[synapse]
    integrates = any(isinstance(m, Neuron) and not m.spiking for m in receivers)
    fires = any(isinstance(m, Neuron) and m.spiking for m in receivers)
    after = wiring.neurons_after(synapse)
    if traces.acausal and after and not (fires or integrates):
        found = ", ".join(repr(sweep.name(m)) for m in receivers) or "nothing"
        raise explained(
            ValueError(
                "A rule with a postsynaptic trace (S-TLLR) cannot find the neuron of synapse "
                f"{sweep.name(synapse)!r}: its output reaches {found} before any neuron. Put a neuron after each "
                "hidden synapse, or use SLTT, OTTT or RateBP."
            ),
            "refused",
        )
    if not after:  # a part of the readout
        before = wiring.neurons_before(synapse)
        if not traces.on_readout or not before:
            return Role()
        return Role(_common_decay(sweep, synapse, before) if traces.decay_pre is None else traces.decay_pre)
    decay = traces.decay_readout if integrates and not fires else traces.decay_pre
    if decay is None:
        decay = _common_decay(sweep, synapse, after)
    hears_neurons = bool(wiring.neurons_before(synapse))
    return Role(
        decay if traces.on_input or hears_neurons else None,
        decay if traces.on_bias else None,
        traces.causal if fires else 1.0,
        traces.acausal if fires else 0.0,
    )


def _common_decay(sweep: Sweep, synapse: nn.Module, neurons: set[Neuron]) -> float:
    decays: set[float] = set()
    for neuron in neurons:
        decay = neuron.membrane_decay()
        decays |= set(decay.flatten().tolist()) if isinstance(decay, Tensor) else {decay}
    if len(decays) != 1:
        raise explained(
            ValueError(
                f"The neurons around synapse {sweep.name(synapse)!r} have {len(decays)} different decays "
                f"({', '.join(f'{d:g}' for d in sorted(decays))}): say which the trace takes (OTTT: trace_decay)."
            ),
            "refused",
        )
    return decays.pop()
