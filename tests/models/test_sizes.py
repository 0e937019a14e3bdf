"""The sizes that `rheobase list models` shows are those of the models as they are built."""

import pytest

from rheobase.cli import main
from rheobase.models import MODELS
from rheobase.models.sizes import INPUTS, parameters, published_input


@pytest.mark.parametrize("name", ["mlp", "recurrent", "resnet18", "vgg9", "vgg-f", "spikformer", "stllr-resnet18"])
def test_counting_without_memory_counts_what_is_there(name: str) -> None:
    shape, classes = published_input(name)
    assert parameters(MODELS[name], shape, classes) == sum(p.numel() for p in MODELS[name](shape, classes).parameters())


def test_every_model_can_be_counted_and_the_list_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert INPUTS.keys() <= MODELS.keys()
    assert main(["list", "models"]) == 0
    shown = capsys.readouterr().out
    assert shown.count(" outputs and steps of ") == len(MODELS)
    for count in ("11,173,962", "12,697,994", "21,797,688", "25,557,048", "44,549,193", "21,806,184", "9,228,362"):
        assert f"{count} parameters" in shown
