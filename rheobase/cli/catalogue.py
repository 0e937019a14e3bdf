"""What there is to choose from, described by its own docstrings."""

import inspect
from collections.abc import Mapping
from typing import Any

from rheobase import datasets
from rheobase.datasets import DATASETS
from rheobase.losses import LOSSES
from rheobase.models import MODELS
from rheobase.models.sizes import parameters, published_input
from rheobase.neurons import NEURONS
from rheobase.rules import RULES
from rheobase.surrogates import SURROGATES
from rheobase.training.choice import options_of

_GIVEN = ("shape", "classes", "neuron")


def catalogue() -> dict[str, dict[str, tuple[str, str]]]:
    """For each kind of thing: name -> (one line about it, the text that chooses it with its options)."""
    return {
        "rules": described(RULES),
        "models": described(MODELS),
        "datasets": {
            name: (summary(make), call(name, datasets.options_of(name), left_out=("camera",)))
            for name, make in DATASETS.items()
        },
        "neurons": described(NEURONS),
        "surrogates": described(SURROGATES),
        "losses": {
            name: (summary(loss), call(name, options_of(loss), left_out=()) if isinstance(loss, type) else name)
            for name, loss in LOSSES.items()
        },
    }


def described(table: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    return {name: (summary(make), call(name, options_of(make), left_out=_GIVEN)) for name, make in table.items()}


def size_of(model: str) -> str:
    """How many parameters the model has on the data it is known for."""
    shape, classes = published_input(model)
    count = parameters(MODELS[model], shape, classes)
    return f"{count:,} parameters for {classes} outputs and steps of {' x '.join(map(str, shape))}"


def summary(thing: object) -> str:
    """The first line of its docstring, or of its class's."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def call(name: str, options: Mapping[str, object], left_out: tuple[str, ...]) -> str:
    """As `name(option=default, ...)`; an option without a default shows `...`."""
    parts = [
        f"{option}={'...' if default is inspect.Parameter.empty else repr(default)}"
        for option, default in options.items()
        if option not in left_out
    ]
    return f"{name}({', '.join(parts)})" if parts else name
