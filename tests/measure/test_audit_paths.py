import math
from dataclasses import replace

import pytest
import torch
from networks import spiking_nets
from torch import nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.measure.agreement import gradient, products
from rheobase.measure.audit import audit
from rheobase.measure.audit_cuts import without_reset, without_statistics, without_time

STEPS, SAMPLES = 6, 8


def batch():
    made = torch.Generator().manual_seed(0)
    return torch.rand(STEPS, SAMPLES, 6, generator=made, dtype=torch.float64) * 2, torch.arange(SAMPLES) % 3


def hidden(norm=False, **options):
    norms = [nn.BatchNorm1d(12)] if norm else []
    return nn.Sequential(nn.Linear(6, 12), *norms, rb.LIF(0.8, threshold=0.5, **options), nn.Linear(12, 3)).double()


def deep(**options):
    return nn.Sequential(
        nn.Linear(6, 12), nn.BatchNorm1d(12), rb.LIF(0.8, threshold=0.5, **options),
        nn.Linear(12, 8), rb.LIF(0.8, threshold=0.3, **options), nn.Linear(8, 3),
    ).double()  # fmt: skip


def found(rule, model, data=None):
    return audit(model, [data or batch()], [rule], loss=cross_entropy).rules[0].paths


def lost(paths):
    return {name: path.lost.cosine for name, path in paths.each.items()} | {"rest": paths.rest.cosine}


def assert_same(a, b):
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-12)


class ConstantStatistics:
    """BPTT of Linear, BatchNorm, LIF, Linear, where mean and deviation of the batch are constants; by hand."""

    exact = rb.BPTT()

    def backward(self, model, xs, target, *, loss, after_step=None, backward=torch.Tensor.backward):
        synapse, norm, neuron, readout = model
        potential, total = 0.0, 0.0
        for x in xs:
            current = synapse(x)
            mean, variance = current.mean(0).detach(), current.var(0, correction=0).detach()
            current = norm.weight * (current - mean) / (variance + norm.eps).sqrt() + norm.bias
            potential = neuron.decay * potential + current
            spikes = rb.spike(potential - neuron.firing.threshold, neuron.firing.surrogate)
            potential = potential - neuron.firing.threshold * spikes
            total = total + loss(readout(spikes), target) / len(xs)
        total.backward()


def test_bptt_loses_nothing():
    paths = found("bptt", deep())
    assert lost(paths) == pytest.approx(dict.fromkeys(("reset", "normalisation", "time", "rest"), 1.0), abs=1e-9)
    assert all(path.dropped == pytest.approx(0, abs=1e-9) for path in paths.each.values())


def test_without_reset_and_norm_sltt_loses_through_time_alone():
    paths = found("sltt", hidden(detach_reset=True))
    assert lost(paths)["time"] < 0.999
    assert {lost(paths)[name] for name in ("reset", "normalisation")} == {1.0}
    assert lost(paths)["rest"] == pytest.approx(1, abs=1e-6)
    assert paths.each["reset"].without.error == paths.each["normalisation"].without.error == 0


def test_sltt_drops_time_and_nothing_else_also_where_there_are_resets_and_norms():
    paths = found("sltt", deep())
    assert paths.each["reset"].without.cosine < 0.999
    assert paths.each["normalisation"].without.cosine < 0.99
    assert [path.dropped for path in paths.each.values()] == pytest.approx([0, 0, 1], abs=1e-6)
    assert lost(paths) | {"time": 1.0} == pytest.approx(dict.fromkeys(lost(paths), 1.0), abs=1e-6)
    assert paths.each["time"].rule.cosine == pytest.approx(1, abs=1e-9)


def test_the_exact_form_of_ottt_loses_at_the_reset_alone():
    rule = rb.OTTT(input_trace=True, readout_trace=False, bias_trace=True)
    paths = found(rule, hidden())
    assert lost(paths)["reset"] < 0.999
    assert lost(paths) | {"reset": 1.0} == pytest.approx(dict.fromkeys(lost(paths), 1.0), abs=1e-6)
    assert lost(found(rule, hidden(detach_reset=True))) == pytest.approx(dict.fromkeys(lost(paths), 1.0), abs=1e-6)


def test_a_rule_with_constant_statistics_loses_at_the_norm_alone():
    paths = found(ConstantStatistics(), hidden(norm=True))
    assert lost(paths)["normalisation"] < 0.99
    assert lost(paths) | {"normalisation": 1.0} == pytest.approx(dict.fromkeys(lost(paths), 1.0), abs=1e-6)
    assert paths.each["normalisation"].dropped == pytest.approx(1, abs=1e-6)


def test_another_error_signal_is_no_cut_of_a_path():
    paths = found("s-tllr(signal=dfa)", hidden(detach_reset=True))
    assert paths.main == "rest"
    assert lost(paths)["rest"] < 0.9


def test_shares_and_rest_add_up_to_what_is_wrong():
    model, (xs, target) = deep(), batch()
    paths = found("ottt", model)
    given = xs, target, cross_entropy

    def flat(rule, net):
        parts = gradient(rule, net, *given)
        return torch.cat([part.flatten() for part in parts.values()])

    exact, own = flat(rb.BPTT(), model), flat(rb.OTTT(), model)
    cuts = torch.stack(
        [flat(rb.BPTT(), cut(model)) - exact for cut in (without_reset, without_statistics, without_time)]
    )
    scale, *shares = torch.linalg.lstsq(torch.stack([exact, *cuts]).t(), own[:, None]).solution.flatten()
    assert paths.scale == pytest.approx(float(scale), rel=1e-6)
    assert [path.dropped for path in paths.each.values()] == pytest.approx([float(s / scale) for s in shares], rel=1e-6)
    rest = own / scale - exact - torch.stack(shares) / scale @ cuts
    assert paths.rest.error == pytest.approx(float(rest.norm() / exact.norm()), rel=1e-6)
    for path, share, cut in zip(paths.each.values(), shares, cuts, strict=True):
        assert path.lost.error == pytest.approx(float((share / scale).abs() * cut.norm() / exact.norm()), rel=1e-6)


@pytest.mark.parametrize("factor", [0.1, 30.0])
def test_a_length_that_is_wrong_everywhere_alike_is_no_loss(factor):
    class Scaled:
        exact = rb.BPTT()

        def backward(self, model, xs, target, *, loss, after_step=None, backward=torch.Tensor.backward):
            rb.SLTT().backward(model, xs, target, loss=lambda *pair: factor * loss(*pair))

    paths = found(Scaled(), deep())
    assert paths.scale == pytest.approx(factor)
    assert [path.dropped for path in paths.each.values()] == pytest.approx([0, 0, 1], abs=1e-6)
    assert paths.rest.error < 1e-6


def test_a_rule_that_points_away_has_its_deviation_explained_all_the_same():
    class Opposed:
        exact = rb.BPTT()

        def backward(self, model, xs, target, *, loss, after_step=None, backward=torch.Tensor.backward):
            rb.BPTT().backward(model, xs, target, loss=lambda *pair: -loss(*pair))

    paths = found(Opposed(), hidden(detach_reset=True))
    assert paths.scale == 1.0
    assert paths.main == "rest"
    assert math.isfinite(paths.rest.error)


def test_each_layer_has_its_own_shares():
    model = nn.Sequential(*deep(detach_reset=True)[2:]).double()  # LIF, Linear, LIF, Linear: no norm
    model.insert(0, nn.Linear(6, 12).double())
    by_layer = audit(model, [batch()], ["sltt"], loss=cross_entropy).rules[0].paths_of_layers
    assert by_layer["0"].each["time"].lost.error > 0.01
    assert by_layer["4"].each["time"].lost.error == pytest.approx(0, abs=1e-7)  # the readout has no past


@pytest.mark.parametrize("name", spiking_nets())
def test_without_time_the_exact_gradient_is_that_of_one_step(name):
    model, xs = spiking_nets()[name]().double(), torch.rand(4, 3, 2, 6, 6, dtype=torch.float64)
    given = xs, torch.arange(3), cross_entropy
    cut = gradient(rb.BPTT(), without_time(model), *given)
    assert_same(cut, gradient(rb.SLTT(), model, *given))
    whole = products(cut, gradient(rb.BPTT(), model, *given))
    assert max(part.error for part in whole.values()) > 1e-3


def test_a_learned_decay_and_other_states_are_cut_from_their_past_too():
    for neuron in (rb.PLIF(0.8), rb.ALIF(0.8), rb.CubaLIF(0.8), rb.IF()):
        model = nn.Sequential(nn.Linear(6, 12), neuron, nn.Linear(12, 3), rb.LI(0.8)).double()
        given = *batch(), cross_entropy
        assert_same(gradient(rb.BPTT(), without_time(model), *given), gradient(rb.SLTT(), model, *given))


def test_time_is_cut_for_the_loss_of_the_mean_output_as_well():
    model, (xs, target) = deep(), batch()
    outputs = rb.run(model, xs).mean(0).requires_grad_()
    (error,) = torch.autograd.grad(cross_entropy(outputs, target), outputs)
    steps = gradient(rb.TruncatedBPTT(1), model, xs, target, lambda output, _: (output * error).sum())
    mean = gradient(rb.BPTT("mean_output"), without_time(model), xs, target, cross_entropy)
    assert_same(mean, steps)


def test_the_reset_is_cut_as_detach_reset_cuts_it():
    model = deep()
    detached = deep(detach_reset=True)
    detached.load_state_dict(model.state_dict())
    given = *batch(), cross_entropy
    assert_same(gradient(rb.BPTT(), without_reset(model), *given), gradient(rb.BPTT(), detached, *given))
    assert without_reset(detached) is detached


class Own(rb.Neuron):
    """Its reset is its own, not that of a `Firing`."""

    def __init__(self, detach_reset=False):
        super().__init__()
        self.detach_reset = detach_reset

    def initial_state(self, current):
        return (torch.zeros_like(current),)

    def dynamics(self, current, state):
        potential = 0.8 * state[0] + current
        spikes = rb.spike(potential - 0.5, rb.Sigmoid())
        return spikes, (potential - 0.5 * (spikes.detach() if self.detach_reset else spikes),)


def test_a_reset_that_no_firing_makes_is_cut_where_the_neuron_has_detach_reset():
    given = *batch(), cross_entropy
    models = [nn.Sequential(nn.Linear(6, 12), Own(cuts), nn.Linear(12, 3)).double() for cuts in (False, True)]
    models[1].load_state_dict(models[0].state_dict())
    whole, cut, detached = (gradient(rb.BPTT(), m, *given) for m in (models[0], without_reset(models[0]), models[1]))
    assert_same(cut, detached)
    assert not torch.allclose(whole["0.weight"], cut["0.weight"])
    assert not models[0][1].detach_reset


@pytest.mark.parametrize("options", [{"bias": False}, {"affine": False}])
def test_statistics_are_constant_in_a_norm_without_bias_or_weight_too(options):
    norm = nn.BatchNorm1d(12, **options)
    model = nn.Sequential(nn.Linear(6, 12), norm, rb.LIF(0.8, threshold=0.5), nn.Linear(12, 3)).double()
    constant = without_statistics(model)
    xs, _ = batch()
    torch.testing.assert_close(rb.run(constant, xs), rb.run(model, xs), rtol=0, atol=1e-12)


def test_the_statistics_of_a_sequence_norm_are_constant_as_well():
    """gamma * (x - mean) / deviation, with the gradient gamma / deviation towards x."""
    norm = rb.SequenceBatchNorm1d(12).double()
    model = nn.Sequential(nn.Linear(6, 12), norm, rb.LIF(0.8, threshold=0.5), nn.Linear(12, 3)).double()
    fixed = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), rb.LIF(0.8, threshold=0.5), nn.Linear(12, 3)).double()
    fixed.load_state_dict(model.state_dict())
    xs, target = batch()
    currents = model[0](xs).flatten(0, 1).detach()
    fixed[1].eval()
    fixed[1].running_mean.copy_(currents.mean(0))
    fixed[1].running_var.copy_(currents.var(0, correction=0))
    given = xs, target, cross_entropy
    assert_same(gradient(rb.BPTT(), without_statistics(model), *given), gradient(rb.BPTT(), fixed, *given))
    assert without_statistics(model.eval()) is model


@pytest.mark.parametrize("cut", [without_reset, without_statistics, without_time])
def test_a_cut_changes_no_output(cut):
    model, (xs, _) = deep(), batch()
    torch.testing.assert_close(rb.run(cut(model), xs), rb.run(model, xs), rtol=0, atol=1e-12)
    assert [type(m).__name__ for m in model] == ["Linear", "BatchNorm1d", "LIF", "Linear", "LIF", "Linear"]


def test_truncation_drops_less_of_time_the_longer_its_horizon():
    model = hidden(detach_reset=True)
    shares = [found(rb.TruncatedBPTT(horizon), model).each["time"].dropped for horizon in (1, 2, 3, STEPS)]
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == pytest.approx((1, 0), abs=1e-6)


def test_attribution_can_be_left_out():
    each = audit(hidden(), [batch()], [replace(rb.SLTT(), chunk=2)], loss=cross_entropy, paths=False).rules[0]
    assert each.paths is None
    assert each.paths_of_layers == {}
    assert each.total.cosine < 0.999
