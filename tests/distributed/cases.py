"""What two processes compute with half of a batch each, and one process with the whole of it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from networks import spiking_nets
from torch import Tensor, nn

import rheobase as rb
from rheobase.rules import Rule
from rheobase.rules.eligibility import Traces
from rheobase.rules.schedules import LastSteps
from rheobase.rules.signals import SIGNALS

STEPS, SAMPLES = 5, 4
RULES: dict[str, Rule] = {
    "bptt": rb.BPTT(),
    "bptt-checkpoint": rb.BPTT(checkpoint=True),
    "bptt-mean": rb.BPTT("mean_output", chunk=2),
    "truncated": rb.TruncatedBPTT(2),
    "sltt": rb.SLTT(),
    "sltt-k": rb.SLTT(steps=2),
    "ottt": rb.OTTT(),
    "ottt-input": rb.OTTT(input_trace=True),
    "rate-bp": rb.RateBP(),
    "s-tllr": rb.STLLR(),
    "s-tllr-last": rb.STLLR(last=2),
    "online": rb.Online(Traces(decay_pre=0.5, decay_post=0.3, acausal=0.4), SIGNALS["dfa"], LastSteps(3), chunk=2),
}
SEES_ALL_STEPS = ("bptt", "rate-bp")
HOISTED = ("conv-norm-residual", "standardised", "rows", "sequence")
NETS: dict[str, Callable[[], nn.Module]] = spiking_nets() | {
    "residual": lambda: Skipping(6),
    "rows": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(72, 6), nn.BatchNorm1d(6, affine=False), rb.LIF(0.5, threshold=0.3),
        nn.Linear(6, 5), nn.BatchNorm1d(5, momentum=None), rb.LIF(0.5, threshold=0.3), nn.Linear(5, 3),
    ),
    "sequence": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), rb.SequenceBatchNorm2d(3), rb.LIF(0.5, threshold=0.5), nn.Flatten(),
        nn.Linear(108, 5), rb.SequenceBatchNorm1d(5), rb.LIF(0.5, threshold=0.3), nn.Linear(5, 3),
    ),
}  # fmt: skip


class Skipping(nn.Module):
    """Two layers of neurons, the second beside a shortcut, and a readout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.inner, self.readout = nn.Linear(72, width), nn.Linear(width, width), nn.Linear(width, 3)
        self.neuron, self.second = rb.LIF(0.5), rb.LIF(0.5, threshold=0.4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.neuron(self.first(x.flatten(1)))
        return self.readout(self.second(self.inner(x)) + x)


@dataclass(frozen=True)
class Case:
    rule: str
    net: str
    double: bool
    changing: bool

    @property
    def name(self) -> str:
        return "/".join(
            [self.rule, self.net, "float64" if self.double else "float32", "changing" if self.changing else "constant"]
        )

    def model(self) -> nn.Module:
        torch.manual_seed(1)
        return NETS[self.net]().to(torch.float64 if self.double else torch.float32)

    def batch(self) -> tuple[Tensor, Tensor]:
        """The whole batch, `[T, N, 2, 6, 6]` and `[N]`."""
        drawn = torch.Generator().manual_seed(2)
        xs = 2 * torch.rand(STEPS, SAMPLES, 2, 6, 6, generator=drawn, dtype=torch.float64)
        target = torch.randint(3, (SAMPLES,), generator=drawn)
        xs = xs.to(torch.float64 if self.double else torch.float32)
        return (xs if self.changing else rb.constant(xs[0], STEPS)), target


def cases() -> list[Case]:
    """float64 with inputs that change and, where norms or standardised weights see them, constant ones; float32."""
    return [
        Case(rule, net, double, changing)
        for rule in RULES
        for net in NETS
        for double, changing in ((True, True), (True, False), (False, True))
        if (net != "sequence" or rule in SEES_ALL_STEPS) and (changing or net in HOISTED)
    ]


def sharded_cases() -> list[Case]:
    return [Case(rule, "standardised", True, False) for rule in RULES]


def accumulated_cases() -> list[Case]:
    return [Case(rule, "conv-norm-residual", True, True) for rule in ("bptt", "sltt", "rate-bp", "s-tllr")]


def flat_gradients(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def flat_buffers(model: nn.Module) -> Tensor:
    return torch.cat([torch.zeros(0), *[buffer.double().flatten() for buffer in model.buffers()]])
