import json

import pytest
import torch

from rheobase.neurons import PLIF
from rheobase.rules import SLTT, TruncatedBPTT
from rheobase.training import Experiment


@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(),
        Experiment(
            data="row-digits(limit=50)", model="recurrent(hidden=7)", neuron="plif(decay=0.9)",
            rule="truncated-bptt(horizon=2)", optimizer="sgd", momentum=0.9, seed=5, chunk=2, device="cpu",
        ),
    ],
)  # fmt: skip
def test_an_experiment_is_the_same_after_json(experiment):
    assert Experiment.from_json(experiment.to_json()) == experiment


def test_a_rule_object_is_kept_in_json_as_its_text():
    experiment = Experiment(rule=SLTT(steps=2))
    assert Experiment.from_json(experiment.to_json()).learning_rule() == SLTT(steps=2)


def test_an_unknown_key_in_json_is_refused():
    settings = Experiment().settings() | {"epoch": 3}
    with pytest.raises(ValueError, match="Did you mean 'epochs'"):
        Experiment.from_json(json.dumps(settings))


def test_a_rule_outside_the_table_trains_but_is_not_read_back():
    class Mine:
        def __repr__(self):
            return "Mine()"

    experiment = Experiment(rule=Mine())
    assert isinstance(experiment.learning_rule(), Mine)
    with pytest.raises(ValueError, match="Unknown rule 'Mine'"):
        Experiment.from_json(experiment.to_json())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"data": "digit"}, "digits"),
        ({"data": "digits(step=3)"}, "steps"),
        ({"model": "mpl"}, "mlp"),
        ({"model": "mlp(hiden=[3])"}, "hidden"),
        ({"model": "mlp(hidden=3)"}, "Sequence"),
        ({"model": "mlp(neuron=lif)"}, "Known: hidden"),
        ({"neuron": "liff"}, "lif"),
        ({"neuron": "lif(decai=0.5)"}, "decay"),
        ({"rule": "ot"}, "ottt"),
        ({"loss": "crossentropy"}, "cross_entropy"),
        ({"optimizer": "adm"}, "adamw"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"chunk": 2, "rule": "sltt(chunk=4)"}, "Two sizes of chunk"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_at_once(setting, message):
    with pytest.raises(ValueError, match=message):
        Experiment(**setting)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_momentum_is_refused_where_it_has_no_effect(optimizer):
    with pytest.raises(ValueError, match="no effect"):
        Experiment(optimizer=optimizer, momentum=0.9)
    assert Experiment(optimizer="sgd", momentum=0.9).momentum == 0.9


def test_the_chunk_reaches_the_rule():
    experiment = Experiment(rule="truncated-bptt(horizon=4)", chunk=2)
    assert experiment.learning_rule() == TruncatedBPTT(horizon=4, chunk=2)
    assert Experiment(rule="sltt", chunk=4).learning_rule() == SLTT(chunk=4)
    assert Experiment(rule="sltt(chunk=4)", chunk=4).learning_rule() == SLTT(chunk=4)


def test_the_neuron_replaces_that_of_the_model():
    experiment = Experiment(neuron="plif(decay=0.75)", model="mlp(hidden=[3, 3])")
    model = experiment.build_model(experiment.load_data())
    decays = [float(neuron.membrane_decay()) for neuron in model.modules() if isinstance(neuron, PLIF)]
    torch.testing.assert_close(decays, [0.75, 0.75])
