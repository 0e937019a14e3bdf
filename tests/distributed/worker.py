"""One of two processes: computes all cases with its half of the batch and writes what it found."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from distributed.cases import RULES, Case, cases, flat_buffers, flat_gradients
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

import rheobase as rb
from rheobase.distributed import World, parallel, synchronised, world
from rheobase.learner import Learner
from rheobase.losses import cross_entropy

Found = dict[str, Tensor]


def trained(case: Case, here: World) -> Found:
    """The gradient after one call, the outputs, the running statistics, the number of gradient reductions."""
    xs, target = case.batch()
    share = slice(here.rank * len(target) // 2, (here.rank + 1) * len(target) // 2)
    model = synchronised(case.model())
    learner = parallel(Learner(model, RULES[case.rule], cross_entropy), here)
    reductions: list[dist.GradBucket] = []

    def counted(state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        reductions.append(bucket)
        return allreduce_hook(None, bucket)

    learner.register_comm_hook(None, counted)
    torch.manual_seed(7 + here.rank)
    result = learner(xs[:, share], target[share])
    result.loss.backward()
    return {
        "gradients": flat_gradients(model),
        "outputs": result.outputs,
        "buffers": flat_buffers(model),
        "reductions": torch.tensor(len(reductions)),
    }


def masked(here: World) -> Found:
    """What a sequence of ones becomes under time-shared dropout, as the training loop seeds the processes."""
    torch.manual_seed(3 + here.rank)
    model = nn.Sequential(rb.TimeSharedDropout(0.5), nn.Linear(64, 64), rb.LIF(threshold=0.1))
    nn.init.eye_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    return {"masks": rb.run(model, torch.ones(2, 1, 64))[0]}


def exchanged(here: World) -> Found:
    """What the processes tell each other."""
    own = torch.arange(3.0) + here.rank
    texts = here.gather({"long": torch.arange(here.rank + 2, dtype=torch.uint8), "table": own.view(1, 3).double()})
    here.barrier()
    return {
        "sum": here.sum(own),
        "own": own,
        "number": torch.tensor(here.sum(0.25 + here.rank)),
        **{f"{name} of {rank}": tensor for rank, text in enumerate(texts) for name, tensor in text.items()},
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with world("cpu") as here:
        found = {case.name: trained(case, here) for case in cases()}
        found |= {"dropout": masked(here), "exchange": exchanged(here)}
    torch.save(found, folder / f"{here.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
