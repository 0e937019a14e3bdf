"""One training run, described by names and numbers alone."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, Literal, cast, get_type_hints

from torch import nn

from rheobase import datasets
from rheobase.datasets import Data, FlowData
from rheobase.losses import LOSSES
from rheobase.models import MODELS
from rheobase.names import choose
from rheobase.neurons import NEURONS, Neuron
from rheobase.rules import RULES
from rheobase.rules.rule import Loss, Rule
from rheobase.training.choice import chosen, read_call, require_fit, text_of
from rheobase.training.files import json_object

_LARGEST = 2**63 - 1  # what PyTorch takes as a seed; and no number that is infinite or NaN
_GIVEN = ("shape", "classes", "neuron")


@dataclass(frozen=True)
class Experiment:
    """One training run, described by names and numbers.

    Names may carry options: "digits(steps=16)", "mlp(hidden=[256, 128])", "lif(decay=0.9, surrogate=atan)".

    Raises ValueError for what is unknown or would have no effect.
    """

    data: str = "digits"
    """The data set; see `rheobase list datasets`."""
    model: str = "mlp"
    """The architecture; see `rheobase list models`."""
    neuron: str | None = None
    """The neurons of the model, None for its own choice; see `rheobase list neurons`."""
    rule: str | Rule = "bptt"
    """The learning rule, as text or, in Python, as an object; see `rheobase list rules`."""
    loss: str = "cross_entropy"
    """The loss of one step; see `rheobase list losses`."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """What moves the weights."""
    learning_rate: float = 5e-3
    """At the start."""
    schedule: Literal["cosine", "cosine_by_epoch", "constant"] = "cosine"
    """With cosine the learning rate falls to 0 over the run, batch by batch; by epoch it stays the same within each."""
    weight_decay: float = 0.0
    """Decoupled with adamw, a squared penalty with the others."""
    decays: Literal["all", "weights"] = "all"
    """What weight decay acts on: all parameters, or only the weights of layers (tensors of two or more dimensions)."""
    momentum: float = 0.0
    """Of sgd; the others have their own."""
    epochs: int = 25
    """Passes over the train part."""
    batch_size: int = 64
    """Samples in a batch, of all processes together."""
    drop_last: bool = True
    """Leave out an epoch's last batch where it is smaller than the others."""
    update: Literal["batch", "step"] = "batch"
    """When the weights move: after each batch, or at each learning step of its sequence (online rules)."""
    weights: str | None = None
    """The folder of a run whose best weights this one starts from; random ones without."""
    seed: int = 0
    """Of the weights, of the order of the samples and of what the rule draws; the data have a seed of their own."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """With auto the GPU where there is one."""
    chunk: int | None = None
    """Steps computed together, by the rule and in evaluation: more is faster and takes more memory."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of synapses; states, traces and weights stay in float32. float16 scales the loss."""
    clip_norm: float | None = None
    """Gradients longer than this are shortened to it, all parameters taken together."""
    on_bad: Literal["stop", "skip"] = "stop"
    """What to do when a batch's loss or gradient is not finite: stop, or leave it out (stop after 10 in a row)."""
    deterministic: bool = False
    """Only operations that give the same bits each time, also on a GPU; slower there."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            if field.name != "rule":
                require_fit(field.name, getattr(self, field.name), hints[field.name])
        self._require_numbers()
        datasets.require_options(*read_call(self.data))
        chosen("model", self.model, MODELS, given=_GIVEN)
        if self.neuron is not None:
            chosen("neuron", self.neuron, NEURONS)
        self.loss_function()
        self.learning_rule()

    def _require_numbers(self) -> None:
        for name in ("epochs", "batch_size", "chunk"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"Expected {name} >= 1, got {value}.")
        for name in ("weight_decay", "momentum", "seed"):
            if not 0 <= getattr(self, name) <= _LARGEST:
                raise ValueError(f"Expected {name} >= 0 and finite, got {getattr(self, name)}.")
        if not 0 < self.learning_rate <= _LARGEST:
            raise ValueError(f"Expected learning_rate > 0 and finite, got {self.learning_rate}.")
        if self.clip_norm is not None and not 0 < self.clip_norm <= _LARGEST:
            raise ValueError(f"Expected clip_norm > 0 and finite, got {self.clip_norm}.")
        if self.update == "step" and (self.clip_norm is not None or self.on_bad != "stop"):
            raise ValueError(
                'update="step" moves the weights before the whole gradient is known: leave out clip_norm and '
                'on_bad="skip".'
            )
        if self.decays != "all" and not self.weight_decay:
            raise ValueError(f'decays="{self.decays}" has no effect with weight_decay=0.')
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f'momentum={self.momentum} has no effect with optimizer="{self.optimizer}": use "sgd" or leave it out.'
            )

    def learning_rule(self) -> Rule:
        """The rule, with this experiment's chunk where the rule has such a knob."""
        rule = rule_named(self.rule) if isinstance(self.rule, str) else self.rule
        knobs: dict[str, object] = {field.name: field.default for field in fields(rule)} if is_dataclass(rule) else {}
        if self.chunk is None or "chunk" not in knobs:
            return rule
        own = vars(rule)["chunk"]
        if own not in (knobs["chunk"], self.chunk):
            raise ValueError(f"Two sizes of chunk: {self.chunk}, and {own} in {rule}. Leave one out.")
        return replace(rule, chunk=self.chunk)  # type: ignore[type-var]

    def load_data(self) -> Data | FlowData:
        name, options = read_call(self.data)
        return datasets.load(name, **options)

    def build_model(self, data: Data | FlowData) -> nn.Module:
        """The model for `data`, its weights drawn from torch's random generator."""
        make, options = chosen("model", self.model, MODELS, given=_GIVEN)
        if self.neuron is not None:
            options["neuron"] = self.make_neuron()
        model = make(data.train.shape, data.train.classes, **options)
        assert isinstance(model, nn.Module)
        return model

    def make_neuron(self) -> Callable[[], Neuron]:
        assert self.neuron is not None
        kind, options = chosen("neuron", self.neuron, NEURONS)
        return partial(kind, **options)

    def loss_function(self) -> Loss:
        name, options = read_call(self.loss)
        loss = choose("loss", name, LOSSES)
        if isinstance(loss, type):
            make, options = chosen("loss", self.loss, LOSSES)
            return cast("Loss", make(**options))
        if options:
            raise ValueError(f"Loss {name!r} has no options, got {', '.join(options)}.")
        return cast("Loss", loss)

    def settings(self) -> dict[str, Any]:
        """The fields as JSON has them; a rule object becomes its text."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"rule": rule_text(self.rule)}

    def to_json(self) -> str:
        return json.dumps(self.settings(), indent=2)

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> "Experiment":
        """The inverse of `settings`. Raises ValueError for a key that is no field."""
        if not isinstance(settings, Mapping):
            raise ValueError(f"Expected a JSON object of settings, got {type(settings).__name__}.")
        known = {field.name: field for field in fields(cls)}
        for key in settings:
            choose("setting", key, known)
        require_fit("rule", settings.get("rule", ""), str)
        return cls(**settings)

    @classmethod
    def from_json(cls, text: str) -> "Experiment":
        """The inverse of `to_json`."""
        return cls.of_settings(json_object(text, "the text of settings"))


def rule_named(text: str) -> Rule:
    """The rule that `text` describes: "sltt" or "sltt(steps=2)".

    Raises ValueError for an unknown name or option, naming near and known ones.
    """
    make, options = chosen("rule", text, RULES)
    rule: Rule = make(**options)
    return rule


def rule_text(rule: str | Rule) -> str:
    """The text that `rule_named` reads as this rule; the repr of one that is not in the table."""
    if isinstance(rule, str):
        return rule
    for name, kind in RULES.items():
        if type(rule) is kind:
            return text_of(name, rule)
    return repr(rule)
