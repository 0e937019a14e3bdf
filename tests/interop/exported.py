"""Models as graphs of NIR, and sequences to run them on."""

import warnings

import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.interop.nir_export import to_nir
from rheobase.interop.nir_neurons import SoftResetWarning


def exported(model: nn.Module, x: Tensor, dt: float = 1e-3) -> "nir.NIRGraph":  # noqa: F821 - optional
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SoftResetWarning)
        return to_nir(model, x, dt)


def sequence(*shape: int) -> Tensor:
    return 2 * torch.randn(6, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def require_same(model: nn.Module, other: nn.Module, xs: Tensor) -> None:
    torch.testing.assert_close(rb.run(other, xs), rb.run(model, xs), rtol=0, atol=1e-12)
