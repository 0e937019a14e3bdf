"""The oracle against autograd on plain loops, published numbers and the relations between the rules."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import oracles
import pytest
import torch
import torch.nn.functional as F
from oracles import LI, Answer, Case, Given, Gradients, Layer, Neuron
from torch import Tensor

T = 5
RESETS: list[dict[str, Any]] = [
    {"reset": "subtract"},
    {"reset": "subtract", "detach_reset": True, "threshold": 0.7},
    {"reset": "subtract", "decay": 0.8, "threshold": 0.5, "decay_input": True},
    {"reset": "zero"},
    {"reset": "zero", "detach_reset": True},
    {"reset": "zero", "reset_value": -0.3, "decay_input": True, "threshold": 0.8},
    {"reset": "zero", "reset_value": -0.3, "detach_reset": True, "decay": 0.9},
]
NETS: dict[str, Callable[..., Case]] = {
    "linear": oracles.linear_net,
    "conv": oracles.conv_net,
    "conv gap": lambda **n: oracles.conv_net(gap=True, norm=None, seed=3, **n),
    "sequence": lambda **n: oracles.conv_net(norm="sequence", **n),
    "standardised": oracles.ws_net,
    "recurrent": oracles.recurrent_net,
    "recurrent standardised": lambda **n: oracles.recurrent_net(gain=True, **n),
    "leaky readout": lambda **n: oracles.recurrent_net(seed=1, readout_decay=0.8, **n),
}


def pooled_skip(**neuron: Any) -> Case:
    """A linear-norm layer behind convolutions whose skip starts after a pool, under a leaky readout."""
    (first, second, third, readout), xs, target = oracles.conv_net(seed=4, **neuron)
    readout = replace(readout, weight=readout.weight[:, :5], neuron=LI(0.6))
    draw, boost = oracles.Draw(9), third.neuron.threshold / third.neuron.scale  # type: ignore[union-attr]
    norm = oracles.Norm(draw.around(boost, 5), draw.around(0.4 * boost, 5))
    linear = Layer(draw(5, 16), draw.around(0.0, 5), norm=norm, neuron=third.neuron)
    return [replace(first, pool=2), replace(second, pool=1), third, linear, readout], xs, target


NETS["pooled skip"] = pooled_skip
STEPWISE = [name for name in NETS if name != "sequence"]
FEEDFORWARD = ["linear", "conv", "conv gap", "sequence", "standardised", "pooled skip"]
MEMORYLESS = [name for name in STEPWISE if name != "leaky readout"]


def assert_same(ours: Gradients, theirs: Gradients) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        distance = (ours[name] - theirs[name]).abs().max()
        assert ours[name].shape == theirs[name].shape
        assert distance <= 1e-12, f"{name} differs by {distance}"


def assert_differ(ours: Tensor, theirs: Tensor) -> None:
    assert (ours - theirs).abs().max() > 1e-4 * theirs.abs().max() > 0


def bn_invariant(layers: list[Layer], name: tuple[int, str]) -> bool:
    """A bias in front of a batch norm has no gradient."""
    return name[1] == "bias" and layers[name[0]].norm is not None


# Plain loops with autograd.


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor, slope: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(slope(distance))
        return (distance >= 0).double()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope, None


fire: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor] = Spike.apply


def leaves_of(layers: list[Layer]) -> Gradients:
    named: Gradients = {}
    for index, layer in enumerate(layers):
        norm = layer.norm
        found = {"weight": layer.weight, "bias": layer.bias, "gain": layer.gain, "recurrent": layer.recurrent}
        found |= {"recurrent_gain": layer.recurrent_gain}
        found |= {} if norm is None else {"gamma": norm.gamma, "beta": norm.beta}
        named |= {(index, n): p.clone().requires_grad_() for n, p in found.items() if p is not None}
    return named


def effective(weight: Tensor, gain: Tensor | None) -> Tensor:
    if gain is None:
        return weight
    over = tuple(range(1, weight.dim()))
    variance, mean = torch.var_mean(weight, dim=over, unbiased=True, keepdim=True)
    scale = torch.rsqrt(variance * weight[0].numel() + 1e-4)
    return (weight - mean) * scale * gain.view([-1] + [1] * (weight.dim() - 1))


def affine(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if layer.kind == "conv":
        return F.conv2d(x, weight, bias, layer.stride, 1)
    return F.linear(x, weight, bias)


def batch_norm(norm: oracles.Norm, drives: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    running = torch.zeros_like(norm.gamma), torch.ones_like(norm.gamma)
    parts = drives if norm.mode == "step" else [drives.flatten(0, 1)]
    normed = [F.batch_norm(part, *running, gamma, beta, True, 0.1, norm.eps) for part in parts]
    return torch.stack(normed).view_as(drives), running


class Loop:
    """Layer by layer, step by step, with autograd; the arguments turn the forward into that of another rule.

    horizon: states and recurrent spikes are detached at its multiples.
    pre: per layer the decay of the trace that the weight's gradient sees, or None for the input itself.
    back: the same for all recurrent weights. bias_trace: per layer the decay of the scalar trace of the bias.
    late: (acausal, decay_post) adds that term at the spikes. errors: dL/dlogits for DFA, with the matrices.
    """

    def __init__(
        self,
        case: Case,
        horizon: int = T,
        pre: Sequence[float | None] | None = None,
        causal: float = 1.0,
        late: tuple[float, float] = (0.0, 0.0),
        bias_trace: Sequence[float | None] | None = None,
        back: float | None = None,
    ) -> None:
        self.layers, self.xs, self.target = case
        self.leaf = leaves_of(self.layers)
        self.horizon, self.causal, self.late, self.back = horizon, causal, late, back
        self.pre = pre or [None] * len(self.layers)
        self.bias_trace = bias_trace or [None] * len(self.layers)
        self.spikes: list[Tensor] = []
        self.running: dict[int, tuple[Tensor, Tensor]] = {}

    def run(self, cut_below: bool = False) -> Tensor:
        passed: list[Tensor] = []
        x = self.xs
        for index, layer in enumerate(self.layers):
            x = x.detach() if cut_below else x
            skip = None if layer.skip is None else passed[layer.skip]
            x = self.layer(index, layer, x, skip.detach() if cut_below and skip is not None else skip)
            passed.append(x)
        return x

    def layer(self, index: int, layer: Layer, x: Tensor, skip: Tensor | None) -> Tensor:
        if layer.gap:
            x = F.adaptive_avg_pool2d(x.flatten(0, 1), 1).view(x.shape[:3])
        x = x.flatten(2) if layer.kind == "linear" else x
        weight = effective(self.leaf[index, "weight"], self.leaf.get((index, "gain")))
        bias = self.leaf.get((index, "bias"))
        drives = self.traced(index, layer, x, weight, bias)
        late = torch.stack([affine(layer, step.detach(), weight, None) for step in x])
        if bias is not None:  # the same normalisation as the value's
            late = late + bias.detach().view([-1] + [1] * (late.dim() - 3))
        if layer.norm is not None:
            gamma, beta = self.leaf[index, "gamma"], self.leaf[index, "beta"]
            drives, self.running[index] = batch_norm(layer.norm, drives, gamma, beta)
            late, _ = batch_norm(layer.norm, late, gamma.detach(), beta.detach())
        if skip is not None:
            drives = drives + skip
        outputs = self.neurons(index, layer, drives, late)
        if layer.pool > 1:
            outputs = torch.stack([F.avg_pool2d(step, layer.pool) for step in outputs])
        return outputs

    def traced(self, index: int, layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        decay, hidden = self.pre[index], isinstance(layer.neuron, Neuron)
        factor = self.causal if hidden else 1.0
        bias_decay = self.bias_trace[index]
        trace, k, drives = torch.zeros_like(x[0]), 0.0, []
        for step in x:
            trace = (0.0 if decay is None else decay) * trace + step.detach()
            k = (0.0 if bias_decay is None else bias_decay) * k + 1
            shifted = None if bias is None else bias.detach() + k * (bias - bias.detach())
            phantom = affine(layer, trace, weight, None)
            if decay is None and factor == 1:
                drives.append(affine(layer, step, weight, shifted))
            else:
                drives.append(affine(layer, step, weight.detach(), shifted) + factor * (phantom - phantom.detach()))
        return torch.stack(drives)

    def neurons(self, index: int, layer: Layer, currents: Tensor, late: Tensor) -> Tensor:
        neuron, outputs = layer.neuron, []
        if neuron is None:
            return currents
        if isinstance(neuron, LI):
            out = torch.zeros_like(currents[0])
            for t, current in enumerate(currents):
                out = neuron.decay * (out.detach() if t % self.horizon == 0 else out) + current
                outputs.append(out)
            return torch.stack(outputs)
        acausal, decay_post = self.late
        state = torch.full_like(currents[0], neuron.reset_value)
        spike = torch.zeros_like(state)
        trace_slope, trace_back = torch.zeros_like(state), torch.zeros_like(state)
        for t, current in enumerate(currents):
            if t % self.horizon == 0:
                state, spike = state.detach(), spike.detach()
            phantom = late[t]
            if layer.recurrent is not None:
                weight = effective(self.leaf[index, "recurrent"], self.leaf.get((index, "recurrent_gain")))
                if self.back is None:
                    current = current + spike @ weight.T
                else:
                    trace_back = self.back * trace_back + spike.detach()
                    back = trace_back @ weight.T
                    current = current + spike @ weight.T.detach() + self.causal * (back - back.detach())
                phantom = phantom + spike.detach() @ weight.T
            gathered = (1 - neuron.decay) * current if neuron.decay_input else current
            potential = neuron.reset_value + neuron.decay * (state - neuron.reset_value) + gathered
            spike = fire(potential - neuron.threshold, neuron.slope)
            fired = spike.detach() if neuron.detach_reset else spike
            if neuron.reset == "subtract":
                state = potential - neuron.threshold * fired
            else:
                state = (1 - fired) * potential + fired * neuron.reset_value
            outputs.append(spike + acausal * trace_slope * (phantom - phantom.detach()))
            slope = neuron.slope(potential.detach() - neuron.threshold)
            trace_slope = decay_post * trace_slope + (1 - neuron.decay if neuron.decay_input else 1) * slope
        self.spikes.append(torch.stack(outputs))
        return self.spikes[-1]

    def gradients(self, loss: Tensor) -> Gradients:
        found = torch.autograd.grad(loss, list(self.leaf.values()))
        return dict(zip(self.leaf, found, strict=True))

    def each_step(self, outputs: Tensor, at: list[int] | None = None) -> Tensor:
        return torch.stack([F.cross_entropy(outputs[t], self.target) for t in at or range(len(outputs))]).mean()


def assert_matches(answer: Answer, loop: Loop, loss: Tensor, outputs: Tensor) -> None:
    torch.testing.assert_close(answer.outputs, outputs.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(answer.loss, loss.detach(), rtol=0, atol=1e-12)
    assert_same(answer.gradients, loop.gradients(loss))
    for index, running in loop.running.items():
        torch.testing.assert_close(answer.running[index], running, rtol=0, atol=1e-12)
    assert answer.running.keys() == loop.running.keys()


# The networks.


@pytest.mark.parametrize("neuron", RESETS)
@pytest.mark.parametrize("name", NETS)
def test_the_ready_networks_spike_and_have_gradients(name: str, neuron: dict[str, Any]) -> None:
    layers, xs, target = NETS[name](**neuron)
    records, _ = oracles.forward(layers, xs)
    rates = [record.spikes.mean().item() for record in records[:-1]]
    assert all(0.1 < rate < 0.7 for rate in rates), rates
    for key, gradient in oracles.bptt(layers, xs, target).gradients.items():
        assert (gradient.abs().max() > 1e-5) != bn_invariant(layers, key), key


# Published scalars.


@pytest.mark.parametrize(
    ("variant", "potentials", "rhos", "gains"),
    [
        (
            {"detach_reset": True},
            (0.6, 1.02, 1.404, 0.1808),
            (1, 1.2, 1.24, 1.248),
            (0.559055, 0.878569, 0.814338, 0.654499),
        ),
        (
            {},
            (0.6, 1.02, 1.404, 0.1808),
            (1, 1.088189, 1.000348, 1.089406),
            (0.559055, 0.822752, 0.732941, 0.587893),
        ),
        (
            {"reset": "zero"},
            (0.6, 1.02, 1.4, 0.1),
            (1, 1.132913, 0.769255, 0.879584),
            (0.559055, 0.845079, 0.706738, 0.552826),
        ),
        (
            {"reset": "zero", "detach_reset": True},
            (0.6, 1.02, 1.4, 0.1),
            (1, 1.2, 1, 1),
            (0.559055, 0.878569, 0.772064, 0.604938),
        ),
    ],
)
def test_the_gain_recursion_gives_the_published_numbers(
    variant: dict[str, Any], potentials: tuple[float, ...], rhos: tuple[float, ...], gains: tuple[float, ...]
) -> None:
    neuron = Neuron(decay=0.2, **variant)
    layer = Layer(torch.ones(1, 1, dtype=torch.float64), neuron=neuron)
    record = oracles.forward([layer], torch.tensor([0.6, 0.9, 1.4, 0.1], dtype=torch.float64).view(4, 1, 1))[0][0]
    rho, gain = oracles.rate_gains(neuron, record)
    for ours, published in ((record.potentials, potentials), (rho, rhos), (gain, gains)):
        torch.testing.assert_close(ours.flatten(), torch.tensor(published).double(), rtol=0, atol=6e-7)
    assert record.spikes.mean() == 0.5


def one_synapse(detach_reset: bool = True) -> tuple[list[Layer], Tensor, Given]:
    neuron = Neuron(detach_reset=detach_reset, slope=oracles.triangle_slope)
    weight, one = torch.tensor([[0.8]], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    layers = [Layer(weight, torch.zeros(1, dtype=torch.float64), neuron=neuron), Layer(one, neuron=None)]
    xs, delta = torch.tensor([[1, 1, 0, 1, 1], [0.3, -0.2, 0.5, 0.1, -0.4]], dtype=torch.float64)
    return layers, xs.view(5, 1, 1), Given(delta.view(5, 1, 1))


def test_the_shared_vector_has_the_published_states_and_traces() -> None:
    layers, xs, _ = one_synapse()
    record = oracles.forward(layers, xs)[0][0]
    published = [
        (record.potentials, (0.8, 1.2, 0.1, 0.85, 1.225)),
        (record.spikes, (0, 1, 0, 0, 1)),
        (record.slopes, (0.8, 0.8, 0.1, 0.85, 0.775)),
        (oracles.traces(xs, 0.5), (1, 1.5, 0.75, 1.375, 1.6875)),
        (oracles.traces(xs, 0.75), (1, 1.75, 1.3125, 1.984375, 2.48828125)),
        (oracles.traces(record.slopes, 0.2), (0.8, 0.96, 0.292, 0.9084, 0.95668)),
    ]
    for ours, theirs in published:
        torch.testing.assert_close(ours.flatten(), torch.tensor(theirs, dtype=torch.float64), rtol=0, atol=1e-12)


stllr_scalar = partial(oracles.stllr, decay_pre=0.75, decay_post=0.2, causal=1.0)
ottt_scalar = partial(oracles.ottt, trace_decay=0.5, input_trace=True)


@pytest.mark.parametrize(
    ("rule", "detach_reset", "weight", "bias"),
    [
        (oracles.sltt, True, -0.145, -0.095),
        (partial(oracles.sltt, at=[3, 4]), True, -0.225, None),
        (ottt_scalar, True, -0.36875, -0.095),
        (partial(ottt_scalar, bias_trace=True), True, -0.36875, -0.35375),
        (oracles.bptt, True, -0.36875, -0.35375),
        (oracles.bptt, False, -0.175693375, -0.097905875),
        (partial(stllr_scalar, acausal=-1.0), True, -0.0829103125, -0.095),
        (partial(stllr_scalar, acausal=1.0), True, -1.0712303125, -0.095),
        (partial(stllr_scalar, acausal=-1.0, last=2), True, -0.2685353125, None),
        (partial(stllr_scalar, acausal=-0.2), True, -0.4782383125, -0.095),
    ],
)
def test_every_rule_gives_the_shared_vector_s_published_gradient(
    rule: Callable[..., Answer], detach_reset: bool, weight: float, bias: float | None
) -> None:
    gradients = rule(*one_synapse(detach_reset), weight_per_step=1.0).gradients
    assert gradients[0, "weight"].item() == pytest.approx(weight, rel=0, abs=1e-12)
    if bias is not None:
        assert gradients[0, "bias"].item() == pytest.approx(bias, rel=0, abs=1e-12)


# Against autograd.


@pytest.mark.parametrize("neuron", RESETS)
@pytest.mark.parametrize("name", NETS)
def test_bptt_is_autograd_on_the_plain_loop(name: str, neuron: dict[str, Any]) -> None:
    case = NETS[name](**neuron)
    loop = Loop(case)
    outputs = loop.run()
    loss = loop.each_step(outputs)
    assert_matches(oracles.bptt(*case), loop, loss, outputs)
    loop = Loop(case)
    outputs = loop.run()
    loss = F.cross_entropy(outputs.mean(0), case[2])
    assert_matches(oracles.bptt(*case, objective="mean_output"), loop, loss, outputs)


@pytest.mark.parametrize("horizon", [1, 2, 3])
@pytest.mark.parametrize("name", STEPWISE)
def test_truncated_bptt_is_autograd_with_states_detached_at_every_window(name: str, horizon: int) -> None:
    case = NETS[name]()
    loop = Loop(case, horizon)
    outputs = loop.run()
    truncated = oracles.bptt(*case, horizon=horizon)
    assert_matches(truncated, loop, loop.each_step(outputs), outputs)
    assert_differ(truncated.gradients[0, "weight"], oracles.bptt(*case).gradients[0, "weight"])


@pytest.mark.parametrize("at", [None, [1, 4]])
@pytest.mark.parametrize("name", STEPWISE)
def test_sltt_is_autograd_with_states_detached_at_every_step(name: str, at: list[int] | None) -> None:
    case = NETS[name](decay_input=True)
    loop = Loop(case, horizon=1)
    outputs = loop.run()
    assert_matches(oracles.sltt(*case, at=at), loop, loop.each_step(outputs, at), outputs)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", STEPWISE)
def test_ottt_is_autograd_on_synapses_valued_by_spikes_and_differentiated_at_traces(name: str, exact: bool) -> None:
    case = NETS[name]()
    last = case[0][-1].neuron
    leak = last.decay if isinstance(last, LI) else None
    hidden = [0.7] * (len(case[0]) - 1)
    pre: Sequence[float | None] = [*hidden, leak] if exact else [None, *hidden[1:], leak or 0.7]
    loop = Loop(case, horizon=1, pre=pre, bias_trace=[*hidden, leak] if exact else None, back=0.7)
    outputs = loop.run()
    flags: dict[str, Any] = {"input_trace": exact, "readout_trace": not exact, "bias_trace": exact}
    answer = oracles.ottt(*case, trace_decay=0.7, **flags)
    assert_matches(answer, loop, loop.each_step(outputs), outputs)


@pytest.mark.parametrize("last", [None, 2])
@pytest.mark.parametrize("neuron", [{}, {"decay_input": True, "decay": 0.3}])
@pytest.mark.parametrize("name", STEPWISE)
def test_stllr_is_autograd_with_a_phantom_path_for_each_term(
    name: str, neuron: dict[str, Any], last: int | None
) -> None:
    case = NETS[name](**neuron)
    leaky = isinstance(case[0][-1].neuron, LI)
    pre: Sequence[float | None] = [0.75] * (len(case[0]) - 1) + [0.9 if leaky else None]
    loop = Loop(case, horizon=1, pre=pre, causal=0.6, late=(-0.8, 0.3), back=0.75)
    outputs = loop.run()
    loss = loop.each_step(outputs, None if last is None else list(range(T - last, T)))
    answer = oracles.stllr(*case, 0.75, 0.3, 0.6, -0.8, last=last, decay_readout=0.9 if leaky else None)
    assert_matches(answer, loop, loss, outputs)


@pytest.mark.parametrize("name", ["linear", "conv", "standardised", "leaky readout"])
def test_stllr_with_feedback_is_autograd_on_local_losses(name: str) -> None:
    case = NETS[name]()
    layers, xs, target = case
    leaky = isinstance(layers[-1].neuron, LI)
    records, _ = oracles.forward(layers, xs)
    draw = oracles.Draw(11)
    feedback = [draw(3, record.spikes[0, 0].numel()) for record in records[:-1]]
    pre = [0.75] * (len(layers) - 1) + [0.8 if leaky else None]
    loop = Loop(case, horizon=1, pre=pre, late=(-1.0, 0.2), back=0.75)
    outputs = loop.run(cut_below=True)
    loss = loop.each_step(outputs)
    (errors,) = torch.autograd.grad(loss, outputs, retain_graph=True)
    if leaky:  # dL/dout[t] at each step alone
        errors = torch.stack([(F.softmax(o, 1) - F.one_hot(target, 3)) / len(target) / T for o in outputs]).detach()
    local = [((errors @ b).view_as(spikes) * spikes).sum() for b, spikes in zip(feedback, loop.spikes, strict=True)]
    theirs = loop.gradients(loss + torch.stack(local).sum())
    answer = oracles.stllr(*case, 0.75, 0.2, 1.0, -1.0, feedback=feedback)
    assert_same(answer.gradients, theirs)
    assert_differ(answer.gradients[0, "weight"], oracles.stllr(*case, 0.75, 0.2, 1.0, -1.0).gradients[0, "weight"])


@pytest.mark.parametrize("decay_input", [False, True])
@pytest.mark.parametrize("decay_post", [0.0, 0.4])
def test_stllr_is_the_explicit_double_sum_over_pairs_of_steps(decay_post: float, decay_input: bool) -> None:
    layers, xs, _ = oracles.linear_net(decay_input=decay_input)
    draw = oracles.Draw(5)
    layers = [layers[0], Layer(torch.eye(6, dtype=torch.float64), neuron=None)]
    errors = draw(T, 3, 6)
    slopes = oracles.forward(layers, xs)[0][0].slopes * (0.5 if decay_input else 1.0)
    total = torch.zeros(6, 4, dtype=torch.float64)
    for t in range(T):
        for past in range(t + 1):
            total += 0.6 * 0.75 ** (t - past) * (errors[t] * slopes[t]).T @ xs[past]
            if past < t:
                total += -0.8 * decay_post ** (t - 1 - past) * (errors[t] * slopes[past]).T @ xs[t]
    answer = oracles.stllr(layers, xs, Given(errors), 0.75, decay_post, 0.6, -0.8, weight_per_step=1.0)
    torch.testing.assert_close(answer.gradients[0, "weight"], total, rtol=0, atol=1e-12)


@pytest.mark.parametrize("gain", [True, False])
def test_standardisation_and_its_backward_are_autograd_s(gain: bool) -> None:
    draw = oracles.Draw(2)
    weight, given = draw(4, 3, 3, 3).requires_grad_(), draw(4, 3, 3, 3)
    scale = draw.around(1.0, 4).requires_grad_() if gain else None
    theirs = effective(weight, scale)
    ours = oracles.standardised(weight, scale)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    if scale is None:
        return
    expected = torch.autograd.grad(theirs, [weight, scale], given)
    torch.testing.assert_close(
        oracles.standardised_vjp(given, weight.detach(), scale.detach()), expected, rtol=0, atol=1e-12
    )
    rows = ours.detach().flatten(1)
    torch.testing.assert_close(rows.mean(1), torch.zeros(4).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(rows.norm(dim=1), scale.detach().abs() * (26 / 27) ** 0.5, rtol=1e-3, atol=0)


def constant_shift_gain(layer: Layer, currents: Tensor) -> Tensor:
    """d(mean output)/dc for a shift c of the current at all steps, by autograd through one neuron layer."""
    shift = torch.zeros_like(currents[0], requires_grad=True)
    loop = Loop(([layer], currents, torch.zeros(0)), horizon=len(currents))
    mean = loop.neurons(0, layer, currents + shift, torch.zeros_like(currents)).mean(0)
    return torch.autograd.grad(mean.sum(), shift)[0]


@pytest.mark.parametrize("neuron", [*(Neuron(**options) for options in RESETS), LI(0.8), LI(1.0), None])
def test_the_gain_is_the_derivative_of_the_rate_by_a_constant_shift(neuron: Neuron | LI | None) -> None:
    eye = torch.eye(7, dtype=torch.float64)
    scale = neuron.threshold / neuron.scale if isinstance(neuron, Neuron) else 1.0
    currents = (0.6 + oracles.Draw(1)(8, 4, 7, scale=6.0)) * scale
    layer = Layer(eye, neuron=neuron)
    record = oracles.forward([layer], currents)[0][0]
    assert 0.1 < record.spikes.mean() < 0.7 or not isinstance(neuron, Neuron)
    _, gains = oracles.rate_gains(neuron, record)
    torch.testing.assert_close(gains[-1], constant_shift_gain(layer, currents), rtol=0, atol=1e-12)
    if isinstance(neuron, LI) and neuron.decay < 1:
        closed = sum((1 - 0.8 ** (t + 1)) / (1 - 0.8) for t in range(8)) / 8
        torch.testing.assert_close(gains[-1], torch.full_like(gains[-1], closed), rtol=0, atol=1e-12)


def rate_network(case: Case) -> tuple[Gradients, Tensor]:
    """The rate pass with autograd: one step, every neuron layer a constant rate with a constant gain."""
    layers, xs, target = case
    records, _ = oracles.forward(layers, xs)
    passed: list[Tensor] = []
    leaf, x = leaves_of(layers), xs.mean(0)
    for index, (layer, record) in enumerate(zip(layers, records, strict=True)):
        x = x.mean((2, 3)) if layer.gap else x
        x = x.flatten(1) if layer.kind == "linear" else x
        weight = effective(leaf[index, "weight"], leaf.get((index, "gain")))
        x = affine(layer, x, weight, leaf.get((index, "bias")))
        currents = oracles.synapse(layer, record.entering)
        if layer.norm is not None:
            gamma, beta = (leaf[index, n].view(1, -1, 1, 1) for n in ("gamma", "beta"))
            normed, _ = batch_norm(layer.norm, currents, layer.norm.gamma, layer.norm.beta)
            stored = torch.var_mean(currents.transpose(0, 2).flatten(1), dim=1, unbiased=False)
            live = torch.var_mean(x, dim=(0, 2, 3), unbiased=False)
            variance, mean = ((s + b - b.detach()).view(1, -1, 1, 1) for s, b in zip(stored, live, strict=True))
            x = gamma * (x - mean) / (variance + layer.norm.eps).sqrt() + beta
            currents = normed
        if layer.skip is not None:
            x = x + passed[layer.skip]
            currents = currents + records[layer.skip].outputs
        gain = constant_shift_gain(layer, currents)
        x = record.spikes.mean(0) + gain * (x - x.detach())
        x = F.avg_pool2d(x, layer.pool) if layer.pool > 1 else x
        passed.append(x)
    loss = F.cross_entropy(x, target)
    found = torch.autograd.grad(loss, list(leaf.values()))
    return dict(zip(leaf, found, strict=True)), loss.detach()


@pytest.mark.parametrize("readout_decay", [None, 0.8])
@pytest.mark.parametrize("neuron", RESETS)
@pytest.mark.parametrize("name", ["linear", "conv gap", "sequence", "standardised"])
def test_rate_bp_is_autograd_through_the_rate_network(
    name: str, neuron: dict[str, Any], readout_decay: float | None
) -> None:
    case = NETS[name](readout_decay=readout_decay, **neuron)
    answer = oracles.rate_bp(*case)
    gradients, loss = rate_network(case)
    assert_same(answer.gradients, gradients)
    torch.testing.assert_close(answer.loss, loss, rtol=0, atol=1e-12)


# Relations between the rules.


stllr_any = partial(oracles.stllr, decay_pre=0.7, decay_post=0.3, causal=1.0, acausal=-0.8)


ONE_STEP: dict[str, Callable[..., Answer]] = {
    "sltt": oracles.sltt,
    "ottt": partial(oracles.ottt, trace_decay=0.7),
    "ottt exact": partial(oracles.ottt, trace_decay=0.7, input_trace=True, readout_trace=False, bias_trace=True),
    "stllr": stllr_any,
}


@pytest.mark.parametrize("neuron", RESETS)
@pytest.mark.parametrize("rule", ONE_STEP)
@pytest.mark.parametrize("name", NETS)
def test_one_step_makes_every_rule_bptt(name: str, rule: str, neuron: dict[str, Any]) -> None:
    layers, xs, target = NETS[name](**neuron)
    exact = oracles.bptt(layers, 6 * xs[:1], target).gradients
    assert_same(ONE_STEP[rule](layers, 6 * xs[:1], target).gradients, exact)
    assert all(exact[key].abs().max() > 1e-5 for key in exact if key[1] == "weight")
    longer = oracles.bptt(layers, xs, target).gradients[0, "weight"]
    assert_differ(ONE_STEP[rule](layers, xs, target).gradients[0, "weight"], longer)


@pytest.mark.parametrize("neuron", RESETS)
@pytest.mark.parametrize("name", FEEDFORWARD)
def test_one_step_makes_rate_bp_bptt(name: str, neuron: dict[str, Any]) -> None:
    layers, xs, target = NETS[name](**neuron)
    rate_layers = [sequenced(layer) for layer in layers]
    exact = oracles.bptt(layers, 6 * xs[:1], target).gradients
    assert_same(oracles.rate_bp(rate_layers, 6 * xs[:1], target).gradients, exact)
    longer = oracles.bptt(rate_layers, xs, target, objective="mean_output").gradients[0, "weight"]
    assert_differ(oracles.rate_bp(rate_layers, xs, target).gradients[0, "weight"], longer)


def sequenced(layer: Layer) -> Layer:
    return layer if layer.norm is None else replace(layer, norm=replace(layer.norm, mode="sequence"))


EQUAL: dict[str, tuple[Callable[..., Answer], Callable[..., Answer], Callable[..., Answer]]] = {
    "ottt without memory is sltt": (
        partial(oracles.ottt, trace_decay=0.0),
        oracles.sltt,
        partial(oracles.ottt, trace_decay=0.2),
    ),
    "horizon 1 is sltt": (
        partial(oracles.bptt, horizon=1),
        oracles.sltt,
        partial(oracles.bptt, horizon=2),
    ),
    "horizon T is bptt": (
        partial(oracles.bptt, horizon=T),
        oracles.bptt,
        partial(oracles.bptt, horizon=T - 1),
    ),
    "all steps is sltt": (
        partial(oracles.sltt, at=range(T)),
        oracles.sltt,
        partial(oracles.sltt, at=range(1, T)),
    ),
    "stllr without its post term is ottt": (
        partial(oracles.stllr, decay_pre=0.5, decay_post=0.3, causal=1.0, acausal=0.0),
        partial(oracles.ottt, trace_decay=0.5, input_trace=True, readout_trace=False),
        partial(oracles.stllr, decay_pre=0.5, decay_post=0.3, causal=1.0, acausal=0.5),
    ),
    "stllr without traces is sltt": (
        partial(oracles.stllr, decay_pre=0.0, decay_post=0.3, causal=1.0, acausal=0.0),
        oracles.sltt,
        partial(oracles.stllr, decay_pre=0.0, decay_post=0.0, causal=1.0, acausal=0.5),
    ),
    "a window of stllr is last-K sltt": (
        partial(oracles.stllr, decay_pre=0.0, decay_post=0.3, causal=1.0, acausal=0.0, last=2),
        partial(oracles.sltt, at=[3, 4]),
        partial(oracles.stllr, decay_pre=0.0, decay_post=0.3, causal=1.0, acausal=0.0, last=3),
    ),
    "the neuron's own decay is the default trace": (
        partial(oracles.ottt, trace_decay=None),
        partial(oracles.ottt, trace_decay=0.5),
        partial(oracles.ottt, trace_decay=0.6),
    ),
}


@pytest.mark.parametrize("relation", EQUAL)
@pytest.mark.parametrize("name", MEMORYLESS)
def test_a_rule_contains_its_special_case(name: str, relation: str) -> None:
    layers, xs, target = NETS[name]()
    if name == "pooled skip":
        layers[-1] = replace(layers[-1], neuron=None)
    special, general, twin = (rule(layers, xs, target).gradients for rule in EQUAL[relation])
    assert_same(special, general)
    key = next(k for k in reversed(general) if k[1] == "weight" and (k[0] > 0 or len(general) == 1))
    assert_differ(twin[key], general[key])


def test_the_mean_of_sltt_k_over_all_choices_is_k_over_t_of_sltt() -> None:
    case = oracles.linear_net()
    subsets = list(combinations(range(T), 2))
    answers = [oracles.sltt(*case, at=at, weight_per_step=1 / T).gradients for at in subsets]
    for name, whole in oracles.sltt(*case).gradients.items():
        mean = torch.stack([answer[name] for answer in answers]).mean(0)
        torch.testing.assert_close(mean, 2 / T * whole, rtol=0, atol=1e-12)
        assert_differ(answers[0][name], mean)


@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("build", [oracles.linear_net, oracles.ws_net, oracles.conv_net])
def test_ottt_is_bptt_for_the_last_hidden_layer_and_nowhere_below(build: Callable[..., Case], decay: float) -> None:
    case = build(decay=decay, detach_reset=True)
    answer = oracles.ottt(*case, trace_decay=decay, input_trace=True, readout_trace=False, bias_trace=True)
    exact = oracles.bptt(*case)
    top = len(case[0]) - 2
    for name in exact.gradients:
        if name[0] >= top:
            torch.testing.assert_close(answer.gradients[name], exact.gradients[name], rtol=0, atol=1e-12)
        elif not bn_invariant(case[0], name):
            assert_differ(answer.gradients[name], exact.gradients[name])
    plain = oracles.ottt(*case, trace_decay=decay, input_trace=True)
    assert_differ(plain.gradients[top, "bias"], exact.gradients[top, "bias"])
    assert_differ(plain.gradients[top + 1, "weight"], exact.gradients[top + 1, "weight"])
    in_graph = build(decay=decay)
    assert_differ(oracles.bptt(*in_graph).gradients[top, "weight"], answer.gradients[top, "weight"])


def test_stllr_and_ottt_are_bptt_for_one_hidden_layer() -> None:
    layers, xs, target = oracles.linear_net(detach_reset=True)
    case = [layers[0], replace(layers[2], weight=layers[2].weight[:, [0, 1, 2, 3, 4, 0]])], xs, target
    exact = oracles.bptt(*case).gradients
    ours = oracles.stllr(*case, 0.5, 0.2, 1.0, 0.0).gradients
    torch.testing.assert_close(ours[0, "weight"], exact[0, "weight"], rtol=0, atol=1e-12)
    late = oracles.stllr(*case, 0.5, 0.2, 1.0, 0.3).gradients
    assert_differ(late[0, "weight"], exact[0, "weight"])


@pytest.mark.parametrize("name", MEMORYLESS[:-1])
def test_a_memoryless_readout_is_exact_in_sltt_and_in_rate_bp(name: str) -> None:
    layers, xs, target = NETS[name]()
    top = len(layers) - 1
    exact, ours = oracles.bptt(layers, xs, target).gradients, oracles.sltt(layers, xs, target).gradients
    assert_differ(ours[0, "weight"], exact[0, "weight"])
    for part in ("weight", "bias"):
        torch.testing.assert_close(ours[top, part], exact[top, part], rtol=0, atol=1e-12)
    if "recurrent" in name:
        return
    layers = [sequenced(layer) for layer in layers]
    exact = oracles.bptt(layers, xs, target, objective="mean_output").gradients
    ours = oracles.rate_bp(layers, xs, target).gradients
    assert_differ(ours[0, "weight"], exact[0, "weight"])
    for part in ("weight", "bias"):
        torch.testing.assert_close(ours[top, part], exact[top, part], rtol=0, atol=1e-12)


def test_rate_bp_is_bptt_on_the_mean_output_where_the_slopes_are_constant_and_nothing_leaks() -> None:
    def flat(distance: Tensor) -> Tensor:
        return torch.full_like(distance, 0.4)

    for build in (oracles.linear_net, partial(oracles.conv_net, norm=None), oracles.ws_net):
        case = build(decay=0.0, slope=flat)
        assert_same(oracles.rate_bp(*case).gradients, oracles.bptt(*case, objective="mean_output").gradients)
        case = build(decay=0.5, slope=flat)
        exact = oracles.bptt(*case, objective="mean_output").gradients[0, "weight"]
        assert_differ(oracles.rate_bp(*case).gradients[0, "weight"], exact)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("name", STEPWISE)
def test_detaching_the_reset_matters_to_bptt_alone(name: str, reset: str) -> None:
    attached, detached = NETS[name](reset=reset), NETS[name](reset=reset, detach_reset=True)
    for rule in (oracles.sltt, ONE_STEP["ottt"], stllr_any):
        assert_same(rule(*attached).gradients, rule(*detached).gradients)
    for name_, gradient in oracles.bptt(*attached).gradients.items():
        if name_ == (0, "weight"):
            assert_differ(oracles.bptt(*detached).gradients[name_], gradient)


def test_a_target_for_every_step_is_used_at_its_step() -> None:
    layers, xs, target = oracles.linear_net()
    same = oracles.sltt(layers, xs, target.expand(T, -1)).gradients
    assert_same(same, oracles.sltt(layers, xs, target).gradients)
    changed = target.expand(T, -1).clone()
    changed[2] = (changed[2] + 1) % 3
    answer = oracles.sltt(layers, xs, changed, at=[2], weight_per_step=1.0).gradients
    assert_same(answer, oracles.sltt(layers, xs, (target + 1) % 3, at=[2], weight_per_step=1.0).gradients)
    assert_differ(answer[0, "weight"], same[0, "weight"])


def test_what_a_rule_does_not_define_is_refused() -> None:
    with pytest.raises(ValueError, match="sequence norm"):
        oracles.bptt(*NETS["sequence"](), horizon=2)
    for name in ("conv", "recurrent"):
        with pytest.raises(ValueError, match="neither recurrence nor step norms"):
            oracles.rate_bp(*NETS[name]())
