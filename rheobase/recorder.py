"""What the neurons of a model do while it runs or learns, kept to be looked at."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from rheobase.names import choose
from rheobase.neurons import Neuron
from rheobase.synapses import SYNAPSES
from rheobase.watching import QUANTITIES, Choice, LayerWatch, SynapseWatch, What


class LayerRecord:
    """What one layer of neurons did in T steps of N samples, on the CPU.

    name: of the layer. neurons: which of them were chosen, as indices into one sample's, flattened; None for all.
    """

    def __init__(self, layer: LayerWatch, synapses: Mapping[str, SynapseWatch]) -> None:
        self.name, self.neurons = layer.choice.layer, layer.choice.neurons
        self._layer, self._synapses = layer, synapses

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the layer for one sample."""
        return self._layer.shape

    @property
    def spikes(self) -> Tensor:
        """`[T, N, ...]`, bool, where the neurons give out 0 and 1, else what they give out; chosen ones `[T, N, K]`."""
        return self._found("spikes", self._layer.spikes.whole())

    @property
    def potentials(self) -> Tensor:
        """As `spikes`, before the reset; of neurons without a `Firing` the first part of their state after the step."""
        return self._found("potentials", self._layer.potentials.whole())

    @property
    def currents(self) -> Tensor:
        """As `spikes`, what the neurons receive."""
        return self._found("currents", self._layer.currents.whole())

    @property
    def threshold(self) -> float | Tensor | None:
        """What the potentials are compared with; `[T, N, ...]` where it moves, None where the neurons have none."""
        moving = self._layer.thresholds.whole()
        return self._layer.threshold if moving is None else moving

    @property
    def traces(self) -> dict[str, Tensor]:
        """The traces of what these neurons give out, as `spikes`, at each synapse that hears it as it is, by its name.

        Empty for rules without traces; a norm or a pool between neurons and synapse makes it something else.
        """
        found = {name: synapse.trace_of(self._layer) for name, synapse in self._synapses.items()}
        return {name: trace for name, trace in found.items() if trace is not None}

    @property
    def slope_trace(self) -> Tensor | None:
        """The trace of the surrogate slope, as `spikes`; None for rules without postsynaptic traces."""
        return self._layer.slope_traces.whole()

    def _found(self, what: str, found: Tensor | None) -> Tensor:
        if found is None:
            wanted = ", ".join(self._layer.choice.what)
            raise ValueError(
                f"Layer {self.name!r} has no recorded {what}: run the model inside `with rheobase.record(model)`, "
                f"with {what!r} among what is recorded (here: {wanted})."
            )
        return found


class Record:
    """What the chosen layers of neurons did in one sequence.

    layers: by name, in the model's order; `record[name]` is one of them and helps with names that are not there.
    """

    def __init__(self, layers: Mapping[str, LayerRecord]) -> None:
        self.layers = layers

    def __getitem__(self, name: str) -> LayerRecord:
        return choose("recorded layer", name, self.layers)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


@contextmanager
def record(
    model: nn.Module,
    layers: str | Sequence[str] | None = None,
    *,
    neurons: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    samples: Sequence[int] | None = None,
    what: Sequence[What] = QUANTITIES,
) -> Iterator[Record]:
    """Records what the model's neurons do in the one sequence that is run, stepped through or learned from inside.

        with rheobase.record(model, neurons=[0, 1]) as record:
            rheobase.run(model, xs)
        record["2"].potentials  # [T, N, 2]

    layers: names of layers of neurons; all by default. samples: indices into the batch.
    neurons: indices into one sample's neurons, flattened: for each of the layers, or by layer.
    what: of "spikes", "potentials", "currents" and "traces".

    Outputs and gradients stay as they are, bit for bit. Potentials and slopes are computed a second time, by the
    neurons' `dynamics`. Passes that rules repeat are not recorded, nor is RateBP's pass through the rates.
    Memory: T steps of what is chosen, spikes as bool, and one step of each layer.

    Raises ValueError for unknown names and for a second sequence.
    """
    known = {name: module for name, module in model.named_modules() if isinstance(module, Neuron)}
    if not known:
        raise ValueError(f"Expected a model with neurons such as rheobase.LIF(), found none in {type(model).__name__}.")
    by_layer = chosen_neurons(layers, neurons, known)
    watches = {name: LayerWatch(known[name], Choice(name, own, samples, what)) for name, own in by_layer.items()}
    by_neuron: dict[nn.Module, LayerWatch] = {layer.neuron: layer for layer in watches.values()}
    synapses = {
        name: SynapseWatch(module, by_neuron)
        for name, module in model.named_modules()
        if isinstance(module, SYNAPSES) and "traces" in what
    }
    with ExitStack() as hooks:
        for layer in watches.values():
            hooks.enter_context(layer.watching())
        for synapse in synapses.values():
            hooks.enter_context(synapse.watching())
        yield Record({name: LayerRecord(layer, synapses) for name, layer in watches.items()})


def chosen_neurons(
    layers: str | Sequence[str] | None,
    neurons: Sequence[int] | Mapping[str, Sequence[int]] | None,
    known: Mapping[str, Neuron],
) -> dict[str, Sequence[int] | None]:
    """The neurons to record of each layer to record, None for all. Raises ValueError for layers that are not known."""
    if isinstance(neurons, Mapping):
        if layers is not None:
            raise ValueError("Expected layers, or neurons by layer, got both: the latter says which layers too.")
        found: dict[str, Sequence[int] | None] = dict(neurons)
    else:
        found = dict.fromkeys(known if layers is None else [layers] if isinstance(layers, str) else layers, neurons)
    for name in found:
        choose("layer of neurons", name, known)
    return found
