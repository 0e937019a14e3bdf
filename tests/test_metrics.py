"""Figures of a part of a data set: means over samples."""

import pytest
import torch

from rheobase.datasets import FlowSequences, Sequences, Static
from rheobase.metrics import ACCURACY, ENDPOINT_ERROR, FLOW_LOSS, METRICS
from rheobase.training import evaluate


def test_accuracy_counts_samples_whose_largest_mean_output_is_their_class() -> None:
    outputs = torch.tensor([[[3.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, 1.0], [3.0, 0.0]]])
    assert [int(ACCURACY.total(outputs, torch.tensor([0, 1, 1]))[0]), len(outputs)] == [2, 2]
    mixed = torch.tensor([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1]])
    assert int(ACCURACY.total(outputs, mixed)[0]) == 2


def flows(count: int, known: list[int]) -> torch.Tensor:
    """Targets of a flow of 3 along x and 4 along y, known at the samples `known` in the upper half."""
    target = torch.zeros(count, 5, 4, 4)
    target[:, 2], target[:, 3] = 3.0, 4.0
    target[known, 4, :2] = 1.0
    return target


def test_the_endpoint_error_is_the_mean_over_samples_of_the_last_step_alone_where_the_flow_is_known() -> None:
    outputs = torch.full((2, 3, 2, 4, 4), 100.0)
    outputs[-1] = 0.0
    outputs[-1, 1, 0], outputs[-1, 1, 1] = 3.0, 4.0
    outputs[-1, :, :, 2:] = -50.0  # where nothing is known
    total, counted = ENDPOINT_ERROR.total(outputs, flows(3, [0, 1]))
    assert counted == 2
    torch.testing.assert_close(total, torch.tensor(5.0))
    total, counted = ENDPOINT_ERROR.total(outputs, flows(3, []))
    assert (float(total), counted) == (0.0, 0)


def test_the_flow_loss_prefers_the_flow_that_explains_the_images() -> None:
    target = torch.zeros(1, 5, 8, 8)
    target[0, 0, :, 3], target[0, 1, :, 4] = 1.0, 1.0
    right, still = torch.zeros(2, 1, 2, 8, 8), torch.zeros(2, 1, 2, 8, 8)
    right[-1, :, 0] = 1.0
    assert FLOW_LOSS.total(right, target)[0] < FLOW_LOSS.total(still, target)[0]


def test_a_value_is_written_with_its_unit() -> None:
    assert [ACCURACY.text(0.9), ENDPOINT_ERROR.text(0.5), FLOW_LOSS.text(0.25)] == ["90.00 %", "0.500 px", "0.2500"]
    assert all(METRICS[metric.name] is metric for metric in METRICS.values())


def test_evaluation_weighs_samples_not_batches_and_refuses_a_part_without_a_figure() -> None:
    class Last(torch.nn.Module):
        """A model of one neuron's layer that answers with the input."""

        def __init__(self) -> None:
            super().__init__()
            import rheobase as rb

            self.neuron = rb.LIF()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 0 * self.neuron(x) + x

    xs = torch.eye(2)[torch.tensor([0, 0, 0, 1, 1])]
    part = Sequences(xs, torch.tensor([0, 0, 1, 0, 1]), Static(2), 2)
    scores = [evaluate(Last(), part, batch_size=size, device=torch.device("cpu")) for size in (1, 2, 4, 5)]
    assert scores == [pytest.approx(3 / 5)] * 4
    unknown = FlowSequences(torch.zeros(2, 1, 2, 4, 4), flows(2, []), metric=ENDPOINT_ERROR)
    with pytest.raises(ValueError, match="This part has no endpoint error"):
        evaluate(Last(), unknown, batch_size=2, device=torch.device("cpu"))
