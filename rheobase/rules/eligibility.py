"""Which pre- and postsynaptic factors a weight's gradient is made of."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.engine import Sweep, Treatment
from rheobase.neurons import Neuron
from rheobase.rules.credit import Call, CreditedSynapse
from rheobase.rules.tangent import response
from rheobase.synapses import Operation, operation
from rheobase.wiring import OUTPUT, Wiring, origins


class Eligibility(ABC):
    @abstractmethod
    def treatment(self, model: nn.Module) -> Treatment:
        """How the model's modules are run during one sequence.

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
    on_bias: whether the bias has one, of the constant 1.

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
                raise ValueError(
                    f"{name!r} ({type(module).__name__}) has parameters that learn, for which rules with traces define "
                    "no gradient. Freeze them with `requires_grad_(False)`, or use SLTT, RateBP or BPTT."
                )
        return TraceTreatment(self)


@dataclass(frozen=True)
class _Role:
    """What a synapse is credited with; a decay of None means no trace, of the input or of the bias."""

    decay: float | None = None
    bias_decay: float | None = None
    causal: float = 1.0
    acausal: float = 0.0


class TraceTreatment(Treatment):
    """Runs each synapse once and keeps its traces for one sequence."""

    wants_wiring = True

    def __init__(self, traces: Traces) -> None:
        self.settings = traces
        self._wiring: Wiring | None = None  # known from the second step on
        self._operations: dict[nn.Module, Operation] = {}
        self._roles: dict[nn.Module, _Role] = {}
        self._pre: dict[nn.Module, Tensor] = {}
        self._post: dict[nn.Module, Tensor] = {}
        self._bias: dict[nn.Module, float] = {}
        self._hears_input: set[nn.Module] = set()
        self._calls: dict[nn.Module, Call] = {}  # the latest of each synapse
        self._made: list[Call] = []
        self._skips = False

    def synapse(self, sweep: Sweep, synapse: nn.Module, x: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        if not self._is_credited(synapse, x):
            return super().synapse(sweep, synapse, x, plain)
        if sweep.place(synapse):
            raise ValueError(
                f"Synapse {sweep.name(synapse)!r} is used twice in one step; its trace would mix two places. "
                "Give each place a layer of its own, or use SLTT, RateBP or BPTT."
            )
        if synapse not in self._operations:
            self._operations[synapse] = operation(synapse, sweep.name(synapse))
        bias = synapse.bias if isinstance(synapse.bias, Tensor) else None
        x, weight, bias = _as_autocast(self._operations[synapse].prepare(x), sweep.weight(synapse), bias)
        with torch.no_grad():
            trace = self._trace(sweep, synapse, x)
        call = Call(
            self._operations[synapse],
            factors=lambda: (self._roles[synapse].causal, self._roles[synapse].acausal),
            bias_trace=self._bias_trace(sweep, synapse),
            skips=lambda: self._skips,
        )
        keeps_x = self._wiring is not None and self._roles[synapse].acausal != 0
        call.output = CreditedSynapse.apply(x, weight, bias, trace.to(x.dtype), keeps_x, call)
        self._calls[synapse] = call
        self._made.append(call)
        assert call.output is not None
        return call.output

    def neuron(self, sweep: Sweep, neuron: Neuron, currents: Tensor) -> Tensor:
        if self.settings.acausal == 0 or not neuron.spiking:
            return super().neuron(sweep, neuron, currents)
        spikes, slopes, traces = [], [], []
        with torch.no_grad():
            for current in sweep.unfolded(currents):
                state = sweep.state(neuron, current)
                spike, slope, sweep.states[neuron], _ = response(neuron, current, state, None)
                before = self._post.get(neuron)
                self._post[neuron] = slope if before is None else self.settings.decay_post * before + slope
                spikes.append(spike)
                slopes.append(slope)
                traces.append(before)
        calls, earlier = [], None
        if self._wiring is not None and torch.is_grad_enabled():
            calls = [self._calls[source] for source in self._wiring.senders[neuron] if source in self._calls]
            earlier = sweep.folded([trace for trace in traces if trace is not None])
        fired: Tensor = Fire.apply(currents, [sweep.folded(spikes)], sweep.folded(slopes), earlier, calls, self)
        return fired

    def wired(self, sweep: Sweep, wiring: Wiring) -> None:
        """Gives each synapse its role, once the first step has shown the wiring."""
        self._wiring = wiring
        for synapse in self._pre:
            self._roles[synapse] = self._role(sweep, synapse, wiring)

    def forget_calls(self) -> None:
        """Lets go of the graph of the chunk that is done."""
        for call in self._made:
            call.output = call.error = None
        self._made.clear()
        self._calls.clear()

    def give_error(self, calls: list[Call], currents: Tensor, error: Tensor) -> None:
        """Brings the non-causal error at a neuron's input back to the synapses that feed it."""
        for call in calls:
            if call.output is currents:
                call.add_error(error)
                return
        outputs = [call.output for call in calls if call.output is not None and call.output.requires_grad]
        if not outputs:
            return
        self._skips = True
        try:
            errors = torch.autograd.grad(currents, outputs, error, retain_graph=True, allow_unused=True)
        finally:
            self._skips = False
        for call, part in zip(
            (c for c in calls if c.output is not None and c.output.requires_grad), errors, strict=True
        ):
            if part is not None:
                call.add_error(part)

    @property
    def skips(self) -> bool:
        return self._skips

    def _is_credited(self, synapse: nn.Module, x: Tensor) -> bool:
        if self._wiring is not None:
            role = self._roles.get(synapse, _Role())
            return role.decay is not None or role.bias_decay is not None
        return self.settings.on_input or self.settings.on_bias or _hears_neurons(x)

    def _trace(self, sweep: Sweep, synapse: nn.Module, x: Tensor) -> Tensor:
        """The trace after each step of the chunk, `[c * N, ...]`, in float32 at least."""
        wide = x.detach().float() if x.dtype in (torch.float16, torch.bfloat16) else x.detach()
        if self._wiring is None:
            self._pre[synapse] = wide.clone()
            if not _hears_neurons(x):
                self._hears_input.add(synapse)
            return wide
        decay = self._roles[synapse].decay
        if decay is None:
            return wide
        traces = []
        for now in sweep.unfolded(wide):
            self._pre[synapse] = decay * self._pre[synapse] + now
            traces.append(self._pre[synapse])
        return sweep.folded(traces)

    def _bias_trace(self, sweep: Sweep, synapse: nn.Module) -> Tensor | None:
        """The trace of the constant 1 after each step of the chunk, `[c]`; None without a trace."""
        if not self.settings.on_bias:
            return None
        if self._wiring is None:
            self._bias[synapse] = 1.0
            return None
        decay = self._roles[synapse].bias_decay
        if decay is None:
            return None
        values = []
        for _ in range(sweep.chunk):
            self._bias[synapse] = decay * self._bias[synapse] + 1
            values.append(self._bias[synapse])
        return torch.tensor(values, dtype=torch.float64)

    def _role(self, sweep: Sweep, synapse: nn.Module, wiring: Wiring) -> _Role:
        settings, receivers = self.settings, wiring.receivers[synapse]
        integrates = any(isinstance(m, Neuron) and not m.spiking for m in receivers)
        fires = any(isinstance(m, Neuron) and m.spiking for m in receivers)
        if settings.acausal and not (fires or integrates or receivers == {OUTPUT}):
            found = ", ".join(repr(sweep.name(m)) for m in receivers) or "nothing"
            raise ValueError(
                f"A rule with a postsynaptic trace (S-TLLR) cannot find the neuron of synapse {sweep.name(synapse)!r}: "
                f"its output reaches {found} before any neuron. Put a neuron after each hidden synapse, or use SLTT, "
                "OTTT or RateBP."
            )
        after = wiring.neurons_after(synapse)
        if not after:
            return _Role(self._sender_decay(sweep, synapse, wiring) if settings.on_readout else None)
        decay = settings.decay_readout if integrates and not fires else settings.decay_pre
        if decay is None:
            decay = _common_decay(sweep, synapse, after)
        return _Role(
            decay if settings.on_input or synapse not in self._hears_input else None,
            decay if settings.on_bias else None,
            settings.causal if fires else 1.0,
            settings.acausal if fires else 0.0,
        )

    def _sender_decay(self, sweep: Sweep, synapse: nn.Module, wiring: Wiring) -> float:
        if self.settings.decay_pre is not None:
            return self.settings.decay_pre
        return _common_decay(sweep, synapse, wiring.neurons_before(synapse))


class Fire(torch.autograd.Function):
    """The spikes (in a list: no input of autograd's), with the Jacobian `slope` towards `currents`; on the way back
    the synapses get their non-causal error, delta * trace of the slope up to the step before."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        currents: Tensor,
        spikes: list[Tensor],
        slope: Tensor,
        earlier: Tensor | None,
        calls: list[Call],
        treatment: TraceTreatment,
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.calls, ctx.treatment, ctx.has_trace = calls, treatment, earlier is not None
        ctx.save_for_backward(slope, *([] if earlier is None else [currents, earlier]))
        return spikes[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        (delta,) = grads
        if delta is None or ctx.treatment.skips:
            return (None,) * 6
        slope, *kept = ctx.saved_tensors
        if ctx.has_trace:
            currents, earlier = kept
            ctx.treatment.give_error(ctx.calls, currents, delta * earlier)
        return delta * slope, None, None, None, None, None


def _hears_neurons(x: Tensor) -> bool:
    """Whether a neuron is among the origins of x (known while the wiring is read)."""
    return any(isinstance(source, Neuron) for source in origins(x))


def _common_decay(sweep: Sweep, synapse: nn.Module, neurons: set[Neuron]) -> float:
    decays = {float(decay) for neuron in neurons if isinstance(decay := neuron.membrane_decay(), float)}
    decays |= {
        float(value)
        for neuron in neurons
        if isinstance(decay := neuron.membrane_decay(), Tensor)
        for value in decay.flatten()
    }
    if len(decays) != 1:
        raise ValueError(
            f"The neurons around synapse {sweep.name(synapse)!r} have {len(decays)} different decays "
            f"({', '.join(f'{d:g}' for d in sorted(decays))}): say which the trace takes (OTTT: trace_decay)."
        )
    return decays.pop()


def _as_autocast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The operands as autocast would give them to the operation."""
    if not torch.is_autocast_enabled(x.device.type):
        return x, weight, bias
    dtype = torch.get_autocast_dtype(x.device.type)
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
