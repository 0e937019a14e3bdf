"""What the papers do to CIFAR's images before a network sees them, clean and as released."""

from typing import Literal

from rheobase.datasets.sequences import Data
from rheobase.names import choose
from rheobase.transforms import AutoAugment, Cutout, Flip, Normalise, RandomCrop, Scale, TorchtoolboxCutout, Transform

Augmentation = Literal["none", "basic", "sltt", "ottt", "rate"]
Pipeline = Literal["clean", "paper"]

STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}


def augmented(name: str, data: Data, pipeline: Pipeline, augment: Augmentation) -> Data:
    """The data, images of bytes, normalised by the set's mean and deviation, those of the train part changed at random.

    augment: "none"; "basic", a crop of 32 from the image padded by 4 and a flip; "sltt" and "ottt", basic with
        torchtoolbox's cutout; "rate", that of rate-based backpropagation, basic with CIFAR-10's AutoAugment policy
        and one hole of 16.
    pipeline: "paper" has what the papers' code does wrong. sltt, ottt: the patch cut out is red to black instead of
        of any colour. ottt: CIFAR-100 is normalised with CIFAR-10's statistics. rate: the hole is cut before
        normalising, so it is black instead of the mean, and the policy is the table in their code.

    Raises ValueError for pipeline="paper" with an augmentation of which no defect is known.
    """
    before, after = choose("augmentation", augment, steps_of(choose("pipeline", pipeline, _IS_PAPER)))
    if pipeline == "paper" and augment in ("none", "basic"):
        raise ValueError(
            f'pipeline="paper" has no effect with augment={augment!r}: leave it out, or use "sltt", "ottt" or "rate".'
        )
    whose = "cifar10" if pipeline == "paper" and augment == "ottt" else name
    normalise = Normalise(*STATISTICS[whose])
    scaled = data.transformed(every=(Scale(),))
    return scaled.transformed(train=before, every=(normalise,)).transformed(train=after)


_IS_PAPER = {"clean": False, "paper": True}


def steps_of(paper: bool) -> dict[str, tuple[tuple[Transform, ...], tuple[Transform, ...]]]:
    """For each augmentation what comes before normalising, on images in [0, 1], and what comes after."""
    crop, flip, hole = RandomCrop(32, padding=4), Flip(), Cutout(16)
    toolbox = (crop, TorchtoolboxCutout(fill="red" if paper else "random"), flip)
    varied = (crop, flip, AutoAugment("rate-bp" if paper else "cifar10"))
    return {
        "none": ((), ()),
        "basic": ((crop, flip), ()),
        "sltt": (toolbox, ()),
        "ottt": (toolbox, ()),
        "rate": ((*varied, hole), ()) if paper else (varied, (hole,)),
    }
