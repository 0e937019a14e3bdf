"""The validation part is held out of train, in the same proportions, again and again the same."""

import pytest
import torch

from rheobase.datasets import Sequences, Split, Static


def numbered(count, first):
    numbers = torch.arange(first, first + count)
    return Sequences(numbers.double(), numbers % 4, Static(1), 4)


def divide(**options):
    return Split(**options).divide("numbers", numbered(200, 0), numbered(80, 1000))


def numbers(part):
    return set(part.samples.tolist())


def test_the_parts_are_disjoint_and_validation_comes_out_of_train():
    data = divide(validation=0.1)
    assert len(data.validation) == 20
    assert numbers(data.train) | numbers(data.validation) == set(range(200))
    assert not numbers(data.train) & numbers(data.validation)
    assert numbers(data.test) == set(range(1000, 1080))


def test_every_part_has_the_classes_in_equal_shares():
    data = divide(validation=0.2, limit=100, evaluation_limit=20)
    for part, each in ((data.train, 25), (data.validation, 5), (data.test, 5)):
        assert part.targets.bincount().tolist() == [each] * 4


def test_the_seed_alone_decides_what_is_held_out():
    assert torch.equal(divide(seed=3).validation.samples, divide(seed=3).validation.samples)
    assert numbers(divide(seed=3).validation) != numbers(divide(seed=4).validation)
    assert numbers(divide(seed=3).test) == numbers(divide(seed=4).test)


def test_a_limit_keeps_the_beginning_of_train_and_leaves_the_rest_alone():
    whole, some = divide(), divide(limit=50)
    assert torch.equal(some.train.samples, whole.train.samples[:50])
    assert torch.equal(some.validation.samples, whole.validation.samples)
    assert torch.equal(some.test.samples, whole.test.samples)


def test_an_evaluation_limit_shortens_validation_and_test_only():
    whole, some = divide(), divide(evaluation_limit=30)
    assert torch.equal(some.train.samples, whole.train.samples)
    assert (len(some.validation), len(some.test)) == (20, 30)
    assert numbers(some.test) < numbers(whole.test)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0.0}, "between 0 and 1"),
        ({"validation": 1.0}, "between 0 and 1"),
        ({"validation": 0.001}, "leaves an empty part"),
        ({"limit": 0}, "limit of at least 1"),
        ({"limit": 181}, "limit up to 180"),
        ({"evaluation_limit": 81}, "20 validation and 80 test"),
    ],
)
def test_a_split_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        divide(**options)
