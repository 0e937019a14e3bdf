"""What each layer of a model costs on a sequence, and what each rule costs in learning from it."""

import copy
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rheobase.aside import RandomStates
from rheobase.chunks import few_steps
from rheobase.engine import Sweep
from rheobase.inference import require_neurons
from rheobase.measure.memory import training_memory
from rheobase.measure.operations import Count, Counting, is_part, layers_of
from rheobase.measure.plan_time import timed
from rheobase.measure.profile_formulas import Formula, paper_formula
from rheobase.measure.profile_kept import kept_by_layer
from rheobase.measure.profile_time import seconds_of_layers
from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import Feed, PerStep, Target
from rheobase.synapses import SYNAPSES
from rheobase.training.anomalies import aside
from rheobase.training.experiment import rule_named, rule_text

REFUSALS = (ValueError, TypeError, NotImplementedError)
_BLANK = (nn.Identity, nn.Flatten, nn.Unflatten)


@dataclass(frozen=True)
class Energy:
    """Picojoules of one operation; 32 bits at 45 nm by default (Horowitz, ISSCC 2014).

    mac: a multiplication and its addition. ac: an addition. update: of a neuron at one step, taken as one mac; papers
        often leave it out (0). Reading and moving data, which often costs more than all of these, does not count.
    """

    mac: float = 4.6
    ac: float = 0.9
    update: float = 4.6


@dataclass(frozen=True)
class LayerProfile:
    """One layer; all counts are of one sample's sequence of T steps, each step on its own.

    rate_in, rate_out: the share of values other than zero; of neurons the firing rate.
    dense_macs: multiplications with zeros and padding, half of what `torch.utils.flop_counter` counts.
    spike_driven: whether it receives only 0 and one other size. Then `acs` additions do: each spike times the weights
        other than zero that it meets. Otherwise `macs` multiplications, which are the dense ones.
    updates: of neurons. state_bytes: what it carries from step to step, of one sample.
    picojoules: as Energy has it. Norms count nothing: they melt into weights once their statistics stand.
    """

    name: str
    kind: str
    parameters: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    rate_in: float
    rate_out: float
    spike_driven: bool
    dense_macs: float
    macs: float
    acs: float
    updates: float
    state_bytes: float
    picojoules: float


@dataclass(frozen=True)
class RuleProfile:
    """What one `backward` of a rule on the whole batch takes; `refusal` says why there is nothing.

    kept, peak: bytes, see `TrainingMemory`. kept_by_layer: the most for each layer, at moments of their own.
    seconds: of the fastest of three calls. seconds_by_layer: forward and backward, under the profiler, on the CPU; a
        fused norm's backward is at its neuron.
    formula: what the papers' own counting says.
    """

    rule: str
    kept: int = 0
    peak: int = 0
    seconds: float = math.nan
    kept_by_layer: dict[str, int] = field(default_factory=dict)
    seconds_by_layer: dict[str, tuple[float, float]] = field(default_factory=dict)
    formula: Formula | None = None
    refusal: str | None = None


@dataclass(frozen=True)
class Profile:
    """steps, samples: of the batch looked at. neurobench: its metrics under its own names and definitions."""

    steps: int
    samples: int
    energy: Energy
    layers: tuple[LayerProfile, ...]
    rules: tuple[RuleProfile, ...]
    neurobench: dict[str, float | dict[str, float]]

    def total(self, what: str) -> float:
        """The sum of one of the layers' figures."""
        return float(sum(getattr(layer, what) for layer in self.layers))

    @property
    def dense_picojoules(self) -> float:
        """Of the same synapses as a net without spikes, which multiplies all at each step."""
        return self.energy.mac * self.total("dense_macs")


def profile(
    model: nn.Module,
    xs: Tensor,
    target: Target | None = None,
    *,
    loss: Loss | None = None,
    rules: Sequence[str | Rule] = (),
    energy: Energy = Energy(),
) -> Profile:
    """What the model computes on the sequence `xs` `[T, N, ...]`, in the mode it is in; it stays as it is.

    rules: what learning takes is measured for each of them, from `target` by `loss`.

    Counted is what hardware does that knows no more than the present step: a layer whose input never changes counts at
    each step, though this library computes it once.
    """
    require_neurons(model)
    if rules and (target is None or loss is None):
        raise ValueError("Expected a target and a loss with rules: what they take is measured by learning from these.")
    (counts, states), parameters = _counted(model, xs), parameters_of(model)
    layers = tuple(
        _layer(name, parameters[name], count, states, xs.shape[1], energy)
        for name, count in counts.items()
        if not isinstance(model.get_submodule(name), _BLANK)
    )
    spiking = sum(math.prod(layer.output_shape) for layer in layers if layer.updates)
    macs = sum(layer.dense_macs for layer in layers) / len(xs)
    made = [rule_named(rule) if isinstance(rule, str) else rule for rule in rules]
    found = []
    for rule in made:
        assert target is not None
        assert loss is not None
        found.append(_rule(model, rule, xs, target, loss, paper_formula(rule, len(xs), macs, spiking)))
    return Profile(len(xs), xs.shape[1], energy, layers, tuple(found), neurobench(model, counts, xs.shape[1]))


def _counted(model: nn.Module, xs: Tensor) -> tuple[dict[str, Count], dict[str, float]]:
    """What the layers compute, and the bytes of state of each for all samples, by name."""
    feed, names = Feed(xs), {module: name for name, module in model.named_modules()}
    with aside(model, RandomStates(xs.device)), torch.no_grad(), Sweep(model, steps=feed.steps) as sweep:
        with Counting(model, xs.shape[1]) as counting:
            for part in few_steps(model, None).chunks(feed, sweep):
                sweep.forward(part, steady=feed.is_steady)
        states = {names[m]: float(sum(part.nbytes for part in state)) for m, state in sweep.states.items()}
    for name in (*states, *parameters_of(model)):  # what has no product of its own
        counting.counts.setdefault(name, Count(type(model.get_submodule(name)).__name__))
    return counting.counts, states


def parameters_of(model: nn.Module) -> Counter[str]:
    """How many numbers learn or could, by layer; those that several layers share are the first one's."""
    layers, found = layers_of(model), Counter[str]()
    for name, parameter in model.named_parameters():
        owner = name.rpartition(".")[0]
        found[next((layer for layer in layers if is_part(name, [layer])), owner)] += parameter.numel()
    return found


def _layer(
    name: str, parameters: int, count: Count, states: dict[str, float], samples: int, energy: Energy
) -> LayerProfile:
    dense, updates = count.dense / samples, count.updates / samples
    acs = count.effective / samples if count.spike_driven else 0.0
    macs = 0.0 if count.spike_driven else dense
    return LayerProfile(
        name, count.kind, parameters, count.inputs.shape, count.outputs.shape, count.inputs.rate, count.outputs.rate,
        count.spike_driven and dense > 0, dense, macs, acs, updates, states.get(name, 0.0) / samples,
        energy.mac * macs + energy.ac * acs + energy.update * updates,
    )  # fmt: skip


def _rule(model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, formula: Formula | None) -> RuleProfile:
    text = rule_text(rule)
    copied = copy.deepcopy(model)

    def call() -> object:
        return rule.backward(copied, xs, target, loss=loss)

    try:
        memory = training_memory(rule, model, xs, target, loss)
    except REFUSALS as error:
        return RuleProfile(text, refusal=str(error))
    targets = target.targets if isinstance(target, PerStep) else target
    there = [xs, targets, *copied.parameters(), *copied.buffers()]
    with aside(copied, RandomStates(xs.device)):
        kept = kept_by_layer(copied, call, there=there)
        seconds = {} if xs.is_cuda else seconds_of_layers(copied, call)
    fastest = timed(copied, rule, xs, target, loss, xs.shape[1])
    return RuleProfile(text, memory.kept, memory.peak, fastest, kept, seconds, formula)


def neurobench(model: nn.Module, counts: dict[str, Count], samples: int) -> dict[str, float | dict[str, float]]:
    """NeuroBench's metrics, by its names, for one sample's sequence.

    footprint: bytes of parameters and buffers. connection_sparsity: zeros among the synapses' weights.
    activation_sparsity: zeros among what the neurons give out. synaptic_operations: `Effective_ACs` where all that a
    layer gets at a step is -1, 0 or 1, `Effective_MACs` elsewhere, zeros of inputs and weights left out; `Dense` with
    them. Padding and biases do not count.
    """
    weights = [m.weight for m in model.modules() if isinstance(m, SYNAPSES)]
    zeros, number = sum(int((w == 0).sum()) for w in weights), sum(w.numel() for w in weights)
    neurons = [count for count in counts.values() if count.updates]
    active, given = (sum(getattr(count.outputs, what) for count in neurons) for what in ("active", "number"))
    return {
        "footprint": float(sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))),
        "connection_sparsity": round(zeros / number, 4) if number else 0.0,
        "activation_sparsity": (given - active) / given if given else 0.0,
        "synaptic_operations": {
            "Effective_MACs": sum(count.effective_macs for count in counts.values()) / samples,
            "Effective_ACs": sum(count.effective_acs for count in counts.values()) / samples,
            "Dense": sum(count.all_ones for count in counts.values()) / samples,
        },
    }
