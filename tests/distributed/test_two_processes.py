"""Two processes with half of a batch each are one process with the whole batch, under every rule."""

from pathlib import Path
from typing import Any

import pytest
import torch
from distributed.cases import RULES, Case, accumulated_cases, cases, flat_buffers, flat_gradients, sharded_cases
from distributed.launch import TESTS, torchrun
from torch import Tensor

from rheobase.losses import cross_entropy

Found = list[dict[str, Any]]
EXACT = {"rtol": 0.0, "atol": 1e-10}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What the processes found, by rank."""
    folder: Path = tmp_path_factory.mktemp("found")
    done = torchrun(TESTS / "distributed" / "worker.py", folder)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases])


def joined(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient, outputs and running statistics of one process with the whole batch."""
    model = case.model()
    torch.manual_seed(7)
    result = RULES[case.rule].backward(model, *case.batch(), loss=cross_entropy)
    return flat_gradients(model), result.outputs, flat_buffers(model)


@each(cases())
def test_two_processes_find_what_one_finds_with_the_joined_batch(case: Case, found: Found) -> None:
    gradients, outputs, buffers = joined(case)
    close = {"rtol": 0.0, "atol": 1e-10 if case.double else 1e-6}
    for rank, here in enumerate(part[case.name] for part in found):
        torch.testing.assert_close(here["outputs"], outputs[:, 2 * rank : 2 * rank + 2], **close)
        torch.testing.assert_close(here["gradients"], gradients, **close)
        torch.testing.assert_close(here["buffers"], buffers, **close)
    assert gradients.abs().max() > 1e-3


def test_norms_that_are_not_synchronised_find_something_else(found: Found) -> None:
    case = Case("bptt", "rows", True, True)
    gradients, outputs, buffers = joined(case)
    for name, whole in (("gradients", gradients), ("outputs", outputs[:, :2]), ("buffers", buffers)):
        assert (found[0]["alone"][name] - whole).abs().max() > 1e-2


@each(cases())
def test_gradients_are_reduced_once_whatever_number_of_passes_the_rule_takes(case: Case, found: Found) -> None:
    assert [int(here[case.name]["reductions"]) for here in found] == [1, 1]


@each(accumulated_cases())
def test_gradients_accumulate_over_batches_with_one_reduction(case: Case, found: Found) -> None:
    model, (xs, target) = case.model(), case.batch()
    for samples in ([0, 2], [1, 3]):  # the first samples of both processes, then the second ones
        RULES[case.rule].backward(model, xs[:, samples], target[samples], loss=cross_entropy)
    for here in (part[f"accumulated/{case.name}"] for part in found):
        torch.testing.assert_close(here["gradients"], flat_gradients(model), **EXACT)
        assert int(here["reductions"]) == 1


@each(sharded_cases())
def test_a_sharded_learner_finds_the_same_gradient(case: Case, found: Found) -> None:
    gradients, *_ = joined(case)
    for here in (part[f"sharded/{case.name}"] for part in found):
        torch.testing.assert_close(here["gradients"], gradients, **EXACT)
        assert int(here["held"]) < len(gradients)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_refuses_a_model_with_a_sharded_layer(rule: str, found: Found) -> None:
    for here in found:
        assert "'5.weight' is sharded" in here[f"refused/{rule}"]
        assert "fully_shard(Learner(model, rule, loss))" in here[f"refused/{rule}"]


def test_processes_learn_at_the_same_random_steps(found: Found) -> None:
    first, second = (here["drawn"] for here in found)
    assert torch.equal(first["together"], second["together"])
    assert int(first["together"].sum()) == 32
    assert not torch.equal(first["apart"], second["apart"])


def test_processes_drop_out_different_neurons(found: Found) -> None:
    first, second = (here["masked"]["mask"] for here in found)
    assert not torch.equal(first, second)


def test_processes_know_the_sum_and_each_others_tensors(found: Found) -> None:
    first, second = (here["exchanged"] for here in found)
    for here in (first, second):
        assert here["sum"].tolist() == [1.0, 3.0, 5.0]
        assert float(here["number"]) == 1.5
        assert here["long of 0"].tolist() == [0, 1]
        assert here["long of 1"].tolist() == [0, 1, 2]
        assert here["long of 1"].dtype == torch.uint8
        assert here["table of 1"].tolist() == [[1.0, 2.0, 3.0]]
        assert here["table of 1"].dtype == torch.float64
    assert first["own"].tolist() == [0.0, 1.0, 2.0]  # a sum leaves what is summed as it is


def test_what_runs_apart_waits_for_nobody_and_is_alone(found: Found) -> None:
    gradients, *_ = joined(Case("bptt", "rows", True, True))
    torch.testing.assert_close(found[1]["lonely"]["gradients"], gradients, **EXACT)
