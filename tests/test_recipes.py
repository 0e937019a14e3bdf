"""Every published experiment can be named, built and trained on files in the real format."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rheobase.cli import main
from rheobase.cli.recipes import changed, starting_point
from rheobase.models.sizes import published_input
from rheobase.neurons import LIF
from rheobase.recipes import RECIPES
from rheobase.training import Experiment
from rheobase.training.choice import read_call, written_call


def test_names_tell_paper_and_data_and_each_has_a_source() -> None:
    for name, recipe in RECIPES.items():
        assert name == recipe.name
        assert recipe.summary.endswith(".")
        assert recipe.published
        assert recipe.source


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_described_by_its_settings_alone(name: str) -> None:
    experiment = RECIPES[name].make()
    assert Experiment.from_json(experiment.to_json()) == experiment


@pytest.mark.parametrize("name", [name for name in RECIPES if name.endswith("-bptt")])
def test_a_partner_differs_in_its_rule_alone_or_says_so(name: str) -> None:
    own, partner = RECIPES[name.removesuffix("-bptt")].make(), RECIPES[name].make()
    assert read_call(str(partner.rule))[0] == "bptt"
    assert read_call(str(own.rule))[0] != "bptt"
    model, _ = read_call(own.model)
    assert replace(partner, rule=own.rule, model=own.model) == own
    assert read_call(partner.model)[0] == model


def neurons_of(name: str) -> list[LIF]:
    """The neurons of a recipe's net at the size it was published for, without its weights."""
    experiment = RECIPES[name].make()
    shape, classes = published_input(read_call(experiment.model)[0])
    part = SimpleNamespace(shape=shape, classes=classes)
    with torch.device("meta"):
        net = experiment.build_model(SimpleNamespace(train=part))  # type: ignore[arg-type]
    return [module for module in net.modules() if isinstance(module, LIF)]


@pytest.mark.parametrize(
    "name", [name for name, own in RECIPES.items() if name.endswith("-bptt") and own.paper != "OTTT"]
)
def test_bptt_goes_through_the_reset_in_sltts_code_but_not_in_rate_bps_and_s_tllrs(name: str) -> None:
    """Online rules cut that path, so that only a partner's gradient shows what its net does there."""
    assert {neuron.firing.detach_reset for neuron in neurons_of(name)} == {RECIPES[name].paper != "SLTT"}


def test_no_two_recipes_are_one_experiment() -> None:
    settings = [recipe.make().to_json() for recipe in RECIPES.values()]
    assert len(set(settings)) == len(settings)


def test_figures_stand_beside_the_data_they_were_published_for() -> None:
    for name in ("sltt-cifar10-dvs", "sltt-cifar10-dvs-bptt", "sltt-cifar10-dvs-augmented"):
        recipe = RECIPES[name]
        augment = {"77.30": None, "73.60": None, "82.20": "roll"}[recipe.published]
        assert read_call(recipe.make().data)[1]["augment"] == augment
    readout = {"s-tllr-shd": 0.99331, "s-tllr-shd-bptt": 0.9999997}
    for name, decay in readout.items():
        assert read_call(RECIPES[name].make().model)[1]["readout_decay"] == decay


def test_what_departs_from_a_paper_is_said_of_all_its_recipes_alike() -> None:
    told = {name: recipe.departs for name, recipe in RECIPES.items()}
    assert all("float16" in told[name] for name in told if name.startswith("sltt-"))
    assert all("slices" in told[name] for name in told if name.startswith("s-tllr-gesture-"))
    assert all("each step" in told[name] for name in told if name.startswith("rate-bp-"))
    for name in ("s-tllr-shd-bptt", "s-tllr-gesture-resnet18-bptt"):
        assert "that of the sum" in told[name]


def test_settings_change_fields_and_options_of_texts() -> None:
    experiment, rest = starting_point(
        ["sltt-cifar10", "--set", "rule=ottt", "epochs=3", "data.steps=2", "--lr", "1", "--set", "model.width=0.5"]
    )
    assert (experiment.rule, experiment.epochs) == ("ottt", 3)
    assert read_call(experiment.data) == ("cifar10", {"steps": 2, "augment": "sltt"})
    assert read_call(experiment.model) == ("preact-resnet18", {"width": 0.5})
    assert rest == ["--lr", "1"]
    assert starting_point(["--epochs", "3"]) == (Experiment(), ["--epochs", "3"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sltt-cifar11"], "Did you mean 'sltt-cifar10"),
        (["--set"], "--set expects"),
        (["--set", "rule"], "--set expects"),
        (["--set", "rules=ottt"], "Did you mean 'rule'"),
        (["--set", "epochs=many"], "epochs expects int"),
        (["--set", "epochs.steps=3"], "epochs has no options"),
        (["--set", "data.stepps=3"], "Did you mean 'steps'"),
    ],
)
def test_a_mistake_in_a_setting_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        starting_point(arguments)


def test_a_value_may_be_a_text_a_number_or_nothing() -> None:
    started = changed(Experiment(), "weights=runs/1")
    assert started.weights == "runs/1"
    assert changed(started, "weights=none").weights is None
    assert changed(Experiment(), "chunk=4").chunk == 4


def test_the_list_shows_every_recipe_with_its_figure_and_one_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    shown = capsys.readouterr().out
    for recipe in RECIPES.values():
        assert recipe.name in shown
        assert recipe.published in shown or recipe.published == "not found"
    assert main(["recipes", "ottt-imagenet"]) == 0
    shown = capsys.readouterr().out
    assert "65.15" in shown
    assert "nf-resnet34" in shown
    assert main(["recipes", "otttt"]) == 2


def test_train_takes_a_recipe_and_flags_over_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "train", "s-tllr-shd", "--set", "data=digits(steps=3, limit=64)", "model=mlp(hidden=[16])", "neuron=lif",
        "rule.last=2",
        "--epochs", "1", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    assert main(arguments) == 0
    assert "s-tllr(" in capsys.readouterr().out
    experiment = Experiment.of_settings(json.loads((tmp_path / "run" / "config.json").read_text())["experiment"])
    assert experiment.learning_rate == RECIPES["s-tllr-shd"].make().learning_rate
    assert (experiment.epochs, experiment.drop_last) == (1, False)


def test_written_options_are_read_back() -> None:
    for text in ("lif", "cifar10(steps=6, augment='sltt')", "mlp(hidden=[256, 128])"):
        assert written_call(*read_call(text)) == text
