"""How well a model does on a part of a data set."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.flow_losses import SelfSupervisedFlow, average_endpoint_error


@dataclass(frozen=True)
class Metric(ABC):
    """A figure that is a mean over samples.

    name, unit: as people read them. factor: from the figure to the number before the unit. digits: after the point.
    higher_is_better: which of two epochs is chosen.
    """

    name: str
    unit: str
    factor: float = 1.0
    digits: int = 2
    higher_is_better: bool = False

    @abstractmethod
    def total(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, int]:
        """The sum over the samples of a batch, a scalar, and how many samples it counts.

        outputs: `[T, N, ...]`, of a whole sequence. target: `[N, ...]`.
        """

    def text(self, value: float) -> str:
        return f"{self.factor * value:.{self.digits}f} {self.unit}".rstrip()


class Accuracy(Metric):
    """The share of samples whose largest mean output is their class; of mixed samples the larger part counts."""

    def total(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, int]:
        classes = target if target.ndim == 1 else target.argmax(1)
        return (outputs.mean(0).argmax(1) == classes).sum(), len(target)


class FlowLoss(Metric):
    """The self-supervised loss of the last step's flow, for parts whose flow is not known."""

    def total(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, int]:
        return SelfSupervisedFlow()(outputs[-1], target) * len(target), len(target)


class EndpointError(Metric):
    """The average endpoint error of the last step's flow, where it is known and there were events.

    The mean over samples of each one's mean over pixels; samples without such a pixel do not count.
    """

    def total(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, int]:
        flow, truth, mask = outputs[-1], target[:, 2:4], target[:, 4]
        known = [slice(n, n + 1) for n in range(len(flow)) if mask[n].any()]
        errors = [average_endpoint_error(flow[n], truth[n], mask[n]) for n in known]
        return torch.stack(errors).sum() if errors else flow.new_zeros(()), len(known)


ACCURACY = Accuracy("accuracy", "%", factor=100.0, higher_is_better=True)
FLOW_LOSS = FlowLoss("flow loss", "", digits=4)
ENDPOINT_ERROR = EndpointError("endpoint error", "px", digits=3)
METRICS: dict[str, Metric] = {metric.name: metric for metric in (ACCURACY, FLOW_LOSS, ENDPOINT_ERROR)}
