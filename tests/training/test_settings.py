"""What the settings that recipes need do: decay, last batches, updates within a sequence, starting weights, losses."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.losses import CrossEntropyMSE
from rheobase.training import Experiment, fit
from rheobase.training.loop import Loop, make_optimizer

SMALL = Experiment(
    data="digits(steps=3, limit=100, evaluation_limit=60)", model="mlp(hidden=[12])", rule="sltt", epochs=2,
    batch_size=30, learning_rate=0.01, device="cpu",
)  # fmt: skip


def loop(**changes: object) -> Loop:
    experiment = replace(SMALL, **changes)  # type: ignore[arg-type]
    return Loop(experiment, experiment.load_data())


def test_weight_decay_of_weights_spares_biases_gains_and_norms() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), rb.WSConv2d(2, 2, 3), rb.LIF())
    for decays, free in (("all", set[str]()), ("weights", {"0.bias", "1.weight", "1.bias", "2.bias", "2.gain"})):
        experiment = replace(SMALL, optimizer="sgd", weight_decay=0.1, decays=decays)
        for group in make_optimizer(experiment, model).param_groups:
            for parameter in group["params"]:
                (name,) = [name for name, p in model.named_parameters() if p is parameter]
                assert group["weight_decay"] == (0 if name in free else 0.1)
    with pytest.raises(ValueError, match="no effect"):
        replace(SMALL, decays="weights")


def test_the_last_batch_is_left_out_or_kept() -> None:
    assert [len(target) for _, target in loop().batches.epoch(1)] == [30, 30, 30]
    assert [len(target) for _, target in loop(drop_last=False).batches.epoch(1)] == [30, 30, 30, 10]
    right = 100 * fit(replace(SMALL, drop_last=False)).epochs[0].train_score
    assert right == pytest.approx(round(right), abs=1e-9)


def test_by_epoch_the_learning_rate_falls_between_epochs_alone() -> None:
    rates = [epoch.learning_rate for epoch in fit(replace(SMALL, schedule="cosine_by_epoch", epochs=4)).epochs]
    assert rates == pytest.approx([0.01, 0.00853553, 0.005, 0.00146447], rel=1e-5)
    assert fit(replace(SMALL, schedule="cosine", epochs=4)).epochs[0].learning_rate < 0.01


def test_updates_at_each_step_are_those_of_the_rules_own_hook() -> None:
    experiment = replace(SMALL, update="step", epochs=1, schedule="constant")
    each, once = fit(experiment), fit(replace(experiment, update="batch"))
    assert not torch.equal(each.model[1].weight, once.model[1].weight)
    made = Loop(experiment, experiment.load_data())

    def moved() -> None:
        made.optimizer.step()
        made.optimizer.zero_grad()

    for xs, target in made.batches.epoch(1):
        rb.SLTT().backward(made.model, xs, target, loss=rb.losses.cross_entropy, after_step=moved)
    torch.testing.assert_close(made.model.state_dict(), each.model.state_dict(), rtol=0, atol=0)


def test_updates_at_each_step_in_float16_are_scaled_stepped_and_rescaled_one_by_one() -> None:
    """As by hand with a scaler, whose scale is too large at first: those steps are left out one by one."""
    settings = {"update": "step", "precision": "float16", "epochs": 1, "schedule": "constant", "optimizer": "sgd"}
    made, by_hand, started = loop(**settings), loop(**settings), loop(**settings)
    made.loss = by_hand.loss = tiny
    scaler = torch.amp.GradScaler("cpu")
    scaler.load_state_dict(scaler.state_dict() | {"scale": 2.0**34})
    by_hand.precision._scaler = None
    made.precision.restore({"name": "float16", "scaler": scaler.state_dict()})

    def moved() -> None:
        scaler.step(by_hand.optimizer)
        scaler.update()
        by_hand.optimizer.zero_grad()

    made.model.train()
    for xs, target in by_hand.batches.epoch(1):
        with by_hand.precision.autocast():
            rb.SLTT().backward(
                by_hand.model, xs, target, loss=tiny, after_step=moved,
                backward=lambda total: scaler.scale(total).backward(),
            )  # fmt: skip
    made.epoch(lambda *_: None)
    torch.testing.assert_close(made.model.state_dict(), by_hand.model.state_dict(), rtol=0, atol=0)
    assert made.precision.scale() == scaler.get_scale() < 2.0**34
    assert 0 < made.updates < 3 * len(made.batches)
    assert not torch.equal(made.model[3].weight, started.model[3].weight)


def tiny(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return 1e-3 * rb.losses.cross_entropy(output, target)


def test_what_needs_the_whole_gradient_is_refused_with_updates_at_each_step() -> None:
    for changes in ({"clip_norm": 1.0}, {"on_bad": "skip"}):
        with pytest.raises(ValueError, match="before the whole gradient is known"):
            replace(SMALL, update="step", **changes)


def test_a_run_starts_from_the_weights_of_another(tmp_path) -> None:
    first = fit(SMALL, tmp_path / "first")
    started = loop(weights=str(tmp_path / "first"))
    torch.testing.assert_close(started.model.state_dict(), first.model.state_dict(), rtol=0, atol=0)
    with pytest.raises(ValueError, match="do not fit the model"):
        loop(weights=str(tmp_path / "first"), model="mlp(hidden=[13])")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        loop(weights=str(tmp_path / "nowhere"))


def test_a_loss_may_have_options() -> None:
    made = replace(SMALL, loss="cross_entropy_mse(weight=0.2, towards=one)").loss_function()
    assert made == CrossEntropyMSE(0.2, "one")
    assert SMALL.loss_function() is rb.losses.cross_entropy
    with pytest.raises(ValueError, match="has no options"):
        replace(SMALL, loss="cross_entropy(weight=1)")
    with pytest.raises(ValueError, match="Did you mean 'weight'"):
        replace(SMALL, loss="cross_entropy_mse(wait=1)")


def test_losses_take_probabilities_and_a_one_hot_row_is_its_class() -> None:
    output, classes = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 1])
    rows = nn.functional.one_hot(classes, 3).double()
    for loss in (rb.losses.cross_entropy, rb.losses.mse, CrossEntropyMSE()):
        torch.testing.assert_close(loss(output, rows), loss(output, classes), rtol=0, atol=1e-12)
    mixed = 0.25 * rows + 0.75 * rows.roll(1, 0)
    expected = 0.25 * rb.losses.cross_entropy(output, rows) + 0.75 * rb.losses.cross_entropy(output, rows.roll(1, 0))
    torch.testing.assert_close(rb.losses.cross_entropy(output, mixed), expected, rtol=0, atol=1e-12)
