"""OTTT, Xiao et al., NeurIPS 2022 (arXiv 2210.04195): A gathers the gradient of a sequence, O moves at each step."""

from dataclasses import replace

from rheobase.recipes.recipe import DIGEST, NOT_READ, Recipe, recipe
from rheobase.training import Experiment

PAPER = "OTTT"
BPTT = "bptt"


@recipe("ottt-cifar10", paper=PAPER, published="93.52 +- 0.06 (93.58)", source=DIGEST)
def ottt_cifar10() -> Experiment:
    """VGG with standardised weights on CIFAR-10, T = 6, 300 epochs."""
    return Experiment(
        data="cifar10(steps=6, augment=ottt)", model="vgg-sws", rule="ottt", loss="cross_entropy_mse(weight=0.05)",
        optimizer="sgd", learning_rate=0.1, momentum=0.9, schedule="cosine_by_epoch", epochs=300, batch_size=128,
        drop_last=False,
    )  # fmt: skip


@recipe("ottt-cifar100", paper=PAPER, published="71.05 +- 0.04 (71.11)", source=DIGEST)
def ottt_cifar100() -> Experiment:
    """VGG with standardised weights on CIFAR-100, T = 6, 300 epochs."""
    return replace(ottt_cifar10.make(), data="cifar100(steps=6, augment=ottt)")


@recipe("ottt-cifar100-vgg-f", paper=PAPER, published="72.63 +- 0.23 (72.94)", source=DIGEST)
def ottt_cifar100_feedback() -> Experiment:
    """VGG with standardised weights and a feedback connection on CIFAR-100, T = 6, 300 epochs."""
    return replace(ottt_cifar100.make(), model="vgg-f")


@recipe(
    "ottt-imagenet",
    paper=PAPER,
    published="65.15",
    source=DIGEST,
    departs="the learning rate falls as a cosine, as in the code; the paper may have divided it by 10 each 30 epochs",
)
def ottt_imagenet() -> Experiment:
    """NF-ResNet-34 on ImageNet, T = 6, 100 epochs."""
    return Experiment(
        data="imagenet(steps=6)", model="nf-resnet34", rule="ottt(readout_trace=False)", optimizer="sgd",
        learning_rate=0.1, momentum=0.9, weight_decay=2e-5, schedule="cosine_by_epoch", epochs=100, batch_size=256,
        drop_last=False,
    )  # fmt: skip


@recipe("ottt-cifar10-dvs", paper=PAPER, published="76.27 +- 0.05 (76.30)", source=DIGEST)
def ottt_cifar10_dvs() -> Experiment:
    """VGG with standardised weights on CIFAR10-DVS at 48x48, T = 10, 300 epochs."""
    return replace(
        ottt_cifar10.make(), data="cifar10-dvs(steps=10, size=48, augment=crop)", model="vgg-sws(dropout=0.1)",
        loss="cross_entropy_mse(weight=0.001)",
    )  # fmt: skip


@recipe("ottt-gesture", paper=PAPER, published="96.88", source=DIGEST)
def ottt_gesture() -> Experiment:
    """VGG with standardised weights on DVS128-Gesture at 128x128, T = 20, 300 epochs."""
    return Experiment(
        data="dvs128-gesture(steps=20, framing=count, size=128)", model="vgg-sws", rule="ottt",
        loss="cross_entropy_mse(weight=0.001)", optimizer="adam", learning_rate=1e-3, schedule="cosine_by_epoch",
        epochs=300, batch_size=16, drop_last=False,
    )  # fmt: skip


def online(own: Recipe, published: str) -> Recipe:
    """OTTT-O: the weights move at each step."""
    return own.partner("online", published, DIGEST, update="step")


OTTT = (
    ottt_cifar10,
    online(ottt_cifar10, "93.49 +- 0.17 (93.73)"),
    ottt_cifar10.partner("bptt", "92.78 +- 0.34 (93.23)", DIGEST, rule=BPTT),
    ottt_cifar100,
    online(ottt_cifar100, "71.05 +- 0.06 (71.11)"),
    ottt_cifar100.partner("bptt", "69.06 +- 0.07 (69.15)", DIGEST, rule=BPTT),
    ottt_cifar100_feedback,
    ottt_imagenet,
    online(ottt_imagenet, "64.16"),
    ottt_cifar10_dvs,
    online(ottt_cifar10_dvs, "76.63 +- 0.34 (77.10)"),
    ottt_cifar10_dvs.partner("bptt", "72.60 +- 1.26 (73.90)", DIGEST, rule=BPTT),
    ottt_gesture,
    online(ottt_gesture, NOT_READ),
    ottt_gesture.partner("bptt", "96.88", DIGEST, rule=BPTT),
)
