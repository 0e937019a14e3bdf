"""Other libraries' nets and formats. Each is imported when it is asked for."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rheobase.interop.fold import fold_batch_norm as fold_batch_norm
    from rheobase.interop.nir_export import to_nir as to_nir
    from rheobase.interop.nir_import import from_nir as from_nir
    from rheobase.interop.nir_neurons import SoftResetWarning as SoftResetWarning
    from rheobase.interop.norse import from_norse as from_norse
    from rheobase.interop.onnx_export import to_onnx as to_onnx
    from rheobase.interop.snntorch import from_snntorch as from_snntorch
    from rheobase.interop.spikingjelly import from_spikingjelly as from_spikingjelly
    from rheobase.interop.weights import export_weights as export_weights
    from rheobase.interop.weights import load_exported as load_exported

_HOME = {
    "SoftResetWarning": "nir_neurons",
    "export_weights": "weights",
    "fold_batch_norm": "fold",
    "from_nir": "nir_import",
    "from_norse": "norse",
    "from_snntorch": "snntorch",
    "from_spikingjelly": "spikingjelly",
    "load_exported": "weights",
    "to_nir": "nir_export",
    "to_onnx": "onnx_export",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rheobase.interop' has no attribute {name!r}")
    return getattr(importlib.import_module(f"rheobase.interop.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
