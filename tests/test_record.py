"""Recording: what is told is what happened, and telling it changes nothing."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.neurons import Neuron, State
from rheobase.recorder import Record, record
from rheobase.rules.rule import Rule

T, N = 7, 4
RULES: list[Rule] = [
    rb.BPTT(),
    rb.BPTT(checkpoint=2, chunk=1),
    rb.TruncatedBPTT(horizon=3),
    rb.SLTT(steps=3),
    rb.SLTT(chunk=3),
    rb.OTTT(),
    rb.STLLR(),
    rb.STLLR(chunk=3, signal="dfa"),
    rb.RateBP(),
]
exactly = {"rtol": 0.0, "atol": 0.0}


def net(*, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        rb.LIF(0.7, reset="zero", reset_value=-0.2),
        nn.Conv2d(6, 4, 3, stride=2),
        rb.LIF(0.6),
        nn.Flatten(),
        nn.Linear(16, 5),
        rb.ALIF(0.8, adaptation=0.5),
        nn.Linear(5, 3),
        rb.LI(0.9),
    ).to(dtype)
    for synapse in (model[3], model[6]):
        synapse.weight.data *= 4  # so that all layers fire
    return model


def sequence(dtype: torch.dtype = torch.float64) -> Tensor:
    return 2 * torch.randn(T, N, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=dtype)


def target() -> Tensor:
    return torch.arange(N) % 3


def gradients(model: nn.Module, rule: Rule) -> list[Tensor]:
    torch.manual_seed(3)
    result = rule.backward(model, sequence(), target(), loss=cross_entropy)
    return [result.loss, result.outputs, *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def everything(found: Record) -> dict[str, Tensor]:
    kinds: dict[str, Callable[[str], Tensor]] = {
        "spikes": lambda name: found[name].spikes,
        "potentials": lambda name: found[name].potentials,
        "currents": lambda name: found[name].currents,
    }
    return {f"{name}/{kind}": get(name) for name in found for kind, get in kinds.items()}


def test_potentials_are_those_of_the_neurons_equation() -> None:
    model = net()
    with record(model) as found:
        rb.run(model, sequence())
    for name, decay, rest in (("2", 0.7, -0.2), ("4", 0.6, 0.0)):
        layer, after = found[name], torch.full((), rest, dtype=torch.float64)
        for t in range(T):
            potential = decay * after + layer.currents[t] + (1 - decay) * rest
            spikes = (potential >= 1).double()
            after = (1 - spikes) * potential + spikes * rest if rest else potential - spikes
            torch.testing.assert_close(layer.potentials[t], potential, rtol=0, atol=1e-12)
            assert torch.equal(layer.spikes[t], spikes.bool())
        assert 0 < layer.spikes.double().mean() < 1


def test_the_threshold_of_an_adaptive_neuron_is_told_step_by_step() -> None:
    model = net()
    with record(model) as found:
        rb.run(model, sequence())
    layer, fatigue = found["7"], torch.zeros(N, 5, dtype=torch.float64)
    assert isinstance(layer.threshold, Tensor)
    for t in range(T):
        torch.testing.assert_close(layer.threshold[t], 1 + 0.5 * fatigue, rtol=0, atol=1e-12)
        assert torch.equal(layer.spikes[t], layer.potentials[t] >= layer.threshold[t])
        fatigue = 0.95 * fatigue + layer.spikes[t].double()
    assert found["2"].threshold == 1
    assert found["9"].threshold is None


def test_a_layer_that_does_not_spike_tells_what_it_gives_out() -> None:
    model = net()
    with record(model) as found:
        outputs = rb.run(model, sequence())
    assert torch.equal(found["9"].spikes, outputs)
    assert torch.equal(found["9"].potentials, outputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_chunk_changes_nothing_that_is_recorded(dtype: torch.dtype) -> None:
    model, found = net(dtype=dtype).eval(), {}
    for chunk in (1, 3, T):
        with record(model) as found[chunk]:
            rb.run(model, sequence(dtype), chunk=chunk)
    for one, other in pairwise(map(everything, found.values())):
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, rtol=0, atol=0 if dtype == torch.float64 else 1e-5)
            assert value.shape[:2] == (T, N)


def test_the_steps_of_a_stream_follow_one_another() -> None:
    model, state = net().eval(), None
    with record(model) as whole:
        rb.run(model, sequence())
    with record(model) as stepped:
        for x in sequence():
            _, state = rb.step(model, x, state)
    for name, value in everything(whole).items():
        torch.testing.assert_close(everything(stepped)[name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_under_every_rule_the_real_network_is_recorded_once(rule: Rule) -> None:
    model = net()
    with record(model) as run:
        rb.run(model, sequence())
    with record(model) as learned:
        gradients(model, rule)
    for name, value in everything(run).items():
        torch.testing.assert_close(everything(learned)[name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_recording_changes_no_bit_of_outputs_and_gradients(rule: Rule) -> None:
    plain, watched = net(), net()
    expected = gradients(plain, rule)
    with record(watched, neurons=[0, 2], samples=[1]):
        found = gradients(watched, rule)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(watched.buffers(), plain.buffers(), strict=True):
        assert torch.equal(one, other)


def test_nothing_is_recorded_of_another_model_or_outside() -> None:
    model = net()
    rb.run(model, sequence())
    with record(model) as found:
        rb.run(net(), sequence())
    rb.run(model, sequence())
    with pytest.raises(ValueError, match="no recorded spikes"):
        found["2"].spikes  # noqa: B018


def test_recording_leaves_nothing_behind_also_when_the_model_raises() -> None:
    model = net()
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    with pytest.raises(ValueError, match="finite"), record(model) as found:
        rb.run(model, sequence() * torch.inf)
    after = {name: dict(vars(module)) for name, module in model.named_modules()}
    assert [own.keys() for own in after.values()] == [own.keys() for own in before.values()]
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    rb.run(model, sequence())
    with pytest.raises(ValueError, match="no recorded potentials"):
        found["2"].potentials  # noqa: B018


def test_chosen_neurons_and_samples_are_those_of_the_whole_in_the_order_asked_for() -> None:
    model = net().eval()
    with record(model) as whole:
        rb.run(model, sequence())
    neurons, samples = [4, 0], [3, 1]
    with record(model, ["2", "7"], neurons=neurons, samples=samples) as part:
        rb.run(model, sequence())
    with record(model, neurons={"7": neurons}) as of_one:
        rb.run(model, sequence())
    assert list(part) == ["2", "7"]
    assert list(of_one) == ["7"]
    assert torch.equal(of_one["7"].spikes, whole["7"].spikes[..., neurons])
    for name in part:
        for kind in ("spikes", "potentials", "currents"):
            all_of_it = getattr(whole[name], kind).flatten(2)
            assert torch.equal(getattr(part[name], kind), all_of_it[:, samples][:, :, neurons])
    assert whole["2"].shape == part["2"].shape == (6, 6, 6)


def test_only_what_is_chosen_is_kept() -> None:
    model = net()
    with record(model, "2", what=["spikes"]) as found:
        gradients(model, rb.OTTT())
    assert found["2"].spikes.shape == (T, N, 6, 6, 6)
    assert found["2"].traces == {}
    for kind in ("potentials", "currents"):
        with pytest.raises(ValueError, match=f"no recorded {kind}"):
            getattr(found["2"], kind)


def traced(spikes: Tensor, decay: float) -> Tensor:
    """trace[t] = decay * trace[t-1] + spikes[t]"""
    traces = [spikes[0].double()]
    for step in spikes[1:]:
        traces.append(decay * traces[-1] + step.double())
    return torch.stack(traces)


@pytest.mark.parametrize("chunk", [1, 3])
def test_the_traces_of_ottt_are_decayed_sums_of_spikes_at_the_synapses_that_hear_them(chunk: int) -> None:
    model = net()
    with record(model) as found:
        gradients(model, rb.OTTT(chunk=chunk))
    heard = {name: list(found[name].traces) for name in found}
    assert heard == {"2": ["3"], "4": ["6"], "7": ["8"], "9": []}
    for name, synapse, decay in (("2", "3", 0.6), ("4", "6", 0.8), ("7", "8", 0.9)):
        expected = traced(found[name].spikes, decay)
        torch.testing.assert_close(found[name].traces[synapse], expected, rtol=0, atol=1e-12)
        assert not torch.equal(expected, found[name].spikes.double())
        assert found[name].slope_trace is None


def test_a_synapse_without_trace_has_none_recorded() -> None:
    model = net()[:9]  # the readout has no membrane, thus no trace under S-TLLR
    with record(model) as found:
        gradients(model, rb.STLLR())
    assert {name: list(found[name].traces) for name in found} == {"2": ["3"], "4": ["6"], "7": []}
    with record(model) as found:
        gradients(model, rb.OTTT())
    assert list(found["7"].traces) == ["8"]
    with record(model) as found:
        gradients(model, rb.SLTT())
    assert not any(found[name].traces for name in found)


@pytest.mark.parametrize("chunk", [1, 3])
def test_the_postsynaptic_trace_of_s_tllr_is_a_decayed_sum_of_slopes(chunk: int) -> None:
    model = net()
    with record(model, "4", neurons=[1, 2]) as found:
        gradients(model, rb.STLLR(chunk=chunk, decay_post=0.4))
    slopes = torch.stack([slope_of_sigmoid(v - 1) for v in found["4"].potentials])
    assert found["4"].slope_trace is not None
    torch.testing.assert_close(found["4"].slope_trace, traced(slopes, 0.4), rtol=0, atol=1e-12)


def slope_of_sigmoid(distance: Tensor) -> Tensor:
    alpha = rb.Sigmoid().alpha
    share = torch.sigmoid(alpha * distance)
    return alpha * share * (1 - share)


def test_a_recurrent_synapse_has_the_trace_of_the_step_before() -> None:
    torch.manual_seed(0)
    recurrent = rb.Recurrent(nn.Linear(72, 10), nn.Linear(10, 10), rb.LIF(0.7))
    model = nn.Sequential(nn.Flatten(), recurrent, nn.Linear(10, 3)).double()
    with record(model) as found:
        gradients(model, rb.OTTT())
    layer = found["1.neuron"]
    late = torch.cat([torch.zeros(1, N, 10), layer.spikes[:-1].double()])
    torch.testing.assert_close(layer.traces["1.recurrent"], traced(late, 0.7), rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.traces["2"], traced(layer.spikes, 0.7), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("between", "inputs"), [(nn.AvgPool2d(2), 4), (rb.Scale(2.0), 16), (nn.Dropout(0.5), 16)])
def test_a_synapse_behind_something_else_hears_no_neuron_as_it_is(between: nn.Module, inputs: int) -> None:
    model = nn.Sequential(*net()[:5], between, nn.Flatten(), nn.Linear(inputs, 3)).double()
    with record(model) as found:
        gradients(model, rb.OTTT())
    assert found["4"].traces == {}
    assert list(found["2"].traces) == ["3"]


def test_what_the_model_changes_in_place_afterwards_is_recorded_as_it_was() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), rb.LI(0.5)).double()
    expected = rb.run(model, sequence())
    clipped = nn.Sequential(*model, nn.ReLU(inplace=True))
    with record(clipped) as found:
        outputs = rb.run(clipped, sequence())
    assert torch.equal(found["2"].spikes, expected)
    assert torch.equal(outputs, expected.clamp(min=0))
    assert not torch.equal(outputs, expected)


def test_records_may_lie_within_one_another() -> None:
    model = net().eval()
    with record(model) as outer, record(model, "4") as inner:
        rb.run(model, sequence())
    assert torch.equal(outer["4"].potentials, inner["4"].potentials)


def test_a_second_sequence_is_refused() -> None:
    model = net()
    with record(model) as found:
        rb.run(model, sequence())
        with pytest.raises(ValueError, match="a second one begins"):
            rb.run(model, sequence())
        with pytest.raises(ValueError, match="a second one begins"):
            rb.step(model, sequence()[0])
    assert len(found["2"].spikes) == T


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "22"}, "Unknown layer of neurons '22'. Did you mean '2'"),
        ({"layers": ["2", "3"]}, "Unknown layer of neurons '3'"),
        ({"neurons": [-1]}, "Expected neurons as indices from 0 on"),
        ({"samples": []}, "Expected samples as indices from 0 on, at least one"),
        ({"neurons": {"4": [0], "8": [1]}}, "Unknown layer of neurons '8'"),
        ({"layers": "2", "neurons": {"2": [1]}}, "got both"),
        ({"neurons": [5]}, "Layer '7' has 5 neurons, 0 .. 4: it cannot be recorded at 5"),
        ({"samples": [0, 9]}, "Layer '2' has 4 samples, 0 .. 3: it cannot be recorded at 9"),
        ({"what": "spikes"}, "Expected `what` as a tuple"),
        ({"what": ["voltage"]}, "Expected `what` as a tuple"),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_the_reason(options: dict, message: str) -> None:
    model = net()
    with pytest.raises(ValueError, match=message), record(model, **options):
        rb.run(model, sequence())


def test_a_layer_that_was_not_recorded_is_asked_for_by_a_near_name() -> None:
    with record(net(), ["2", "7"]) as found, pytest.raises(ValueError, match=r"Unknown recorded layer '77'.*'7'"):
        found["77"]
    with pytest.raises(ValueError, match="with neurons"), record(nn.Linear(2, 2)):
        pass


class Noisy(Neuron):
    def initial_state(self, current: Tensor) -> State:
        return (torch.zeros_like(current),)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        potential = state[0] + current + torch.randn_like(current)
        return rb.spike(potential - 1, rb.Sigmoid()), (potential,)


def test_neurons_that_are_not_pure_are_not_told_about_wrongly() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 50), Noisy()).double()
    with pytest.raises(RuntimeError, match="not pure"), record(model):
        rb.run(model, sequence())
    with record(model, what=("spikes", "currents")) as found:
        outputs = rb.run(model, sequence())
    assert torch.equal(found["2"].spikes, outputs.bool())


def test_spikes_that_are_no_bits_are_told_as_they_are() -> None:
    class Graded(rb.LIF):
        def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
            spikes, after = super().dynamics(current, state)
            return 2 * spikes, after

    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 50), Graded(0.5)).double()
    with record(model) as found:
        outputs = rb.run(model, sequence())
    assert outputs.max() == 2
    assert torch.equal(found["2"].spikes, outputs)


def test_recorded_tensors_hold_on_to_nothing_of_the_model() -> None:
    model = net()
    with record(model) as found:
        rb.OTTT().backward(model, sequence()[:1], target(), loss=cross_entropy)
    for value in [*everything(found).values(), found["2"].traces["3"]]:
        assert not vars(value)
        assert not value.requires_grad


def test_bits_are_one_byte_each_and_nothing_else_is_kept() -> None:
    model = net()
    with record(model, "2", samples=[0], what=["spikes"]) as found:
        rb.run(model, sequence())
    storage = found["2"].spikes.untyped_storage()
    assert storage.nbytes() == T * 6 * 6 * 6
