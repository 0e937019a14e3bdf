"""How much memory one training step takes."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rheobase.allocations import peak_bytes
from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import PerStep, Target


@dataclass(frozen=True)
class TrainingMemory:
    """Of one `rule.backward`, in bytes.

    kept: the most that autograd holds for the backward pass at any moment. Each storage counts once; what was there
        before (parameters, buffers, input, target) does not count.
    peak: the most that is allocated beyond what was there before: kept tensors, temporary ones, and the gradients.
    """

    kept: int
    peak: int


def training_memory(rule: Rule, model: nn.Module, xs: Tensor, target: Target, loss: Loss) -> TrainingMemory:
    """Measured on copies of the model, which stays as it is, as do torch's random generators.

    Runs the rule twice: for what is kept, which also makes what is made once per process, and then for the peak.
    """

    def fresh() -> tuple[nn.Module, Callable[[], object]]:
        copied = copy.deepcopy(model)
        copied.zero_grad(set_to_none=True)
        return copied, lambda: rule.backward(copied, xs, target, loss=loss)

    with torch.random.fork_rng(devices=[xs.device] if xs.is_cuda else []):
        copied, call = fresh()
        targets = target.targets if isinstance(target, PerStep) else target
        kept = kept_bytes(call, there=[xs, targets, *copied.parameters(), *copied.buffers()])
        _, call = fresh()
        return TrainingMemory(kept, peak_bytes(call, xs.device))


class Kept:
    """Counts the storages that autograd keeps, while they are kept. ignored: addresses of those not to count."""

    def __init__(self, ignored: set[int]) -> None:
        self._ignored, self._holders = ignored, Counter[int]()
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> "Packed":
        return Packed(tensor.detach(), self)

    def unpack(self, packed: "Packed") -> Tensor:
        return packed.tensor

    def add(self, tensor: Tensor) -> int | None:
        """Counts the tensor's storage unless another holder did; the address to give back to `drop`."""
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address in self._ignored:
            return None
        self._holders[address] += 1
        if self._holders[address] == 1:
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
        return address

    def drop(self, address: int, size: int) -> None:
        self._holders[address] -= 1
        if not self._holders[address]:
            del self._holders[address]
            self.now -= size


class Packed:
    """A tensor that autograd keeps; when autograd lets go of it, it is no longer counted."""

    def __init__(self, tensor: Tensor, kept: Kept) -> None:
        self.tensor, self._kept = tensor, kept
        self._address = kept.add(tensor)
        self._size = tensor.untyped_storage().nbytes()

    def __del__(self) -> None:
        if self._address is not None:
            self._kept.drop(self._address, self._size)


def kept_bytes(call: Callable[[], object], *, there: list[Tensor]) -> int:
    """The most bytes that autograd keeps for backward passes while `call` runs, not counting those of `there`."""
    kept = Kept({tensor.untyped_storage().data_ptr() for tensor in there})
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        call()
    return kept.most
