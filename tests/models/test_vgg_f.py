"""The feedback connection: one step late, under every rule."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import rheobase as rb
from rheobase.layers import Feedback
from rheobase.models.vgg_f import vgg_f
from rheobase.models.vgg_sws import vgg_sws

STEPS = 4
EXACT = {"rtol": 0, "atol": 1e-12}


def net() -> nn.Sequential:
    """conv - (+ feedback) - LIF - pool - conv - LIF, then a readout; small, in float64."""
    torch.manual_seed(0)
    layers = nn.Sequential(rb.LIF(0.5), nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, padding=1), rb.LIF(0.5))
    feedback = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(6, 4, 3, padding=1))
    looped = Feedback(nn.Conv2d(2, 4, 3, padding=1), feedback, layers, (6, 3, 3))
    made = nn.Sequential(looped, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).double()
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.mul_(3)
    return made


def sequence() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.rand(STEPS, 2, 2, 6, 6, dtype=torch.float64) * 2, torch.tensor([0, 2])


def gradient(rule: rb.Rule, model: nn.Module) -> Tensor:
    model.zero_grad()
    xs, target = sequence()
    rule.backward(model, xs, target, loss=cross_entropy)
    return torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]


def by_hand(model: nn.Module, *, cut: bool) -> Tensor:
    """The recursion written out, its loss differentiated by autograd; `cut` detaches what goes from step to step."""
    model.zero_grad()
    looped, pool, flatten, readout = model
    first, middle, conv, last = looped.layers
    xs, target = sequence()
    output = xs.new_zeros(2, 6, 3, 3)
    states = [(torch.zeros((), dtype=xs.dtype),), (torch.zeros((), dtype=xs.dtype),)]
    total = xs.new_zeros(())
    for x in xs:
        current = looped.synapse(x) + looped.recurrent(output)
        spikes, states[0] = first.dynamics(current, states[0])
        output, states[1] = last.dynamics(conv(middle(spikes)), states[1])
        total = total + cross_entropy(readout(flatten(pool(output))), target) / STEPS
        if cut:
            output, states = output.detach(), [(state.detach(),) for (state,) in states]
    total.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize(("rule", "cut"), [(rb.BPTT(), False), (rb.SLTT(), True)], ids=str)
def test_the_gradient_is_that_of_the_recursion_written_out(rule: rb.Rule, cut: bool) -> None:
    model = net()
    expected = by_hand(model, cut=cut)
    torch.testing.assert_close(gradient(rule, model), expected, **EXACT)
    assert (expected - by_hand(model, cut=not cut)).abs().max() > 1e-4


def test_what_comes_back_changes_the_output_from_the_second_step_on() -> None:
    model = net()
    xs, _ = sequence()
    before = rb.run(model, xs)
    model[0].recurrent[1].weight.data.mul_(-2)
    after = rb.run(model, xs)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1:], after[1:])


@pytest.mark.parametrize("size", [1, 2, STEPS])
@pytest.mark.parametrize(
    "rule",
    [
        rb.BPTT(chunk=1),
        rb.SLTT(),
        rb.OTTT(),
        rb.OTTT(input_trace=True, bias_trace=True),
        rb.RateBP(chunk=1),
        rb.STLLR(),
    ],
    ids=str,
)
def test_the_chunk_changes_no_gradient_and_every_parameter_has_one(rule: rb.Rule, size: int) -> None:
    model = net()
    expected = gradient(rule, model)
    torch.testing.assert_close(gradient(type(rule)(**{**vars(rule), "chunk": size}), model), expected, **EXACT)
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_a_trace_of_decay_zero_is_sltt_and_a_longer_one_is_not() -> None:
    model = net()
    plain = gradient(rb.SLTT(), model)
    torch.testing.assert_close(gradient(rb.OTTT(trace_decay=0.0), model), plain, **EXACT)
    assert (gradient(rb.OTTT(), model) - plain).abs().max() > 1e-4


def test_a_wrong_shape_is_named() -> None:
    model = net()
    model[0].shape = (6, 6, 6)
    with pytest.raises((ValueError, RuntimeError), match=r"6, 3, 3|size"):
        rb.run(model, sequence()[0])


def test_what_comes_back_through_a_synapse_is_refused_by_rules_with_traces_alone() -> None:
    model = net()
    model[0].layers.append(nn.Conv2d(6, 6, 1).double())
    gradient(rb.SLTT(), model)
    with pytest.raises(ValueError, match="must come from its last neuron"):
        gradient(rb.OTTT(), model)


def test_vgg_f_has_the_published_size() -> None:
    assert round(sum(p.numel() for p in vgg_f((3, 32, 32), 100).parameters()) / 1e6, 2) == 9.57


def test_vgg_f_starts_as_the_net_without_feedback_and_learns_to_use_it() -> None:
    torch.manual_seed(0)
    looped = vgg_f((2, 16, 16), 3, width=0.125)
    torch.manual_seed(0)
    plain = vgg_sws((2, 16, 16), 3, width=0.125)
    xs, target = 20 * torch.rand(8, 2, 2, 16, 16), torch.tensor([0, 2])
    assert torch.equal(rb.run(looped, xs), rb.run(plain, xs))
    for module in looped.modules():
        if isinstance(module, rb.WSConv2d):
            module.gain.data.fill_(3.0)  # so that the last layer fires, in a net as narrow as this
    rb.OTTT().backward(looped, xs, target, loss=cross_entropy)
    assert looped[0].recurrent[1].weight.grad.abs().max() > 0
