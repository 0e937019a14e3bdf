"""An experiment with nothing left to defaults, which another version may have changed."""

from collections.abc import Callable
from typing import Any

from rheobase import datasets
from rheobase.losses import LOSSES
from rheobase.models import MODELS
from rheobase.neurons import NEURONS
from rheobase.rules import RULES
from rheobase.rules.rule import Rule
from rheobase.training.choice import options_of, read_call, written_call
from rheobase.training.experiment import Experiment, rule_text

_GIVEN = ("shape", "classes", "neuron")


def resolved(experiment: Experiment) -> dict[str, str]:
    """What `experiment` names, with all options: data, model, neuron (where it is chosen), rule and loss."""
    found = {
        "data": complete(experiment.data, datasets.options_of),
        "model": complete(experiment.model, lambda name: options_of(MODELS[name])),
        "rule": resolved_rule(experiment.learning_rule()),
        "loss": complete(experiment.loss, options_of_loss),
    }
    if experiment.neuron is not None:
        found["neuron"] = complete(experiment.neuron, lambda name: options_of(NEURONS[name]))
    return found


def resolved_rule(rule: Rule) -> str:
    """The repr of a rule that has no name."""
    if type(rule) not in RULES.values():
        return repr(rule)
    return complete(rule_text(rule), lambda name: options_of(RULES[name]))


def complete(text: str, defaults: Callable[[str], dict[str, Any]]) -> str:
    """The text with all options, those of `defaults` where it does not give its own."""
    name, options = read_call(text)
    known = {option: default for option, default in defaults(name).items() if option not in _GIVEN}
    return written_call(name, known | options)


def options_of_loss(name: str) -> dict[str, Any]:
    loss = LOSSES[name]
    return options_of(loss) if isinstance(loss, type) else {}
