"""Under Lightning, Fabric and Accelerate a net learns what it learns in a plain loop; each is tested when installed."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import rheobase as rb
from rheobase.learner import Learner
from rheobase.losses import cross_entropy
from rheobase.rules.rule import Rule

RULES = [rb.BPTT(), rb.SLTT(), rb.OTTT(), rb.RateBP(), rb.STLLR()]
every_rule = pytest.mark.parametrize("rule", RULES, ids=str)
Batches = list[tuple[Tensor, Tensor]]
pytestmark = [
    pytest.mark.slow,  # to import them takes longer than the tests
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),  # Lightning's own use
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), rb.LIF(0.5), nn.Flatten(), nn.Linear(48, 4), rb.LIF(0.5), nn.Linear(4, 3)
    )


@pytest.fixture
def batches() -> Batches:
    torch.manual_seed(2)
    return [(torch.rand(4, 5, 1, 6, 6) * 2, torch.randint(3, (5,))) for _ in range(2)]


@pytest.fixture
def lightning() -> Any:
    return pytest.importorskip("lightning")


def optimizer_of(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)


def weights(net: nn.Module) -> Tensor:
    return torch.cat([value.flatten().float() for value in net.state_dict().values()])


def require_as_in_a_plain_loop(rule: Rule, trained: nn.Module, net: nn.Module, batches: Batches) -> None:
    """trained: a copy of `net` after one optimiser step for each batch."""
    start, optimizer = weights(net), optimizer_of(net)
    for xs, target in batches:
        optimizer.zero_grad()
        rule.backward(net, xs, target, loss=cross_entropy)
        optimizer.step()
    torch.testing.assert_close(weights(trained), weights(net), rtol=0, atol=1e-6)
    assert (weights(net) - start).abs().max() > 1e-2


def trainer(lightning: Any, **options: Any) -> Any:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return lightning.Trainer(accelerator="cpu", max_epochs=1, enable_model_summary=False, **quiet, **options)


@every_rule
def test_lightning_with_manual_optimisation(rule: Rule, net: nn.Module, batches: Batches, lightning: Any) -> None:
    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.automatic_optimization = copy.deepcopy(net), False

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            rule.backward(self.net, *batch, loss=cross_entropy, backward=self.manual_backward)
            optimizer.step()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer_of(self.net)

    module = Module()
    trainer(lightning).fit(module, DataLoader(batches, batch_size=None))
    require_as_in_a_plain_loop(rule, module.net, net, batches)


@every_rule
def test_lightning_with_automatic_optimisation(rule: Rule, net: nn.Module, batches: Batches, lightning: Any) -> None:
    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.learner = Learner(copy.deepcopy(net), rule, cross_entropy)

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return self.learner(*batch).loss

        def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
            losses.append(self.learner(*batch).loss)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer_of(self)

    module, losses = Module(), []
    trainer(lightning, num_sanity_val_steps=0).fit(module, *[DataLoader(batches, batch_size=None)] * 2)
    require_as_in_a_plain_loop(rule, module.learner.model, net, batches)
    outputs = rb.run(net.eval(), batches[0][0])
    expected = torch.stack([cross_entropy(output, batches[0][1]) for output in outputs]).mean()
    torch.testing.assert_close(losses[0], expected, rtol=0, atol=1e-5)


@every_rule
def test_fabric(rule: Rule, net: nn.Module, batches: Batches, lightning: Any) -> None:
    fabric, trained = lightning.Fabric(accelerator="cpu", devices=1), copy.deepcopy(net)
    learner, optimizer = fabric.setup(Learner(trained, rule, cross_entropy), optimizer_of(trained))
    for xs, target in batches:
        optimizer.zero_grad()
        fabric.backward(learner(xs, target).loss)
        optimizer.step()
    require_as_in_a_plain_loop(rule, trained, net, batches)


def test_fabric_in_bfloat16(net: nn.Module, batches: Batches, lightning: Any) -> None:
    """Fabric puts autocast around the forward alone, and gives outputs in float32."""
    fabric, trained = lightning.Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"), copy.deepcopy(net)
    learner, _ = fabric.setup(Learner(trained, rb.SLTT(), cross_entropy), optimizer_of(trained))
    result = learner(*batches[0])
    fabric.backward(result.loss)
    with torch.autocast("cpu", torch.bfloat16):
        expected = rb.SLTT().backward(net, *batches[0], loss=cross_entropy)
    assert result.outputs.dtype == torch.float32
    assert torch.equal(result.outputs, expected.outputs.float())
    for p, q in zip(trained.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=1e-6)


def test_targets_of_each_step_are_moved_and_cast_within_their_wrapping(
    net: nn.Module, batches: Batches, lightning: Any
) -> None:
    xs, target = batches[0]
    goal = rb.PerStep(torch.stack([target.roll(t) for t in range(len(xs))]))
    fabric, trained = lightning.Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"), copy.deepcopy(net)
    learner, _ = fabric.setup(Learner(trained, rb.SLTT(), cross_entropy), optimizer_of(trained))
    moved = fabric.to_device((xs, goal))[1]
    fabric.backward(learner(xs, moved).loss)
    with torch.autocast("cpu", torch.bfloat16):
        rb.SLTT().backward(net, xs, goal, loss=cross_entropy)
    assert isinstance(moved, rb.PerStep)
    for p, q in zip(trained.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=1e-6)


@every_rule
def test_accelerate_with_two_batches_a_step(rule: Rule, net: nn.Module, batches: Batches) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator, trained = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2), copy.deepcopy(net)
    learner, optimizer = accelerator.prepare(Learner(trained, rule, cross_entropy), optimizer_of(trained))
    for xs, target in [batches[0], batches[0], batches[1], batches[1]]:
        with accelerator.accumulate(learner):
            accelerator.backward(learner(xs, target).loss)
            optimizer.step()
            optimizer.zero_grad()
    for norm in (m for m in [*trained.modules(), *net.modules()] if isinstance(m, nn.BatchNorm2d)):
        norm.reset_running_stats()  # they have seen each batch twice
        norm.momentum = 0.0
        norm.track_running_stats = False
    require_as_in_a_plain_loop(rule, trained, net, batches)
