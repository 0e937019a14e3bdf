"""Two processes with half of a batch each are one process with the whole batch, under every rule."""

from pathlib import Path

import pytest
import torch
from distributed.cases import RULES, Case, cases, flat_buffers, flat_gradients
from distributed.launch import TESTS, torchrun
from torch import Tensor

from rheobase.losses import cross_entropy

Found = list[dict[str, dict[str, Tensor]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What the processes found, by rank."""
    folder: Path = tmp_path_factory.mktemp("found")
    done = torchrun(TESTS / "distributed" / "worker.py", folder)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
def test_two_processes_find_what_one_finds_with_the_joined_batch(case: Case, found: Found) -> None:
    model, (xs, target) = case.model(), case.batch()
    torch.manual_seed(7)
    result = RULES[case.rule].backward(model, xs, target, loss=cross_entropy)
    first, second = (here[case.name] for here in found)
    close = {"rtol": 0.0, "atol": 1e-10 if case.double else 1e-6}
    torch.testing.assert_close(first["outputs"], result.outputs[:, :2], **close)
    torch.testing.assert_close(second["outputs"], result.outputs[:, 2:], **close)
    for here in (first, second):
        torch.testing.assert_close(here["gradients"], flat_gradients(model), **close)
        torch.testing.assert_close(here["buffers"], flat_buffers(model), **close)
        assert here["gradients"].abs().max() > 1e-3
        assert int(here["reductions"]) == 1
    assert torch.equal(first["gradients"], second["gradients"])
