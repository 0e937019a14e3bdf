"""Scikit-learn's handwritten digits: small, real, and inside a package."""

from dataclasses import replace

import torch

from rheobase.datasets.layouts import Static
from rheobase.datasets.samples import in_memory
from rheobase.datasets.sequences import Data, Sequences, stratified_order
from rheobase.datasets.splits import WHOLE, Split
from rheobase.explained import explained

TEST_SAMPLES = 397


def digits(*, steps: int = 8, split: Split = WHOLE) -> Data:
    """Digits: 1400 + 397 real 8x8 handwritten digits, shape [64] in [0, 1], shown for `steps` steps.

    The set has no published test part: ours is stratified and the same whatever the seed.
    """

    def flat(_: str, part: Sequences) -> Sequences:
        return replace(part, samples=in_memory(part.samples).flatten(1))

    return digit_images(steps=steps, split=split).each("digits", flat)


def digit_images(*, steps: int = 8, split: Split = WHOLE) -> Data:
    """The digits as images, shape [1, 8, 8].

    Raises ImportError, saying what to install, without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise explained(
            ImportError("The digits come with scikit-learn, which is not installed: `pip install 'rheobase[digits]'`."),
            "extras",
        ) from error
    found = load_digits()
    samples = torch.from_numpy(found.images).to(torch.float32).div_(16).unsqueeze(1)
    everything = Sequences(samples, torch.from_numpy(found.target).to(torch.int64), Static(steps), 10)
    order = stratified_order(everything.targets, seed=0)
    test, train = order[:TEST_SAMPLES], order[TEST_SAMPLES:]
    return split.divide("digits", everything.select(train), everything.select(test))
