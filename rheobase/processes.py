"""What processes that train together tell one another. Alone, a process has everything already."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

_apart = 0


def count() -> int:
    """Processes that train together, 1 without a group."""
    return dist.get_world_size() if not _apart and dist.is_available() and dist.is_initialized() else 1


@contextmanager
def apart() -> Iterator[None]:
    """Inside, this process is alone: for what the others do not take part in, which would wait for them for ever."""
    global _apart
    _apart += 1
    try:
        yield
    finally:
        _apart -= 1


def require_whole(model: nn.Module) -> None:
    """Refuses a model of whose parameters this process holds a part only, outside of a sharded learner's forward."""
    if not (dist.is_available() and dist.is_initialized()):
        return
    from torch.distributed.tensor import DTensor

    parts = [name for name, p in model.named_parameters() if isinstance(p, DTensor)]
    if parts:
        raise ValueError(
            f"Parameter {parts[0]!r} is sharded, but rules pass through the model in ways of their own, between which "
            "FSDP2 would not gather it. Shard the learner as a whole: fully_shard(Learner(model, rule, loss)), and "
            "call that; it works with every rule."
        )


def summed(x: Tensor) -> Tensor:
    """The sum of all processes' x, which have one shape."""
    if count() == 1:
        return x
    carried = _carried(x).clone()
    dist.all_reduce(carried)
    return carried.to(x.device)


def gathered(x: Tensor) -> Tensor:
    """All processes' x, which have one shape, `[processes, ...]`."""
    if count() == 1:
        return x.unsqueeze(0)
    carried = _carried(x).contiguous()
    parts = [torch.empty_like(carried) for _ in range(count())]
    dist.all_gather(parts, carried)
    return torch.stack(parts).to(x.device)


def of_first(x: Tensor) -> Tensor:
    """The first process's x; the others' has the same shape."""
    if count() == 1:
        return x
    carried = _carried(x).clone()
    dist.broadcast(carried, 0)
    return carried.to(x.device)


def _carried(x: Tensor) -> Tensor:
    """x, on the GPU where the group carries nothing else."""
    return x.detach() if f"{x.device.type}:" in dist.get_backend_config() else x.detach().cuda()
