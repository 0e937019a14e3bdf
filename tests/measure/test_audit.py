import copy
import math
import re
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.measure import audit_exact, kept_bytes
from rheobase.measure.agreement import gradient
from rheobase.measure.audit import audit
from rheobase.measure.audit_neurons import neuron_layers

RULES = ("sltt", "ottt", "rate-bp")


def net():
    return nn.Sequential(
        nn.Linear(6, 12), nn.BatchNorm1d(12), rb.LIF(0.7, threshold=0.5), nn.Linear(12, 8), rb.LIF(0.7, threshold=0.2),
        nn.Linear(8, 3),
    ).double()  # fmt: skip


def batches(count, steps=5, samples=6):
    made = torch.Generator().manual_seed(0)

    def batch():
        xs = torch.rand(steps, samples, 6, generator=made, dtype=torch.float64) * 2
        return xs, torch.randint(3, (samples,), generator=made)

    return [batch() for _ in range(count)]


def audited(rules, data, model=None, **options):
    found = audit(model or net(), data, rules, loss=cross_entropy, **options)
    return {each.rule: each for each in found.rules}


@dataclass(frozen=True)
class Changed:
    """BPTT times a factor, plus a constant, plus noise."""

    factor: float = 1.0
    tilt: float = 0.0
    noise: float = 0.0

    @property
    def exact(self):
        return rb.BPTT()

    def backward(self, model, xs, target, *, loss, after_step=None, backward=torch.Tensor.backward):
        result = self.exact.backward(model, xs, target, loss=loss)
        for p in model.parameters():
            p.grad = self.factor * p.grad + self.tilt
            if self.noise:
                p.grad += self.noise * torch.randn_like(p)
        return result


def flat(parts, names):
    return torch.cat([parts[name].flatten() for name in names])


def test_cosines_and_ratios_are_those_of_the_direct_computation():
    model, data = net(), batches(3)
    found = audited(RULES, data, model)
    for text, rule in zip(RULES, (rb.SLTT(), rb.OTTT(), rb.RateBP()), strict=True):
        pairs = [
            (gradient(rule, model, *batch, cross_entropy), gradient(rule.exact, model, *batch, cross_entropy))
            for batch in data
        ]
        parameters = list(pairs[0][0])
        groups = {"": parameters, "0": ["0.weight", "0.bias"], "3": ["3.weight", "3.bias"], "0.weight": ["0.weight"]}
        shown = {"": found[text].total, **found[text].of_layers, **found[text].of_parameters}
        for name, members in groups.items():
            vectors = [(flat(own, members), flat(exact, members)) for own, exact in pairs]
            cosines = torch.stack([torch.cosine_similarity(*pair, dim=0) for pair in vectors])
            ratios = torch.stack([own.norm() / exact.norm() for own, exact in vectors])
            assert shown[name].cosine == pytest.approx(float(cosines.mean()), abs=1e-6)
            assert shown[name].spread == pytest.approx(float(cosines.std()), abs=1e-6)
            assert shown[name].norm_ratio == pytest.approx(float(ratios.mean()), abs=1e-6)
    assert found["sltt"].of_layers["0"].cosine < 0.999


def test_bias_and_noise_are_those_of_the_gradients_themselves():
    model, data = net(), batches(4)
    total = audited(["sltt"], data, model)["sltt"].total
    own, exact = (
        torch.stack([flat(g, list(g)) for g in (gradient(rule, model, *batch, cross_entropy) for batch in data)])
        for rule in (rb.SLTT(), rb.BPTT())
    )
    length = exact.mean(0).norm()
    assert total.bias == pytest.approx(float((own - exact).mean(0).norm() / length), rel=1e-9)
    chance = ((own - exact).var(0).sum() / 4).sqrt() / length
    assert total.bias_by_chance == pytest.approx(float(chance), rel=1e-9)
    assert total.noise == pytest.approx(float(own.var(0).sum() / length**2), rel=1e-9)
    assert total.exact_noise == pytest.approx(float(exact.var(0).sum() / length**2), rel=1e-9)


@pytest.mark.parametrize("factor", [1.0, 3.0, -0.5])
def test_a_scaled_gradient_differs_in_its_length_alone(factor):
    found = audit(net(), batches(3), [Changed(factor)], loss=cross_entropy).rules[0]
    for figures in (found.total, *found.of_layers.values()):
        assert figures.cosine == pytest.approx(math.copysign(1, factor), abs=1e-9)
        assert figures.norm_ratio == pytest.approx(abs(factor), rel=1e-9)
        assert figures.bias == pytest.approx(abs(factor - 1), abs=1e-9)
        assert figures.noise == pytest.approx(factor**2 * figures.exact_noise, rel=1e-9)


def test_a_biased_rule_is_told_from_a_noisy_one():
    biased, noisy = audit(
        net(), batches(8), [Changed(tilt=0.05), Changed(noise=0.05)], loss=cross_entropy, draws=1
    ).rules
    assert biased.total.bias > 100 * biased.total.bias_by_chance
    assert noisy.total.bias < 1.5 * noisy.total.bias_by_chance
    assert noisy.total.noise > 1.5 * noisy.total.exact_noise
    assert biased.total.cosine < 0.95
    assert noisy.total.cosine < 0.95


def test_rules_that_draw_are_averaged_over_draws():
    data, model, rule = batches(1), net(), "sltt(steps=1)"
    few, many = (audited([rule], data, model, draws=draws, paths=False)[rule].total.cosine for draws in (1, 30))
    whole = audited(["sltt"], data, model, paths=False)["sltt"].total.cosine
    assert abs(many - whole) < 0.05 < abs(few - whole)
    again = audited([rule], data, model, draws=30, paths=False)[rule].total.cosine
    assert again == many


def test_each_batch_has_draws_of_its_own():
    drawn = audited(["sltt(steps=1)"], batches(1) * 6, draws=1)["sltt(steps=1)"].total
    assert drawn.spread > 0.01
    assert drawn.exact_noise == pytest.approx(0, abs=1e-9)


def test_the_model_and_the_random_state_stay_as_they_are():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), rb.LIF(), nn.Dropout(0.3), nn.Linear(4, 3)).double()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    kinds, attributes = [type(m) for m in model.modules()], [set(vars(m)) for m in model.modules()]
    audited(["sltt(steps=1)", "s-tllr"], batches(2), model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in model.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert [type(m) for m in model.modules()] == kinds
    assert [set(vars(m)) for m in model.modules()] == attributes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_checkpointed_exact_gradient_gives_the_same_figures():
    model, data = net(), batches(2, steps=9)
    whole, checkpointed = (audited(["sltt"], data, model, exact=exact)["sltt"] for exact in ("whole", "checkpointed"))
    assert (whole.exact, checkpointed.exact) == ("bptt", "bptt(checkpoint=True)")
    assert checkpointed.total.cosine == pytest.approx(whole.total.cosine, abs=1e-12)
    assert checkpointed.paths.rest.error == pytest.approx(whole.paths.rest.error, abs=1e-6)


@pytest.mark.parametrize(("free", "exact"), [(2**40, "bptt"), (2**10, "bptt(checkpoint=True)"), (None, "bptt")])
def test_the_exact_gradient_is_checkpointed_where_memory_is_short(free, exact, monkeypatch):
    monkeypatch.setattr(audit_exact, "free_bytes", lambda device: free)
    assert audited(["sltt"], batches(1))["sltt"].exact == exact


def test_the_graph_is_measured_on_two_samples_and_grows_with_the_batch():
    sizes = [
        audit_exact.graph_bytes(rb.BPTT(), net(), *batches(1, samples=samples)[0], cross_entropy) for samples in (4, 16)
    ]
    (xs, target), model = batches(1, samples=16)[0], net()
    there = [xs, target, *model.parameters(), *model.buffers()]
    whole = kept_bytes(lambda: rb.BPTT().backward(model, xs, target, loss=cross_entropy), there=there)
    assert whole <= sizes[1] < 1.3 * whole
    assert sizes[1] == pytest.approx(4 * sizes[0], rel=0.05)


def test_checkpoints_are_refused_where_a_norm_needs_the_whole_sequence():
    model = nn.Sequential(nn.Linear(6, 4), rb.SequenceBatchNorm1d(4), rb.LIF(), nn.Linear(4, 3)).double()
    with pytest.raises(ValueError, match="'1' normalises over the whole sequence"):
        audited(["rate-bp"], batches(1), model, exact="checkpointed")
    assert audited(["rate-bp"], batches(1), model)["rate-bp"].exact == "bptt(objective='mean_output')"


def test_a_rule_that_refuses_is_told_with_its_reason_and_stops_nothing():
    found = audited(["sltt(steps=9)", "sltt"], batches(2))
    assert "T = 5" in found["sltt(steps=9)"].refusal
    assert found["sltt"].refusal is None
    assert found["sltt"].total.cosine > 0.5


def test_gradients_that_are_not_finite_are_refused_by_name():
    def loss(output, target):
        return cross_entropy(output, target) * (math.inf if len(target) == 5 else 1)

    data = [*batches(1), *batches(1, samples=5)]
    for found in audit(net(), data, ["sltt", "bptt"], loss=loss).rules:
        assert re.search(r"'0\.weight'.* not finite on batch 2", found.refusal)
        assert found.total is None
    assert audit(net(), data[:1], ["sltt"], loss=loss).rules[0].refusal is None


def test_a_neuron_that_is_never_called_is_not_called_dead():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = rb.LIF(), rb.LIF()

        def forward(self, x):
            return self.used(x)

    assert [layer.name for layer in neuron_layers(Spare(), torch.rand(3, 2, 4))] == ["used"]


class Late(rb.LIF):
    """Hears its current one step later."""

    def initial_state(self, current):
        return torch.zeros_like(current), torch.zeros_like(current)

    def dynamics(self, current, state):
        spikes, after = super().dynamics(state[1], state[:1])
        return spikes, (*after, current)


def test_slopes_are_found_of_neurons_that_hear_their_current_later():
    xs = torch.rand(9, 6, 6, dtype=torch.float64) * 2
    torch.manual_seed(0)
    now, late = (neuron_layers(nn.Sequential(kind(0.5, threshold=0.7)), xs)[0] for kind in (rb.LIF, Late))
    (waited,) = neuron_layers(nn.Sequential(Late(0.5, threshold=0.7)), torch.cat([xs, xs[-1:]]))
    assert late.rate < now.rate
    assert waited.rate == pytest.approx(now.rate * 9 / 10)
    assert 0 < late.sloped <= 1


class Signed(rb.LIF):
    """Spikes of both signs."""

    def dynamics(self, current, state):
        spikes, after = super().dynamics(current.abs(), state)
        return spikes * current.sign(), after


def test_spikes_below_zero_are_spikes_too():
    xs = torch.randn(9, 6, 6, dtype=torch.float64) * 2
    signed, plain = (neuron_layers(nn.Sequential(kind(0.5)), x)[0] for kind, x in ((Signed, xs), (rb.LIF, xs.abs())))
    assert (signed.rate, signed.ailment) == (plain.rate, None)


def test_each_rule_is_compared_with_the_exact_gradient_of_its_own_objective():
    found = audited(["rate-bp", "bptt(objective='mean_output')", "bptt"], batches(1))
    assert found["rate-bp"].exact == "bptt(objective='mean_output')"
    for name in ("bptt(objective='mean_output')", "bptt"):
        assert found[name].total.bias == pytest.approx(0, abs=1e-9)


def test_one_step_shows_another_error_signal_alone():
    found = audited(["sltt", "ottt", "rate-bp", "s-tllr", "s-tllr(signal=dfa)", "sltt(steps=2)"], batches(1))
    for rule in ("sltt", "ottt", "rate-bp", "s-tllr"):
        assert found[rule].one_step == pytest.approx(1, abs=1e-9)
    assert found["s-tllr(signal=dfa)"].one_step < 0.9
    assert math.isnan(found["sltt(steps=2)"].one_step)


def test_targets_may_differ_from_step_to_step():
    xs, _ = batches(1)[0]
    target = rb.PerStep(torch.randint(3, (5, 6)))
    found = audited(["bptt", "sltt"], [(xs, target)])
    assert found["bptt"].total.cosine == pytest.approx(1)
    assert found["sltt"].one_step == pytest.approx(1)


def test_what_does_not_learn_has_no_figures():
    model = net()
    model[0].weight.requires_grad_(False)
    found = audited(["sltt"], batches(1), model)["sltt"]
    assert list(found.of_parameters)[:2] == ["0.bias", "1.weight"]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"batches": []}, ValueError, "at least one batch"),
        ({"batches": [torch.rand(3, 2, 6)]}, TypeError, "[(xs, target)]"),
        ({"rules": []}, ValueError, "at least one rule"),
        ({"rules": ["slt"]}, ValueError, "sltt"),
        ({"draws": 0}, ValueError, "draws"),
        ({"exact": "half"}, ValueError, "checkpointed"),
    ],
)
def test_a_mistake_is_answered_with_what_was_expected(change, kind, message):
    given = {"batches": batches(1), "rules": ["sltt"], "draws": 1, "exact": "auto"} | change
    with pytest.raises(kind, match=re.escape(message)):
        audit(net(), given.pop("batches"), given.pop("rules"), loss=cross_entropy, **given)
