"""Batch normalisation folded into weights."""

import pytest
import torch
from exported_zoo import small, spikes_of
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import rheobase as rb
from rheobase.interop.fold import fold_batch_norm


def seen(norm: _BatchNorm) -> _BatchNorm:
    for part in (norm.running_mean, norm.weight, norm.bias):
        if part is not None:
            nn.init.normal_(part)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


@pytest.mark.parametrize(
    "name",
    ["convnet", "preact-resnet18", "preact-resnet34", "resnet18", "spikformer", "vgg-sws", "nf-resnet34", "flow"],
)
def test_a_folded_zoo_model_has_plain_layers_and_the_same_spikes(name: str) -> None:
    model, xs = small(name, torch.float64)
    folded = fold_batch_norm(model, xs[0])
    unfolded = (_BatchNorm, rb.WSConv2d, rb.WSLinear)
    assert not any(isinstance(module, unfolded) for module in folded.modules())
    before, after = spikes_of(model, xs), spikes_of(folded, xs)
    assert all(torch.equal(spikes, after[layer]) for layer, spikes in before.items())
    torch.testing.assert_close(rb.run(folded, xs), rb.run(model, xs), rtol=0, atol=1e-12)


WITH_NORM = nn.Sequential(rb.WSLinear(4, 3), seen(nn.BatchNorm1d(3)))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Linear(4, 3), seen(nn.BatchNorm1d(3)), rb.LIF()), (4,)),
        (nn.Sequential(seen(nn.BatchNorm1d(4)), nn.Linear(4, 3), rb.LIF()), (4,)),
        (nn.Sequential(nn.Conv1d(2, 3, 3), seen(nn.BatchNorm1d(3)), rb.LIF()), (2, 6)),
        (nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), seen(nn.BatchNorm2d(4, affine=False)), rb.LIF()), (2, 5, 5)),
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.AvgPool2d(2, padding=1), seen(nn.BatchNorm2d(4)), rb.LIF()), (2, 5, 5)),
        (nn.Sequential(nn.Conv2d(2, 4, 3), rb.Scale(3.0), seen(rb.SequenceBatchNorm2d(4)), rb.LIF()), (2, 5, 5)),
        (nn.Sequential(nn.ConvTranspose2d(2, 4, 3), seen(nn.BatchNorm2d(4)), rb.LIF()), (2, 5, 5)),
        (nn.Sequential(rb.Recurrent(WITH_NORM, nn.Linear(3, 3), rb.LIF(threshold=0.5))), (4,)),
    ],
    ids=["linear", "first", "1d", "groups", "behind a pool", "behind a factor", "transposed", "in a loop"],
)  # fmt: skip
def test_a_norm_is_exact_wherever_it_stands(model: nn.Module, shape: tuple[int, ...]) -> None:
    model, xs = model.double().eval(), 2 * torch.randn(5, 3, *shape, dtype=torch.float64)
    folded = fold_batch_norm(model, xs[0])
    assert not any(isinstance(module, _BatchNorm) for module in folded.modules())
    torch.testing.assert_close(rb.run(folded, xs), rb.run(model, xs), rtol=0, atol=1e-12)
    currents = [nn.Sequential(*each)(xs[0]) for each in (model[:-1], folded[:-1]) if len(model) > 1]
    torch.testing.assert_close(*(currents or (xs, xs)), rtol=0, atol=1e-12)


class Shared(nn.Module):
    """A convolution that a norm hears and something else too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.neuron = nn.Conv2d(2, 3, 1), seen(nn.BatchNorm2d(3)), rb.LIF()

    def forward(self, x: Tensor) -> Tensor:
        current = self.conv(x)
        return self.neuron(self.norm(current) + current)


def test_a_norm_is_not_folded_into_what_others_hear_too() -> None:
    model, xs = Shared().double().eval(), 2 * torch.randn(5, 3, 2, 4, 4, dtype=torch.float64)
    folded = fold_batch_norm(model, xs[0])
    assert torch.equal(folded.conv.weight, model.conv.weight)
    assert folded.norm.groups == 3
    assert torch.equal(rb.run(folded, xs), rb.run(model, xs))


def test_the_model_that_is_folded_stays_as_it_was() -> None:
    model, xs = small("convnet", torch.float32)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fold_batch_norm(model, xs[0])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_a_norm_without_running_statistics_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False), rb.LIF())
    with pytest.raises(ValueError, match=r"running statistics in '1' \(BatchNorm1d\)"):
        fold_batch_norm(model, torch.zeros(2, 4))
