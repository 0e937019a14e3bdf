"""How a model runs under a rule with traces: each synapse once per step, its traces beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rheobase.casts import at_least_float32
from rheobase.engine import ONE_STEP, Sweep
from rheobase.explained import explained
from rheobase.neurons import Neuron, State
from rheobase.rules.credit import Call, CreditedSynapse, SteadySynapse, SteadyWeight, edge_of
from rheobase.rules.roles import Role, role
from rheobase.rules.tangent import response
from rheobase.synapses import Operation, operation
from rheobase.treatment import Treatment
from rheobase.wiring import Wiring

if TYPE_CHECKING:
    from rheobase.rules.eligibility import Traces


@dataclass
class Trace:
    """trace[t] = decay * trace[t-1] + x[t], kept for one sequence; `last` is trace[t-1]."""

    last: Tensor | float | None = None

    def after(self, xs: list[Any], decay: float | None) -> list[Any]:
        """The trace after each of the next steps; x itself for a decay of None."""
        if decay is None:
            return xs
        traces = []
        for x in xs:
            if isinstance(x, Tensor):  # a copy at first, as the model may go on to change x in place
                self.last = torch.add(x, self.last, alpha=decay) if isinstance(self.last, Tensor) else x.clone()
            else:
                self.last = x if self.last is None else decay * self.last + x
            traces.append(self.last)
        return traces


class TraceTreatment(Treatment):
    """Keeps the traces of one sequence. The first step, when the wiring is not known yet, needs none of the past."""

    asks_wiring = True

    def __init__(self, traces: "Traces") -> None:
        self.settings = traces
        self.skips = False  # whether the backward pass under way only carries non-causal errors to synapses
        self._wiring: Wiring | None = None
        self._roles: dict[nn.Module, Role] = {}
        self._operations: dict[nn.Module, Operation] = {}
        self._pre: dict[nn.Module, Trace] = {}
        self._bias: dict[nn.Module, Trace] = {}
        self._post: dict[nn.Module, Tensor] = {}
        self._steady: dict[nn.Module, SteadyWeight] = {}
        self._calls: dict[nn.Module, Call] = {}  # the latest of each synapse in this chunk
        self._made: list[Call] = []

    def synapse(self, sweep: Sweep, synapse: nn.Module, x: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        if not self._has_trace(sweep, synapse):
            return super().synapse(sweep, synapse, x, plain)
        if sweep.place(synapse):
            raise explained(
                ValueError(
                    f"Synapse {sweep.name(synapse)!r} is used twice in one step; its trace would mix two places. "
                    f"Give each place a layer of its own, or use SLTT, RateBP or BPTT. {ONE_STEP}"
                ),
                "refused",
            )
        if synapse not in self._operations:
            self._operations[synapse] = operation(synapse, sweep.name(synapse))
            self._pre[synapse], self._bias[synapse] = Trace(), Trace()
        call = Call(
            self._operations[synapse],
            factors=lambda: (self._roles[synapse].causal, self._roles[synapse].acausal),
            bias_trace=self._ones_traced(self._bias[synapse], sweep.chunk, self._role(synapse).bias_decay),
            skips=lambda: self.skips,
        )
        bias = synapse.bias if isinstance(synapse.bias, Tensor) else None
        if sweep.is_steady(x) and not x.requires_grad:
            output = self._steady_output(sweep, synapse, sweep.unfolded(x)[0], bias, call)
        else:
            x, weight, bias = _as_autocast(sweep, call.operation.prepare(x), sweep.weight(synapse), bias)
            keeps_x, decay = self._role(synapse).acausal != 0, self._role(synapse).decay
            with torch.no_grad():
                wide, before = at_least_float32(x.detach()), self._pre[synapse].last
                traces = self._pre[synapse].after(sweep.unfolded(wide), decay)
                if keeps_x and sweep.chunk > 1 and decay is not None and isinstance(before, Tensor):
                    trace, call.decay = before, decay
                else:
                    trace = sweep.folded(traces)
            output = CreditedSynapse.apply(x, weight, bias, trace.to(x.dtype), keeps_x, call)
        self._calls[synapse] = call
        self._made.append(call)
        call.edge = edge_of(output)
        return output

    def neuron(self, sweep: Sweep, neuron: Neuron, currents: Tensor) -> Tensor:
        if self.settings.acausal == 0 or not neuron.spiking:
            return super().neuron(sweep, neuron, currents)
        spikes, slopes, traces = [], [], []
        with torch.no_grad():
            for current in sweep.unfolded(currents):
                state = sweep.state(neuron, current)
                spike, slope, sweep.states[neuron] = self._fired(sweep, neuron, current, state)
                before = self._post.get(neuron)
                self._post[neuron] = (
                    slope if before is None else torch.add(slope, before, alpha=self.settings.decay_post)
                )
                spikes.append(spike)
                slopes.append(slope)
                traces.append(before)
        calls, earlier = [], None
        if self._wiring is not None and torch.is_grad_enabled():
            calls = [self._calls[source] for source in self._wiring.senders[neuron] if source in self._calls]
            earlier = sweep.folded([trace for trace in traces if trace is not None])
        fired: Tensor = Fire.apply(currents, [sweep.folded(spikes)], sweep.folded(slopes), earlier, calls, self)
        return fired

    def joined(self, sweep: Sweep, currents: Tensor, current: Tensor, recurrent: Tensor) -> Tensor:
        """Remembers what it adds: an error at the sum is the error at both."""
        total = super().joined(sweep, currents, current, recurrent)
        steps = len(currents) // len(current)
        summands = (edge_of(currents), sweep.offset, steps), (edge_of(recurrent), 0, 1)
        total._rheobase_summands = total._version, summands  # type: ignore[attr-defined]
        return total

    @staticmethod
    def _fired(sweep: Sweep, neuron: Neuron, current: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """One step: spikes, their slope, the state after it."""
        kernel = sweep.kernel(neuron, current)
        if kernel is not None:
            return kernel.slope(current, state, in_place=sweep.reuses_state)
        spikes, slope, after, _ = response(neuron, current, state, None)
        return spikes, slope, after

    def wired(self, sweep: Sweep, wiring: Wiring) -> None:
        """Gives each synapse its role, once the first step has shown the wiring."""
        self._wiring = wiring
        self._roles |= {synapse: role(self.settings, sweep, synapse, wiring) for synapse in self._pre}

    def chunk_done(self) -> None:
        """Lets go of the graph of the chunk."""
        for call in self._made:
            call.edge = call.error = None
        self._made.clear()
        self._calls.clear()

    def settle(self) -> None:
        """Gives the synapses of a constant input the gradients that their steps have gathered."""
        for steady in self._steady.values():
            steady.settle()

    def give_error(self, calls: list[Call], currents: Tensor, error: Tensor) -> None:
        """Brings the non-causal error at a neuron's input back to the synapses that feed it."""
        found = []
        for call in calls:
            if call.edge is None:
                continue
            version, summands = getattr(currents, "_rheobase_summands", (None, ()))
            if version != currents._version:
                summands = [(edge_of(currents), 0, 1)]
            for edge, offset, steps in summands:
                if edge is not None and edge[:2] == call.edge[:2]:
                    call.add_error(error, offset, steps)
                    break
            else:
                found.append((call, call.edge))
        if not found:
            return
        self.skips = True
        try:
            edges = [edge for _, edge in found]
            errors = torch.autograd.grad(currents, edges, error, retain_graph=True, allow_unused=True)
        finally:
            self.skips = False
        for (call, _), part in zip(found, errors, strict=True):
            if part is not None:
                call.add_error(part)

    def _role(self, synapse: nn.Module) -> Role:
        """The role as far as it is known: at the first step the trace only has to begin."""
        return self._roles.get(synapse, Role(decay=0.0, bias_decay=0.0 if self.settings.on_bias else None))

    def _has_trace(self, sweep: Sweep, synapse: nn.Module) -> bool:
        if self._wiring is None:
            assert sweep.wiring is not None
            hears_neurons = bool(sweep.wiring.neurons_before(synapse))
            found = self.settings.on_input or self.settings.on_bias or hears_neurons
            if not found:
                self._roles[synapse] = Role()
            return found
        if synapse not in self._roles:
            raise explained(
                ValueError(
                    f"Synapse {sweep.name(synapse)!r} was not used at the first step, so its trace has no beginning. "
                    "Use it at every step, or train with SLTT, RateBP or BPTT."
                ),
                "refused",
            )
        return self._roles[synapse].has_trace

    def _steady_output(self, sweep: Sweep, synapse: nn.Module, x: Tensor, bias: Tensor | None, call: Call) -> Tensor:
        """The output for an input that does not change: computed once, its gradients gathered until the end."""
        if synapse not in self._steady:
            with torch.enable_grad():  # the first step may be one that does not learn
                x, weight, bias = _as_autocast(sweep, call.operation.prepare(x.detach()), sweep.weight(synapse), bias)
            self._steady[synapse] = SteadyWeight(call.operation, x, weight, bias)
        call.input_trace = self._ones_traced(self._pre[synapse], sweep.chunk, self._role(synapse).decay)
        steady = self._steady[synapse]
        output: Tensor = SteadySynapse.apply(steady.weight, steady.bias, steady, sweep.chunk, call)
        return output

    @staticmethod
    def _ones_traced(trace: Trace, steps: int, decay: float | None) -> Tensor | None:
        """The trace of the constant 1 after each step, `[c]`; None for no trace."""
        if decay is None:
            return None
        return torch.tensor(trace.after([1.0] * steps, decay), dtype=torch.float64)


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


def _as_autocast(sweep: Sweep, x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The operands as autocast would give them to the operation."""
    weight, bias = sweep.casts.of(weight), None if bias is None else sweep.casts.of(bias)
    return x.to(weight.dtype) if torch.is_autocast_enabled(x.device.type) else x, weight, bias
