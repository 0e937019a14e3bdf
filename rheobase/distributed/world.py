"""The processes that train together."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from rheobase.processes import gathered, summed

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_PATIENCE = timedelta(minutes=30)
# Seconds for gloo's threads to let go of what they exchanged last. DistributedDataParallel keeps them beyond the group,
# and one that needs Python while that shuts down aborts the process, which torchrun takes for a failed run.
_REST = 0.2

Number = TypeVar("Number", Tensor, float)


@dataclass(frozen=True)
class World:
    """The processes that train together, and which of them this one is.

    rank: of this process, from 0, among `size`. local_rank: among those of its machine. device: what it computes on.

    Each method is called by all processes, in the same order.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this is the one process that prints and writes files."""
        return self.rank == 0

    def sum(self, value: Number) -> Number:
        """The sum over the processes, of tensors of one shape or of numbers."""
        if self.size == 1:
            return value
        if isinstance(value, Tensor):
            return summed(value)
        return float(summed(torch.tensor(value, dtype=torch.float64)))

    def gather(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Each process's tensors, on the CPU; of one name they have one dtype, and one shape but for their length."""
        own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        if self.size == 1:
            return [own]
        for name, tensor in own.items():
            if tensor.dim() == 0:
                raise ValueError(f"Expected tensors with a first axis, got the scalar {name!r}: gather it as [1].")
        lengths = gathered(torch.tensor([len(tensor) for tensor in own.values()]))
        found: list[dict[str, Tensor]] = [{} for _ in range(self.size)]
        for column, (name, tensor) in enumerate(own.items()):
            longest = tensor.new_zeros(int(lengths[:, column].max()), *tensor.shape[1:])
            longest[: len(tensor)] = tensor
            for rank, whole in enumerate(gathered(longest)):
                found[rank][name] = whole[: lengths[rank, column]].clone()
        return found

    def barrier(self) -> None:
        """Returns once all processes have come here."""
        self.sum(torch.zeros(1))


@contextmanager
def world(device: str, *, patience: timedelta = _PATIENCE) -> Iterator[World]:
    """The processes that torchrun has started, connected inside; without torchrun this process alone.

    device: "cpu"; "cuda", each process having the GPU of its local rank; "auto", "cuda" where there are GPUs.
    patience: how long one waits for another before it gives up. One that dies does not keep the others waiting.

    Within a group that the caller has connected already, that one, which is left as it is.

    Raises ValueError for environment variables that are not those of torchrun, and for GPUs that are not there.
    """
    connected = dist.is_available() and dist.is_initialized()
    place = (dist.get_rank(), dist.get_world_size(), _local_rank()) if connected else _place()
    if place is None:
        yield World(device=device_named(device, None))
        return
    rank, size, local_rank = place
    own = device_named(device, local_rank)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    here = World(rank, size, local_rank, own)
    if connected:
        yield here
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo", timeout=patience)
    try:
        yield here
    except BaseException:
        group = dist.group.WORLD
        if group is not None:
            group.abort()  # what is under way may wait for a process that is gone
        raise
    finally:
        dist.destroy_process_group()
        time.sleep(_REST)


@contextmanager
def world_of(device: str, given: World | None = None) -> Iterator[World]:
    """The world given, which is left as it is, or without one that of `world(device)`."""
    if given is not None:
        yield given
        return
    with world(device) as own:
        yield own


def _place() -> tuple[int, int, int] | None:
    """Rank, size and local rank, None outside of torchrun."""
    if "RANK" not in os.environ and "WORLD_SIZE" not in os.environ:
        return None
    missing = [name for name in _VARIABLES if name not in os.environ]
    if missing:
        raise ValueError(
            f"Expected the environment variables {', '.join(_VARIABLES)}, as torchrun sets them, but "
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set: start with `torchrun`, or unset "
            "RANK and WORLD_SIZE to train in one process."
        )
    try:
        rank, size, local_rank = (int(os.environ[name]) for name in _VARIABLES[:3])
    except ValueError:
        rank, size, local_rank = -1, 0, 0
    if not 0 <= local_rank <= rank < size:
        found = ", ".join(f"{name}={os.environ[name]!r}" for name in _VARIABLES[:3])
        raise ValueError(f"Expected whole numbers with 0 <= LOCAL_RANK <= RANK < WORLD_SIZE, got {found}.")
    return rank, size, local_rank


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", dist.get_rank()))


def device_named(name: str, local_rank: int | None = None) -> torch.device:
    """The device called "cpu", "cuda" or "auto", the GPU if any; local_rank: among several processes, None for one."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f'Expected device "cpu", "cuda" or "auto", got {name!r}.')
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if not gpus:
        raise ValueError('device="cuda", but torch finds no GPU here: use "cpu" or "auto".')
    if local_rank is None:
        return torch.device("cuda")
    if local_rank >= gpus:
        raise ValueError(
            f"Process {local_rank} of this machine, counted from 0, has no GPU of its own: torch finds {gpus} here. "
            'Start as many as there are GPUs (torchrun --nproc-per-node gpu), or train with device="cpu".'
        )
    return torch.device("cuda", local_rank)
