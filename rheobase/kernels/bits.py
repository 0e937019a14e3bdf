"""Spikes in one bit each, while they wait for the backward pass."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from rheobase.kernels.compiler import compiled_code

_SOURCE = """
#include <stdint.h>
#include <string.h>
typedef {real} real;
static const real one = {one};

void pack(int64_t size, int threads, const real* spikes, uint8_t* bits) {{
    #pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < size / 8; i++) {{
        const real* s = spikes + 8 * i;
        uint8_t byte = 0;
        for (int k = 0; k < 8; k++) byte |= (uint8_t)((s[k] != 0) << k);
        bits[i] = byte;
    }}
    for (int64_t i = size / 8 * 8; i < size; i++) {{
        if (i % 8 == 0) bits[i / 8] = 0;
        bits[i / 8] |= (uint8_t)((spikes[i] != 0) << (i % 8));
    }}
}}

void unpack(int64_t size, int threads, const uint8_t* bits, real* spikes) {{
    real table[256][8];
    for (int byte = 0; byte < 256; byte++) for (int k = 0; k < 8; k++) table[byte][k] = (byte >> k) & 1 ? one : 0;
    #pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < size / 8; i++) memcpy(spikes + 8 * i, table[bits[i]], sizeof(table[0]));
    for (int64_t i = size / 8 * 8; i < size; i++) spikes[i] = (bits[i / 8] >> (i % 8)) & 1 ? one : 0;
}}
"""

_top_hooks = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)  # from PyTorch 2.7 on

# How C knows a value, and a one.
_REALS = {
    torch.float64: ("double", "1"),
    torch.float32: ("float", "1"),
    torch.bfloat16: ("uint16_t", "0x3F80"),
    torch.float16: ("uint16_t", "0x3C00"),
}


@cache
def _code(dtype: torch.dtype) -> ctypes.CDLL | None:
    real, one = _REALS[dtype]
    found = compiled_code(_SOURCE.format(real=real, one=one))
    for function in () if found is None else (found.pack, found.unpack):
        function.argtypes = [ctypes.c_int64, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        function.restype = None
    return found


def packed(spikes: Tensor) -> Tensor:
    """The bits of a dense tensor of zeros and ones, in order of its memory."""
    bits = torch.empty(-(-spikes.numel() // 8), dtype=torch.uint8)
    _call("pack", spikes.dtype, spikes.numel(), spikes, bits)
    return bits


def unpacked(bits: Tensor, dtype: torch.dtype, shape: torch.Size, stride: tuple[int, ...]) -> Tensor:
    spikes = torch.empty_strided(shape, stride, dtype=dtype)
    _call("unpack", dtype, spikes.numel(), bits, spikes)
    return spikes


def _call(name: str, dtype: torch.dtype, size: int, given: Tensor, made: Tensor) -> None:
    code = _code(dtype)
    assert code is not None  # `add` has asked
    getattr(code, name)(size, torch.get_num_threads(), given.data_ptr(), made.data_ptr())


@dataclass
class _Spikes:
    """tensor, bits: weak references, as autograd decides how long they live."""

    tensor: Callable[[], Tensor | None]
    version: int
    bits: Callable[[], Tensor | None] = lambda: None


class PackedSpikes:
    """Inside `saving()`, whatever autograd keeps of the tensors given to `add` is kept in bits, once."""

    def __init__(self) -> None:
        self._known: dict[int, _Spikes] = {}  # by address

    def add(self, spikes: Tensor) -> None:
        """spikes: zeros and ones alone, made by a kernel, without gaps in memory."""
        if _code(spikes.dtype) is not None:
            self._known[spikes.data_ptr()] = _Spikes(ref(spikes), spikes._version)

    def add_copy(self, copy: Tensor, spikes: Tensor) -> None:
        """copy: `spikes` in another precision, kept in bits as they are."""
        known = self._known.get(spikes.data_ptr())
        if known is not None and known.tensor() is spikes and known.version == spikes._version:
            self.add(copy)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Hooks that are in force already, such as `save_on_cpu`, get the bits; PyTorch 2.6 has only one at a time."""
        if _top_hooks is None:
            yield
            return
        outer = _top_hooks(False)
        keep, give = outer or (_versioned, _unchanged)

        def pack(tensor: Tensor) -> Any:
            bits = self._bits(tensor)
            if bits is None:
                return keep(tensor), None
            return keep(bits), (tensor.dtype, tensor.shape, tensor.stride())

        def unpack(kept: Any) -> Tensor:
            held, form = kept
            return give(held) if form is None else unpacked(give(held), *form)

        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            yield

    def _bits(self, tensor: Tensor) -> Tensor | None:
        known = self._known.get(tensor.data_ptr())
        spikes = known.tensor() if known else None
        if known is None or spikes is None or spikes._version != known.version:
            return None
        if tensor.numel() != spikes.numel() or tensor.dtype != spikes.dtype or not _dense(tensor):
            return None
        bits = known.bits()
        if bits is None:
            bits = packed(spikes)
            known.bits = ref(bits)
        return bits


def _dense(x: Tensor) -> bool:
    """Whether each value has a place of its own, without gaps between them."""
    reach = 1
    for step, size in sorted(zip(x.stride(), x.shape, strict=True)):
        if size > 1 and step != reach:
            return False
        reach *= size
    return True


def _versioned(tensor: Tensor) -> tuple[Tensor, int]:
    return tensor, tensor._version


def _unchanged(kept: tuple[Tensor, int]) -> Tensor:
    """With hooks in force autograd no longer looks whether a tensor was changed since, so this does."""
    tensor, version = kept
    if tensor._version != version:
        raise RuntimeError(
            f"A tensor of shape {list(tensor.shape)} that the gradient needs was changed by an in-place operation: "
            "use the form that returns a new tensor (x + y in place of x += y, inplace=False)."
        )
    return tensor
