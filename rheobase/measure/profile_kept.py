"""Whose tensors wait for the backward pass."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.measure.memory import Kept
from rheobase.measure.operations import layers_of


def kept_by_layer(model: nn.Module, call: Callable[[], object], *, there: list[Tensor]) -> dict[str, int]:
    """The most bytes that autograd keeps for each layer, while `call` runs.

    A storage that several layers keep counts at the first of them; one of those of `there` at none.
    """
    kept = _KeptByLayer({tensor.untyped_storage().data_ptr() for tensor in there})
    with ExitStack() as hooks:
        for name, module in layers_of(model).items():
            hooks.callback(module.register_forward_pre_hook(partial(kept.begin, name)).remove)
            hooks.callback(module.register_forward_hook(kept.end).remove)
        hooks.enter_context(torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack))
        call()
    return dict(kept.most_of)


class _KeptByLayer(Kept):
    def __init__(self, ignored: set[int]) -> None:
        super().__init__(ignored)
        self._layer = ""
        self._owners: dict[int, str] = {}
        self._now_of, self.most_of = Counter[str](), Counter[str]()

    def begin(self, name: str, module: nn.Module, inputs: Any) -> None:
        self._layer = name

    def end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._layer = ""

    def add(self, tensor: Tensor) -> int | None:
        before = self.now
        address = super().add(tensor)
        if address is not None and self.now > before:
            self._owners[address] = self._layer
            self._grow(self._layer, self.now - before)
        return address

    def drop(self, address: int, size: int) -> None:
        before = self.now
        super().drop(address, size)
        if self.now < before:
            self._grow(self._owners.pop(address), self.now - before)

    def _grow(self, layer: str, size: int) -> None:
        self._now_of[layer] += size
        self.most_of[layer] = max(self.most_of[layer], self._now_of[layer])
