"""Which process this is, and what is said where that is not clear."""

import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.distributed import World, parallel, synchronised, world, world_of
from rheobase.learner import Learner
from rheobase.losses import cross_entropy
from rheobase.synchronised import SYNCHRONISED

TORCHRUN = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}


@pytest.fixture(autouse=True)
def _without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)


def under_torchrun(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> None:
    for name, value in {**TORCHRUN, **changed}.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)


def test_a_process_alone_leads_and_knows_its_own_sum() -> None:
    with world("cpu") as here:
        assert here == World(0, 1, 0, torch.device("cpu"))
        assert here.leads
        assert here.sum(2.5) == 2.5
        assert here.sum(torch.tensor([1, 2])).tolist() == [1, 2]
        (own,) = here.gather({"state": torch.arange(3)})
        assert own["state"].tolist() == [0, 1, 2]
        here.barrier()
    learner = Learner(nn.Sequential(nn.Linear(2, 2), rb.LIF()), rb.SLTT(), cross_entropy)
    assert parallel(learner, here) is learner


def test_only_the_first_process_leads() -> None:
    assert [World(rank, 3).leads for rank in range(3)] == [True, False, False]


def test_a_given_world_is_taken_as_it_is() -> None:
    given = World(1, 2)
    with world_of("cuda", given) as here:
        assert here is given
    with world_of("cpu") as here:
        assert here == World()


@pytest.mark.parametrize("missing", TORCHRUN)
def test_half_an_environment_of_torchrun_is_refused(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    under_torchrun(monkeypatch, **{missing: None})
    with pytest.raises(ValueError, match=f"but {missing} is not set: start with `torchrun`"), world("cpu"):
        pass


@pytest.mark.parametrize(
    "wrong", [{"RANK": "1"}, {"RANK": "-1"}, {"WORLD_SIZE": "two"}, {"LOCAL_RANK": "1"}, {"WORLD_SIZE": "0"}]
)
def test_an_environment_that_makes_no_sense_is_refused(wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    under_torchrun(monkeypatch, **wrong)
    with pytest.raises(ValueError, match="Expected whole numbers with 0 <= LOCAL_RANK <= RANK < WORLD_SIZE"):
        world("cpu").__enter__()


def test_a_process_without_a_gpu_of_its_own_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    under_torchrun(monkeypatch, RANK="2", WORLD_SIZE="3", LOCAL_RANK="2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device in ("cuda", "auto"):
        with pytest.raises(
            ValueError, match=r"Process 2 .* has no GPU of its own: torch finds 2.*--nproc-per-node gpu"
        ):
            world(device).__enter__()


def test_a_gpu_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch finds no GPU here"):
        world("cuda").__enter__()
    with pytest.raises(ValueError, match='Expected device "cpu", "cuda" or "auto", got \'gpu\''):
        world("gpu").__enter__()


def every_norm() -> nn.Module:
    return nn.ModuleList([kind(2) for kind in SYNCHRONISED])


def test_state_dicts_fit_synchronised_models_and_plain_ones() -> None:
    plain, joint = every_norm(), synchronised(every_norm())
    joint.load_state_dict(plain.state_dict())
    plain.load_state_dict(joint.state_dict())
    assert [type(norm).__name__ for norm in joint] == [f"Synchronised{type(norm).__name__}" for norm in plain]


def test_synchronising_keeps_the_parameters_that_an_optimiser_may_hold() -> None:
    model = every_norm()
    before = [id(p) for p in model.parameters()]
    assert [id(p) for p in synchronised(synchronised(model)).parameters()] == before


@pytest.mark.parametrize("training", [True, False])
def test_a_process_alone_computes_the_same_with_synchronised_norms(training: bool) -> None:
    xs = torch.rand(3, 4, 2, 5, 5)
    plain, joint = (nn.Sequential(nn.BatchNorm2d(2), rb.LIF(threshold=0.1)).train(training) for _ in range(2))
    synchronised(joint)
    assert torch.equal(rb.run(plain, xs), rb.run(joint, xs))
    assert torch.equal(plain[0].running_var, joint[0].running_var)
    assert torch.equal(plain[0](xs[0]), joint[0](xs[0]))


def test_norms_that_cannot_be_synchronised_are_refused() -> None:
    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(ValueError, match=r"'0' \(Own\) would normalise with the statistics of one process"):
        synchronised(nn.Sequential(Own(3)))
