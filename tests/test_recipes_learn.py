"""Every recipe is built from files in the published format and learns in two steps of its optimiser."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from published_files import write_published
from torch.nn.functional import cross_entropy

from rheobase.cli.recipes import changed
from rheobase.recipes import RECIPES
from rheobase.training import Experiment
from rheobase.training.choice import read_call
from rheobase.training.loop import Loop

pytest.importorskip("h5py", reason="h5py is not installed: `pip install 'rheobase[events]'`")
pytest.importorskip("PIL", reason="Pillow is not installed: `pip install 'rheobase[images]'`")

STEPS = 4  # at most, so that deep nets are quick; SHD keeps its own


@pytest.fixture(scope="module", autouse=True)
def _files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("published")
    write_published(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RHEOBASE_DATA", str(folder / "data"))
        patch.setenv("RHEOBASE_CACHE", str(folder / "cache"))
        yield


def small(experiment: Experiment) -> Experiment:
    """The same experiment on small files: narrow, few steps, no published counts, no weights of an earlier run."""
    settings = ["batch_size=8", "weights=none", "data.validation=0.3"]
    name, options = read_call(experiment.data)
    if name in ("imagenet", "mvsec"):
        settings.append(f"data.size={64 if name == 'imagenet' else 32}")
    else:
        settings.append("data.verify=false")
    if name != "shd" and int(options["steps"]) > STEPS:
        settings.append(f"data.steps={STEPS}")
    settings.append("model.hidden=40" if experiment.model.startswith("recurrent") else "model.width=0.125")
    for setting in settings:
        experiment = changed(experiment, setting)
    options = read_call(str(experiment.rule))[1]
    if "last" in options and name not in ("shd", "mvsec"):
        experiment = changed(experiment, "rule.last=2")
    if "steps" in options:
        experiment = changed(experiment, "rule.steps=1")
    rate = experiment.learning_rate / (10 if experiment.optimizer == "sgd" else 1)  # batches are a tenth of the paper's
    return replace(experiment, device="cpu", learning_rate=rate)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_few_steps_of_the_optimiser_lower_the_loss_of_a_batch(name: str) -> None:
    """Two in most cases; with momentum and noisy gradients the loss of a few samples may rise before it falls."""
    experiment = small(RECIPES[name].make())
    loop = Loop(experiment, experiment.load_data())
    xs, target = next(iter(loop.data.train.batches(8, generator=torch.Generator().manual_seed(0))))
    losses = []
    for _ in range(16):
        loop.optimizer.zero_grad()
        update = loop.update_at_step if experiment.update == "step" else None
        result = loop.rule.backward(loop.model, xs, target, loss=loop.loss, after_step=update)
        if update is None:
            loop.optimizer.step()
        goal = cross_entropy(result.outputs.mean(0), target) if target.dim() == 1 else result.loss
        losses.append(float(goal))
        if len(losses) > 2 and max(losses[-2:]) < losses[0]:
            return
    raise AssertionError(f"The loss has not fallen: {losses}")
