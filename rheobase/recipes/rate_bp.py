"""Rate-based backpropagation, Yu et al., NeurIPS 2024 (arXiv 2410.11488), each net with its BPTT partner.

The cells of the paper's tables could not be read; it reports "comparable performance with BPTT" and three-run means.
"""

from collections.abc import Iterator

from rheobase.recipes.recipe import NOT_READ, Recipe
from rheobase.training import Experiment

PAPER = "rate-based backpropagation"
NETS = {"resnet18": "ResNet-18", "resnet19": "ResNet-19", "vgg11": "VGG-11"}
IMAGENET_NETS = {"sew-resnet34": "SEW-ResNet-34", "preact-resnet34": "PreAct-ResNet-34"}
BPTT = "bptt(objective=mean_output)"  # the loss of the mean output, as here
NORMS = "norms have the statistics of each step, the paper's single-step mode; its multi-step mode has those of all"


def _cifar(classes: int, model: str) -> Experiment:
    return Experiment(
        data=f"cifar{classes}(steps=4, augment=rate)", model=model, rule="rate-bp(scale=paper)", optimizer="sgd",
        learning_rate=0.1, momentum=0.9, weight_decay=5e-4, decays="weights", schedule="cosine_by_epoch", epochs=300,
        batch_size=128, drop_last=False,
    )  # fmt: skip


def _cifar10_dvs() -> Experiment:
    """VGGSNN on CIFAR10-DVS at 48x48, T = 10, 300 epochs."""
    return Experiment(
        data="cifar10-dvs(steps=10, size=48, augment=roll, split_by=random)", model="vggsnn",
        rule="rate-bp(scale=paper)", optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=5e-4,
        decays="weights", schedule="cosine_by_epoch", epochs=300, batch_size=128, drop_last=False,
    )  # fmt: skip


def _imagenet(model: str) -> Experiment:
    return Experiment(
        data="imagenet(steps=4)", model=model, rule="rate-bp(scale=paper)", optimizer="sgd", learning_rate=0.2,
        momentum=0.9, weight_decay=2e-5, decays="weights", schedule="cosine_by_epoch", epochs=100, batch_size=512,
        drop_last=False,
    )  # fmt: skip


def _recipes() -> Iterator[Recipe]:
    for classes in (10, 100):
        for model, title in NETS.items():

            def cifar(classes: int = classes, model: str = model) -> Experiment:
                return _cifar(classes, model)

            cifar.__doc__ = f"{title} on CIFAR-{classes}, T = 4 (the paper: 2, 4, 6), 300 epochs."
            yield Recipe(f"rate-bp-cifar{classes}-{model}", cifar, PAPER, NOT_READ, NOT_READ, NORMS)
    for model, title in IMAGENET_NETS.items():

        def imagenet(model: str = model) -> Experiment:
            return _imagenet(model)

        imagenet.__doc__ = f"{title} on ImageNet, T = 4, 100 epochs."
        yield Recipe(
            f"rate-bp-imagenet-{model}", imagenet, PAPER, NOT_READ, NOT_READ,
            departs=f"512 samples in one batch on one device; the paper: 8 GPUs with synchronised BatchNorm; {NORMS}",
        )  # fmt: skip
    yield Recipe("rate-bp-cifar10-dvs", _cifar10_dvs, PAPER, NOT_READ, NOT_READ, NORMS)


RATE_BP = tuple(each for own in _recipes() for each in (own, own.partner("bptt", NOT_READ, NOT_READ, rule=BPTT)))
