"""Which pre- and postsynaptic factors a weight's gradient is made of."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from rheobase.explained import explained
from rheobase.neurons import Neuron
from rheobase.rules.trace_pass import TraceTreatment
from rheobase.treatment import Treatment


class Eligibility(ABC):
    """Which factors a weight's gradient is made of; a frozen dataclass of its settings."""

    @abstractmethod
    def treatment(self, model: nn.Module) -> Treatment:
        """How the model's modules are run during one sequence: a new treatment each time.

        Raises ValueError for a model that the eligibility cannot honour.
        """


@dataclass(frozen=True)
class Instantaneous(Eligibility):
    """(x, slope): the step alone, as autograd gives it when the state is detached (SLTT)."""

    def treatment(self, model: nn.Module) -> Treatment:
        return Treatment()


@dataclass(frozen=True)
class Traces(Eligibility):
    """(trace of x, slope) and (x, trace of slope).

        grad W += causal (delta slope)^T trace_x[t] + acausal (delta trace_slope[t-1])^T x[t]
        trace_x[t] = decay_pre trace_x[t-1] + x[t],  trace_slope[t] = decay_post trace_slope[t-1] + slope[t]

    decay_pre: None for the membrane's decay of the neuron that the synapse feeds.
    decay_readout: the trace decay in front of a leaky integrator readout; None for the integrator's own.
    on_input: whether synapses that hear the input, not neurons, have a trace.
    on_readout: whether a readout without neuron has a trace (with the decay of the neuron before it).
    on_bias: whether the biases of neurons have one, of the constant 1.

    Parameters of other layers (norms, scales) get the gradient of the step alone.
    """

    decay_pre: float | None = None
    decay_post: float = 0.0
    causal: float = 1.0
    acausal: float = 0.0
    decay_readout: float | None = None
    on_input: bool = True
    on_readout: bool = False
    on_bias: bool = False

    def __post_init__(self) -> None:
        for name in ("decay_pre", "decay_post", "decay_readout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"Expected {name} in [0, 1], got {value}.")
        if self.acausal == 0 and self.causal == 0:
            raise ValueError("causal=0 and acausal=0 leave no gradient: give at least one of them.")

    def treatment(self, model: nn.Module) -> Treatment:
        for name, module in model.named_modules():
            if isinstance(module, Neuron) and any(p.requires_grad for p in module.parameters()):
                raise explained(
                    ValueError(
                        f"{name!r} ({type(module).__name__}) has parameters that learn, for which rules with traces "
                        "define no gradient. Freeze them with `requires_grad_(False)`, or use SLTT, RateBP or BPTT."
                    ),
                    "refused",
                )
        return TraceTreatment(self)
