"""SLTT and SLTT-K, Meng et al., ICCV 2023 (arXiv 2302.14311)."""

from dataclasses import replace

from rheobase.recipes.recipe import NOT_READ, SURVEY, Recipe, recipe
from rheobase.training import Experiment

PAPER = "SLTT"
LIF = "lif(tau=1.1, surrogate=triangle)"
BPTT = "bptt"
FLOAT32 = "float32; the paper computes in float16 with a scaled loss (precision=float16, on a GPU)"


@recipe("sltt-cifar10", paper=PAPER, published="94.44 (94.59)", source=f"two texts; best {SURVEY}", departs=FLOAT32)
def sltt_cifar10() -> Experiment:
    """PreAct-ResNet-18 on CIFAR-10, T = 6, 200 epochs."""
    return Experiment(
        data="cifar10(steps=6, augment=sltt)", model="preact-resnet18", rule="sltt",
        loss="cross_entropy_mse(weight=0.05, towards=one)", optimizer="sgd", learning_rate=0.1, momentum=0.9,
        weight_decay=5e-5, schedule="cosine_by_epoch", epochs=200, batch_size=128, drop_last=False, seed=2022,
    )  # fmt: skip


@recipe("sltt-cifar100", paper=PAPER, published="74.38 (74.67)", source=f"two texts; best {SURVEY}", departs=FLOAT32)
def sltt_cifar100() -> Experiment:
    """PreAct-ResNet-18 on CIFAR-100, T = 6, 200 epochs."""
    return replace(sltt_cifar10.make(), data="cifar100(steps=6, augment=sltt)", weight_decay=5e-4)


@recipe("sltt-cifar10-dvs", paper=PAPER, published="77.30", source=SURVEY, departs=FLOAT32)
def sltt_cifar10_dvs() -> Experiment:
    """VGG-11-BN on CIFAR10-DVS at 48x48, T = 10, 300 epochs, not augmented."""
    return Experiment(
        data="cifar10-dvs(steps=10, size=48, augment=none)", model="vgg11-bn(dropout=0.3, head=paper)", rule="sltt",
        loss="cross_entropy_mse(weight=0.05)", optimizer="sgd", learning_rate=0.05, momentum=0.9, weight_decay=5e-4,
        schedule="cosine_by_epoch", epochs=300, batch_size=128, drop_last=False, seed=2022,
    )  # fmt: skip


@recipe("sltt-gesture", paper=PAPER, published="97.92", source=SURVEY, departs=FLOAT32)
def sltt_gesture() -> Experiment:
    """VGG-11-BN on DVS128-Gesture at 128x128, T = 20, 300 epochs."""
    return Experiment(
        data="dvs128-gesture(steps=20, framing=count, size=128)", model="vgg11-bn(dropout=0.4, head=paper)",
        rule="sltt", loss="cross_entropy_mse(weight=0.05, towards=one)", optimizer="sgd", learning_rate=0.1,
        momentum=0.9, weight_decay=5e-4, schedule="cosine_by_epoch", epochs=300, batch_size=16, drop_last=True,
        seed=2022,
    )  # fmt: skip


def imagenet(depth: int, rule: str, published: str) -> tuple[Recipe, Recipe]:
    """The two stages on ImageNet: 100 epochs at T = 1, then 30 at T = 6 from the first one's weights."""
    first = f"sltt-imagenet-nf-resnet{depth}-stage1"

    def stage1() -> Experiment:
        return Experiment(
            data="imagenet(steps=1)", model=f"nf-resnet{depth}", neuron=LIF, rule="sltt", optimizer="sgd",
            learning_rate=0.1, momentum=0.9, weight_decay=1e-5, schedule="cosine_by_epoch", epochs=100,
            batch_size=256, drop_last=False, seed=2022,
        )  # fmt: skip

    def stage2() -> Experiment:
        return replace(
            stage1(), data="imagenet(steps=6)", rule=rule, learning_rate=0.001, weight_decay=0.0, epochs=30,
            weights=f"runs/{first}",
        )  # fmt: skip

    stage1.__doc__ = f"NF-ResNet-{depth} on ImageNet, the first stage: T = 1, 100 epochs."
    stage2.__doc__ = f"NF-ResNet-{depth} on ImageNet, the second stage: T = 6, 30 epochs from runs/{first}."
    return (
        Recipe(first, stage1, PAPER, NOT_READ, NOT_READ, FLOAT32),
        Recipe(f"sltt-imagenet-nf-resnet{depth}", stage2, PAPER, published, SURVEY, FLOAT32),
    )


NF34, NF50, NF101 = (
    imagenet(34, "sltt", "66.19"),
    imagenet(50, "sltt", NOT_READ),
    imagenet(101, "sltt(steps=2, scale=paper)", NOT_READ),
)

SLTT = (
    sltt_cifar10,
    sltt_cifar10.partner("bptt", "94.60", SURVEY, rule=BPTT),
    sltt_cifar100,
    sltt_cifar100.partner("bptt", "73.80", SURVEY, rule=BPTT),
    sltt_cifar10_dvs,
    sltt_cifar10_dvs.partner("k2", NOT_READ, NOT_READ, rule="sltt(steps=2, scale=paper)"),
    sltt_cifar10_dvs.partner("bptt", "73.60", SURVEY, rule=BPTT),
    sltt_cifar10_dvs.partner(
        "augmented", "82.20", "quoted by another paper", data="cifar10-dvs(steps=10, size=48, augment=roll)"
    ),
    sltt_gesture,
    sltt_gesture.partner("k4", NOT_READ, NOT_READ, rule="sltt(steps=4, scale=paper)"),
    sltt_gesture.partner("bptt", "97.22", SURVEY, rule=BPTT),
    *NF34,
    NF34[1].partner("k1", "66.17", SURVEY, rule="sltt(steps=1, scale=paper)"),
    NF34[1].partner("bptt", "66.47", SURVEY, rule=BPTT),
    *NF50,
    *NF101,
)
