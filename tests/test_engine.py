from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import rheobase as rb
from rheobase.aside import override
from rheobase.losses import cross_entropy


def small_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), rb.LIF(0.6), nn.Flatten(), nn.Linear(64, 8), rb.CubaLIF(0.7), nn.Linear(8, 3), rb.LI(0.8)
    )


@pytest.mark.parametrize("chunk", [1, 2, 5, 9])
def test_run_is_the_neurons_recursion_written_out(chunk: int) -> None:
    """One LIF layer and a leaky readout, step by step by hand."""
    net = nn.Sequential(nn.Linear(4, 6), rb.LIF(0.6, threshold=0.5), nn.Linear(6, 2), rb.LI(0.9)).double()
    xs = torch.rand(5, 3, 4, dtype=torch.float64)
    potential, readout, expected = torch.zeros(3, 6), torch.zeros(3, 2), []
    for x in xs:
        potential = 0.6 * potential + net[0](x)
        spikes = (potential >= 0.5).double()
        potential = potential - 0.5 * spikes
        readout = 0.9 * readout + net[2](spikes)
        expected.append(readout)
    assert 0.1 < spikes.mean() < 0.9
    torch.testing.assert_close(rb.run(net, xs, chunk=chunk), torch.stack(expected), rtol=0, atol=1e-12)


def test_run_starts_from_rest_each_time_and_keeps_no_graph() -> None:
    net, xs = small_net(), torch.rand(6, 2, 1, 6, 6)
    first = rb.run(net, xs)
    assert not first.requires_grad
    assert torch.equal(rb.run(net, xs), first)
    assert not torch.equal(rb.run(net, xs[3:]), first[3:])


def test_a_stream_step_by_step_is_the_sequence() -> None:
    net, xs = small_net(), torch.rand(6, 2, 1, 6, 6)
    state, outputs = None, []
    for x in xs:
        output, state = rb.step(net, x, state)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs), rb.run(net, xs))
    assert state is not None
    assert set(state) == {"1", "4", "6"}


def test_a_state_of_another_model_or_batch_is_refused() -> None:
    net, other = small_net(), nn.Sequential(nn.Linear(3, 3), nn.Sequential(rb.LIF()), nn.Linear(3, 2))
    _, state = rb.step(other, torch.rand(2, 3))
    with pytest.raises(ValueError, match=r"another model.*1\.0"):
        rb.step(net, torch.rand(2, 1, 6, 6), state)
    _, state = rb.step(net, torch.rand(2, 1, 6, 6))
    with pytest.raises(ValueError, match=r"keep its size.*"):
        rb.step(net, torch.rand(3, 1, 6, 6), state)


class Counting(nn.Module):
    """Notes the shapes it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape))
        return x * 1


class Convolutions(TorchDispatchMode):
    """Counts the samples that go through convolutions with one input channel, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.forward = self.backward = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default and args[0].shape[1] == 1:
            self.forward += len(args[0])
        if func is torch.ops.aten.convolution_backward.default and args[1].shape[1] == 1:
            self.backward += len(args[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "rule",
    [
        rb.BPTT(), rb.BPTT(checkpoint=3), rb.SLTT(), rb.SLTT(chunk=3), rb.SLTT(steps=2), rb.OTTT(),
        rb.RateBP(), rb.STLLR(), rb.OTTT(input_trace=True, bias_trace=True, chunk=4),
        rb.STLLR(last=3, chunk=2), rb.STLLR(signal="dfa"),
    ],
    ids=str,
)  # fmt: skip
def test_what_comes_before_the_first_neuron_of_a_constant_input_is_computed_once(rule: rb.Rule) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), rb.LIF(), nn.Conv2d(4, 3, 1), nn.Flatten(), rb.LI(0.5))
    net = net.append(nn.Linear(48, 3))
    target = torch.randint(3, (2,))
    with Convolutions() as counted:
        rule.backward(net, rb.constant(torch.rand(2, 1, 6, 6), 8), target, loss=cross_entropy)
    assert (counted.forward, counted.backward) == (2, 2)
    with Convolutions() as counted:
        rule.backward(net, torch.rand(8, 2, 1, 6, 6), target, loss=cross_entropy)
    assert counted.forward >= 16


def test_the_rate_pass_computes_no_synapse_again() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3), rb.LIF(), nn.Conv2d(1, 1, 3), rb.LIF(), nn.Flatten(), nn.Linear(4, 3))
    with Convolutions() as counted:
        rb.RateBP().backward(net, torch.rand(8, 2, 1, 6, 6), torch.randint(3, (2,)), loss=cross_entropy)
    assert (counted.forward, counted.backward) == (2 * 8 * 2, 2 * 2)


def test_random_layers_before_the_first_neuron_draw_anew_at_every_step() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(20, 20), rb.LI(0.0))
    outputs = rb.run(net, rb.constant(torch.ones(1, 20), 2))
    assert not torch.equal(outputs[0], outputs[1])


def test_a_value_changed_in_place_is_computed_again() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.neuron = nn.Linear(3, 3), rb.LI(0.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.neuron(self.linear(x).add_(1))

    outputs = rb.run(InPlace(), rb.constant(torch.rand(2, 3), 3))
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(outputs[2], outputs[0])


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, rb.SequenceBatchNorm2d])
@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_norms_see_the_statistics_and_move_the_running_ones_as_they_say(
    norm: type[nn.BatchNorm2d], momentum: float | None, chunk: int
) -> None:
    layer = norm(2, momentum=momentum).double()
    reference = nn.BatchNorm2d(2, momentum=momentum).double()
    net = nn.Sequential(layer, rb.LI(0.0))
    xs = torch.randn(4, 3, 2, 5, 5, dtype=torch.float64) * 2 + 1
    if norm is rb.SequenceBatchNorm2d:
        expected = reference(xs.flatten(0, 1)).unflatten(0, (4, 3))
        chunk = 4
    else:
        expected = torch.stack([reference(x) for x in xs])
    torch.testing.assert_close(rb.run(net, xs, chunk=chunk), expected.detach(), rtol=0, atol=1e-12)
    for buffer, other in zip(layer.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(buffer, other, rtol=0, atol=1e-12)
    layer.eval(), reference.eval()
    torch.testing.assert_close(rb.run(net, xs, chunk=2)[1], reference(xs[1]).detach(), rtol=0, atol=1e-12)


def test_a_norm_without_running_statistics_normalises_each_step_in_eval_mode_too() -> None:
    norm = nn.BatchNorm2d(2, track_running_stats=False).eval()
    xs = torch.randn(4, 3, 2, 5, 5)
    expected = torch.stack([norm(x) for x in xs]).detach()
    for chunk in (1, 4):
        torch.testing.assert_close(rb.run(nn.Sequential(norm, rb.LI(0.0)), xs, chunk=chunk), expected)
    steady = rb.run(nn.Sequential(norm, rb.LI(0.0)), rb.constant(xs[0], 3))
    torch.testing.assert_close(steady[2], expected[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_under_autocast_the_state_stays_in_float32(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(10, 10), rb.LIF(0.9), nn.Linear(10, 3))
    kinds = set()
    plain = rb.LIF.dynamics

    def dynamics(self: rb.LIF, current: Tensor, state: tuple[Tensor, ...]) -> object:
        kinds.add((current.dtype, state[0].dtype))
        return plain(self, current, state)

    net[1].dynamics = dynamics.__get__(net[1])  # type: ignore[union-attr]
    xs, target = torch.rand(4, 3, 10), torch.randint(3, (3,))
    full = {}
    for rule in (rb.BPTT(), rb.SLTT(), rb.OTTT(), rb.RateBP(), rb.STLLR(), rb.BPTT(checkpoint=2)):
        net.zero_grad()
        rule.backward(net, xs, target, loss=cross_entropy)
        full[rule] = torch.cat([p.grad.flatten() for p in net.parameters()])
        kinds.clear()
        net.zero_grad()
        with torch.autocast("cpu", dtype):
            result = rule.backward(net, xs, target, loss=lambda o, y: cross_entropy(o.float(), y))
        assert result.outputs.dtype == dtype
        half = torch.cat([p.grad.flatten() for p in net.parameters()])
        assert half.dtype == torch.float32
        assert torch.cosine_similarity(half, full[rule], 0) > 0.99
    assert {pair for pair in kinds if isinstance(pair[0], torch.dtype)} == {(torch.float32, torch.float32)}


@pytest.mark.parametrize(
    "rule",
    [rb.BPTT(), rb.SLTT(at=(3, 5)), rb.OTTT(), rb.OTTT(input_trace=True), rb.STLLR(last=2), rb.RateBP()],
    ids=str,
)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("autocast", [True, False])
def test_half_precision_gives_about_the_same_gradient_to_every_layer(
    rule: rb.Rule, training: bool, constant: bool, autocast: bool
) -> None:
    target, xs = torch.randint(5, (8,)), torch.rand(6, 8, 2, 8, 8)
    gradients = []
    for half in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), rb.LIF(0.5, threshold=0.5), nn.Conv2d(6, 6, 3),
            nn.BatchNorm2d(6), rb.LIF(0.5, threshold=0.1), nn.Flatten(), nn.Linear(216, 5),
        ).train(training)  # fmt: skip
        dtype = torch.bfloat16 if half and not autocast else torch.float32
        net, inputs = net.to(dtype), xs.to(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=half and autocast):
            rule.backward(
                net,
                rb.constant(inputs[0], 6) if constant else inputs,
                target,
                loss=lambda output, goal: cross_entropy(output.float(), goal),
            )
        gradients.append([net[place].weight.grad.float().flatten() for place in (0, 3, 7)])  # type: ignore[union-attr]
    for full, half_precision in zip(*gradients, strict=True):
        assert full.norm() > 1e-3
        assert torch.cosine_similarity(full, half_precision, 0) > 0.9


@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT(), rb.OTTT(), rb.RateBP(), rb.STLLR()], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_any_float_dtype_train(rule: rb.Rule, dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(10, 10), rb.LIF(0.9), nn.Linear(10, 3)).to(dtype)
    result = rule.backward(net, torch.rand(4, 3, 10, dtype=dtype), torch.randint(3, (3,)), loss=cross_entropy)
    assert result.outputs.dtype == dtype
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


def test_overrides_nest_and_give_back_what_was_there() -> None:
    layer = nn.Linear(2, 2)
    own = layer.forward
    layer.forward = mine = lambda x: own(x) + 1  # type: ignore[method-assign, assignment]
    with override(layer, lambda m: lambda x: x):
        with override(layer, lambda m: lambda x: 2 * x):
            assert torch.equal(layer(torch.ones(2)), torch.full((2,), 2.0))
        assert torch.equal(layer(torch.ones(2)), torch.ones(2))
    assert layer.forward is mine


def test_the_model_may_be_used_within_its_own_training_step() -> None:
    net, xs, target = small_net(), torch.rand(4, 2, 1, 6, 6), torch.randint(3, (2,))
    seen = []
    rule, expected = rb.SLTT(), rb.run(net, xs)
    result = rule.backward(net, xs, target, loss=cross_entropy, after_step=lambda: seen.append(rb.run(net, xs)))
    assert all(torch.equal(outputs, expected) for outputs in seen)
    assert torch.equal(result.outputs, expected)


def test_the_same_module_objects_work_in_two_models_and_parallel_streams() -> None:
    net, xs = small_net(), torch.rand(6, 2, 1, 6, 6)
    first = second = None
    for x in xs:
        a, first = rb.step(net, x, first)
        b, second = rb.step(net, 1 - x, second)
    torch.testing.assert_close(a, rb.run(net, xs)[-1])
    torch.testing.assert_close(b, rb.run(net, 1 - xs)[-1])


def test_steps_that_lie_along_another_axis_are_refused() -> None:
    """[L, N, E], as attention has it by default: with several steps at once the first axis is no longer theirs."""

    class TokensFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron, self.readout = rb.LIF(), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.readout(self.neuron(x.transpose(0, 1)).mean(0))

    net, xs = TokensFirst(), torch.rand(4, 3, 10, 4)
    assert rb.run(net, xs, chunk=1).shape == (4, 3, 2)
    with pytest.raises(
        ValueError, match=r"a current of 2 steps, 3 samples each, at 'neuron'.*first axis.*\[10, 6, 4\]"
    ):
        rb.run(net, xs, chunk=2)


def test_a_constant_input_and_standardised_weights_run_in_inference_mode() -> None:
    net, x = nn.Sequential(rb.WSLinear(4, 6), rb.LIF(threshold=0.3), nn.Linear(6, 3)), torch.rand(2, 4)
    expected = rb.run(net, rb.constant(x, 5))
    with torch.inference_mode():
        torch.testing.assert_close(rb.run(net, rb.constant(x.clone(), 5)), expected)
