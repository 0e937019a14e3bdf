"""Forwards that users write: read off exactly, or refused by what cannot be followed."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from exported import exported, require_same, sequence
from torch import Tensor, nn

import rheobase as rb
from rheobase.interop import fold_batch_norm, from_nir

pytest.importorskip("nir")
HARD = {"reset": "zero"}


class Model(nn.Module):
    """A convolution, a second one of its size, and a neuron, in a forward of the test's own."""

    def __init__(self, own: Callable[..., Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.own = own
        self.conv, self.other = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1)
        self.neuron, self.last = rb.LIF(threshold=0.4, **HARD), rb.LIF(0.8, threshold=0.6, **HARD)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.own(self, x)


def in_place(model: Model, x: Tensor) -> Tensor:
    current = model.conv(x)
    before = current
    current *= 2
    current += model.other(x)
    for _ in range(2):
        current -= 0.25 * current
    return model.neuron(current + before)


def factors(model: Model, x: Tensor) -> Tensor:
    current = torch.tensor(2.0) * model.conv(x) / 4 - model.other(x) * torch.tensor([0.3])
    return model.neuron(torch.rsub(current, F.dropout(model.other(x), 0.5, model.training)))


def nearly_equal_factors(model: Model, x: Tensor) -> Tensor:
    spikes = model.neuron(model.conv(x))
    return model.last(0.30000001 * spikes + model.other(x)) + 0.30000002 * spikes


@pytest.mark.parametrize("own", [in_place, factors, nearly_equal_factors])
def test_sums_and_factors_are_exact(own: Callable[..., Tensor]) -> None:
    model, xs = Model(own).eval(), sequence(2, 6, 6)
    assert rb.run(model, xs).any()
    require_same(model, from_nir(exported(model, xs[0])), xs)


def zeroed_part(model: Model, x: Tensor) -> Tensor:
    current = model.conv(x)
    current[:, :1] = 0
    return model.neuron(current)


def put_elsewhere(model: Model, x: Tensor) -> Tensor:
    current = model.conv(x)
    elsewhere = torch.zeros(len(x), 3, 6, 6, dtype=x.dtype)
    elsewhere[...] = current
    return model.neuron(elsewhere)


def changed_view(model: Model, x: Tensor) -> Tensor:
    current = model.conv(x)
    current.flatten(1).mul_(0.5)
    return model.neuron(current)


def changed_list(model: Model, x: Tensor) -> Tensor:
    current = model.conv(x)
    torch._foreach_mul_([current], 2.0)
    return model.neuron(current)


def constant_current(model: Model, x: Tensor) -> Tensor:
    return model.neuron(model.conv(x)) + model.last(model.other.bias.view(1, 3, 1, 1).expand(len(x), 3, 6, 6))


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (zeroed_part, r"setitem\(\) in the forward is not in NIR. Compute a new tensor"),
        (put_elsewhere, r"setitem\(\) in the forward"),
        (changed_view, r"change_in_place\(\) in the forward is not in NIR. Compute a new tensor"),
        (changed_list, r"\(\) in the forward"),
        (constant_current, r"'last' \(LIF\) hears what does not come from the model's input"),
        (lambda model, x: model.neuron(F.dropout(model.conv(x), 0.5, True)), r"dropout\(\) in the forward"),
        (lambda model, x: model.neuron(model.conv(x) * torch.ones(1, 1, 1, 1, 1)), r"mul\(\) in the forward"),
        (lambda model, x: model.neuron(model.conv(x)) + model.neuron(model.other(x)), "'neuron' .LIF. is used twice"),
    ],
)
def test_what_cannot_be_followed_is_refused(own: Callable[..., Tensor], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        exported(Model(own).eval(), torch.zeros(1, 2, 6, 6, dtype=torch.float64))


class Louder(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input) + 1


class Halved(nn.Identity):
    def forward(self, input: Tensor) -> Tensor:
        return 0.5 * input


class Doubled(rb.Scale):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Negated(nn.Dropout):
    def forward(self, input: Tensor) -> Tensor:
        return -1.0 * super().forward(input)


def patched() -> nn.Module:
    layer = nn.Conv2d(2, 3, 3)
    plain = layer.forward
    layer.forward = lambda x: 3 * plain(x)  # type: ignore[method-assign]
    return layer


def doubling(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    return layer


@pytest.mark.parametrize(
    ("layers", "foldable"),
    [
        ([nn.Conv2d(2, 3, 3), Louder(3)], True),
        ([patched()], True),
        ([nn.Conv2d(2, 3, 3), Halved(), Doubled(1.5), Negated()], True),
        ([doubling(nn.Conv2d(2, 3, 3))], True),
        ([doubling(rb.WSConv2d(2, 3, 3))], False),
        ([nn.Conv2d(2, 3, 3), doubling(nn.BatchNorm2d(3))], False),
    ],
    ids=[
        "a norm's own forward",
        "a forward of this layer alone",
        "subclasses",
        "hook",
        "hook on what is folded",
        "hook on a norm",
    ],
)
def test_what_layers_compute_besides_is_kept_or_refused(layers: list[nn.Module], foldable: bool) -> None:
    torch.manual_seed(0)
    model, xs = nn.Sequential(*layers, rb.LIF(threshold=0.4, **HARD)).double().eval(), sequence(2, 6, 6)
    if not foldable:
        with pytest.raises(ValueError, match="has forward hooks, which the layer in its place would not have"):
            fold_batch_norm(model, xs[0])
        return
    require_same(model, fold_batch_norm(model, xs[0]), xs)
    try:
        require_same(model, from_nir(exported(model, xs[0])), xs)
    except ValueError as refusal:
        assert "in the forward of" in str(refusal)  # noqa: PT017 - exact, or refused


def test_a_synapse_that_loops_share_keeps_its_bias() -> None:
    torch.manual_seed(0)

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.synapse = nn.Linear(5, 4)
            self.first, self.second = (
                rb.Recurrent(self.synapse, nn.Linear(4, 4), rb.LIF(threshold=0.3, **HARD)) for _ in range(2)
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.first(x) - self.second(x)

    model, xs = Shared().double(), sequence(5)
    require_same(model, from_nir(exported(model, xs[0])), xs)
    assert rb.run(model, xs).any()


def test_names_are_taken_once() -> None:
    torch.manual_seed(0)
    layers = {
        "input": nn.Conv2d(2, 3, 1), "output": rb.LIF(threshold=0.2, **HARD), "pool": nn.MaxPool2d(2),
        "pool_sum": nn.Conv2d(3, 3, 1), "a/b": rb.LIF(threshold=0.2, **HARD), "a_b": nn.Flatten(),
    }  # fmt: skip
    model, xs = nn.Sequential(), sequence(2, 4, 4)
    for name, layer in layers.items():
        model.add_module(name, layer.double())
    require_same(model, from_nir(exported(model, xs[0])), xs)
    assert rb.run(model, xs).any()


def test_export_leaves_the_random_numbers_alone() -> None:
    model, xs = Model(in_place).eval(), sequence(2, 6, 6)
    before = torch.get_rng_state()
    from_nir(exported(model, xs[0]))
    assert torch.equal(torch.get_rng_state(), before)


def test_export_works_inside_inference_mode() -> None:
    with torch.inference_mode():
        model, xs = Model(in_place).eval(), sequence(2, 6, 6)
        graph = exported(model, xs[0])
    require_same(model, from_nir(graph), xs)
