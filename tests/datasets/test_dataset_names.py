"""The table of data sets: names, options, descriptions."""

import subprocess
import sys

import pytest

from rheobase.datasets import DATASETS, descriptions, load, options_of
from rheobase.training import Experiment
from rheobase.training.choice import written_call


def test_an_unknown_name_is_answered_with_the_near_ones():
    with pytest.raises(ValueError, match=r"Unknown data set 'fashion-minst'. Did you mean 'fashion-mnist'"):
        load("fashion-minst")


@pytest.mark.parametrize("name", ["Fashion_MNIST", "fashionmnist", "FASHION-MNIST"])
def test_a_name_in_another_spelling_is_answered_with_the_one_that_is_meant(name):
    with pytest.raises(ValueError, match=rf"Unknown data set '{name}'\. Did you mean 'fashion-mnist'\? Known"):
        load(name)


@pytest.mark.parametrize(
    ("name", "option"), [("digits", "stepz"), ("row-digits", "steps"), ("saccade-digits", "source")]
)
def test_an_option_without_effect_is_refused_with_those_there_are(name, option):
    with pytest.raises(ValueError, match=f"{option!r}.*Known: .*validation") as caught:
        load(name, **{option: 3})
    assert all(known in str(caught.value) for known in options_of(name))


def test_options_of_the_split_reach_it_over_the_sets_own():
    assert options_of("saccade-mnist")["limit"] == 3000
    assert options_of("digits") == {
        "steps": 8,
        "validation": 0.1,
        "seed": 0,
        "limit": None,
        "evaluation_limit": None,
    }
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    data = load("digits", steps=3, limit=50, evaluation_limit=20, validation=0.2)
    assert (data.train.steps, len(data.train), len(data.validation), len(data.test)) == (3, 50, 20, 20)


@pytest.mark.parametrize(
    ("name", "option", "value", "kind"),
    [
        ("dvs128-gesture", "repeats", "no", "bool"),
        ("cifar10-dvs", "sort", 1, "bool"),
        ("digits", "steps", 2.5, "int"),
        ("digits", "steps", True, "int"),
        ("shd", "window", "0.01", "float"),
        ("cifar10", "augment", 3, "str"),
    ],
)
def test_a_value_of_another_kind_than_the_default_is_refused(name, option, value, kind):
    """Most would be taken: "no" for true, 2.5 for the steps that the command line shows."""
    with pytest.raises(ValueError, match=f"{name!r} expects {option} as {kind}, got {value!r}"):
        load(name, **{option: value})
    with pytest.raises(ValueError, match=f"expects {option} as {kind}"):
        Experiment(data=written_call(name, {option: value}))


def test_none_is_the_word_where_the_default_is_a_word_and_elsewhere_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        load("cifar10-dvs", augment=None, root=tmp_path)
    with pytest.raises(ValueError, match="Unknown framing 'none'"):
        load("n-mnist", framing=None)
    assert Experiment(data="saccade-mnist(limit=none)").data == "saccade-mnist(limit=none)"


def test_every_set_has_a_line_of_its_own_and_takes_the_common_options():
    lines = descriptions()
    assert list(lines) == list(DATASETS)
    assert len(set(lines.values())) == len(lines)
    for name, line in lines.items():
        assert 20 < len(line) <= 110
        assert {"seed", "limit", "evaluation_limit", "validation"} <= set(options_of(name))


def test_nothing_but_torch_and_numpy_is_imported_before_it_is_needed():
    code = "import sys, rheobase.datasets; print([m for m in ('sklearn', 'torchvision', 'tonic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
