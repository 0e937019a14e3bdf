"""One of two processes: computes all cases with its half of the batch and writes what it found."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from distributed.cases import RULES, Case, accumulated_cases, cases, flat_buffers, flat_gradients, sharded_cases
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import rheobase as rb
from rheobase.distributed import World, parallel, synchronised, world
from rheobase.learner import Learner
from rheobase.losses import cross_entropy
from rheobase.processes import apart
from rheobase.rules.schedules import RandomSteps

Found = dict[str, Tensor]


class Reductions:
    """Counts how often DistributedDataParallel reduces gradients."""

    def __init__(self, learner: nn.parallel.DistributedDataParallel) -> None:
        self.count = 0
        learner.register_comm_hook(None, self.reduced)

    def reduced(self, state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        self.count += 1
        return allreduce_hook(None, bucket)


def half(here: World, xs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    share = slice(here.rank * len(target) // 2, (here.rank + 1) * len(target) // 2)
    return xs[:, share], target[share]


def trained(case: Case, here: World, joint: bool = True) -> Found:
    """The gradient after one call, the outputs, the running statistics, the number of gradient reductions."""
    model = synchronised(case.model()) if joint else case.model()
    learner = parallel(Learner(model, RULES[case.rule], cross_entropy), here)
    reductions = Reductions(learner)
    torch.manual_seed(7 + here.rank)
    result = learner(*half(here, *case.batch()))
    result.loss.backward()
    return {
        "gradients": flat_gradients(model),
        "outputs": result.outputs,
        "buffers": flat_buffers(model),
        "reductions": torch.tensor(reductions.count),
    }


def accumulated(case: Case, here: World) -> Found:
    """The gradient of two calls with one sample each, and the number of gradient reductions."""
    model = synchronised(case.model())
    learner = parallel(Learner(model, RULES[case.rule], cross_entropy), here)
    reductions = Reductions(learner)
    xs, target = half(here, *case.batch())
    with learner.no_sync():
        learner(xs[:, :1], target[:1]).loss.backward()
    learner(xs[:, 1:], target[1:]).loss.backward()
    return {"gradients": flat_gradients(model), "reductions": torch.tensor(reductions.count)}


def sharded(case: Case, here: World) -> Found:
    """The gradient of a sharded learner at the second of two calls."""
    learner = Learner(synchronised(case.model()), RULES[case.rule], cross_entropy)
    fully_shard(learner, mesh=init_device_mesh("cpu", (here.size,)))
    for _ in range(2):
        learner.zero_grad()
        torch.manual_seed(7 + here.rank)
        learner(*half(here, *case.batch())).loss.backward()
    parts = [p.grad for p in learner.parameters()]
    return {
        "gradients": torch.cat([part.full_tensor().flatten() for part in parts]),
        "held": torch.tensor(sum(part.to_local().numel() for part in parts)),
    }


def refused(rule: str, here: World) -> str:
    """What a rule says of a model with a sharded layer."""
    case = Case(rule, "standardised", True, True)
    model = case.model()
    fully_shard(model[5], mesh=init_device_mesh("cpu", (here.size,)))
    try:
        RULES[rule].backward(model, *case.batch(), loss=cross_entropy)
    except ValueError as error:
        return str(error)
    return ""


def masked(here: World) -> Found:
    """What ones become under time-shared dropout, as the training loop seeds the processes."""
    torch.manual_seed(3 + here.rank)
    model = nn.Sequential(rb.TimeSharedDropout(0.5), nn.Linear(64, 64, bias=False), rb.LIF(threshold=0.1))
    nn.init.eye_(model[1].weight)
    return {"mask": rb.run(model, torch.ones(1, 1, 64))}


def drawn(here: World) -> Found:
    """Which of 64 steps learn when 32 do, together and apart."""
    torch.manual_seed(7 + here.rank)
    together, _ = RandomSteps(32).draw(64)
    with apart():
        alone, _ = RandomSteps(32).draw(64)
    return {"together": torch.tensor([*map(together, range(64))]), "apart": torch.tensor([*map(alone, range(64))])}


def exchanged(here: World) -> Found:
    """What the processes tell each other."""
    own = torch.arange(3.0) + here.rank
    texts = here.gather({"long": torch.arange(here.rank + 2, dtype=torch.uint8), "table": own.view(1, 3).double()})
    here.barrier()
    told = {"sum": here.sum(own), "own": own, "number": torch.tensor(here.sum(0.25 + here.rank))}
    return told | {f"{name} of {rank}": tensor for rank, text in enumerate(texts) for name, tensor in text.items()}


def lonely(here: World) -> Found:
    """A call in which the other process has no part."""
    if here.rank == 0:
        return {}
    case = Case("bptt", "rows", True, True)
    model = synchronised(case.model())
    with apart():
        RULES["bptt"].backward(model, *case.batch(), loss=cross_entropy)
    return {"gradients": flat_gradients(model)}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with world("cpu") as here:
        found: dict[str, Found | str] = {case.name: trained(case, here) for case in cases()}
        found |= {f"accumulated/{case.name}": accumulated(case, here) for case in accumulated_cases()}
        found |= {f"sharded/{case.name}": sharded(case, here) for case in sharded_cases()}
        found |= {f"refused/{rule}": refused(rule, here) for rule in RULES}
        found["alone"] = trained(Case("bptt", "rows", True, True), here, joint=False)
        found |= {"masked": masked(here), "drawn": drawn(here), "exchanged": exchanged(here), "lonely": lonely(here)}
    torch.save(found, folder / f"{here.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
