"""The zoo's models, small, in eval mode, firing, with norms that have seen data."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import rheobase as rb
from rheobase.models import MODELS

T, N = 4, 2
SHAPES = {"mlp": (12,), "recurrent": (12,)}
OWN_SIZES: Mapping[str, dict[str, object]] = {
    "mlp": {"hidden": (32, 16)},
    "recurrent": {"hidden": 9},
    "convnet": {"channels": (6, 8)},
    "ws-convnet": {"channels": (6, 8)},
    "spikformer": {"channels": 24, "heads": 3, "depth": 1},
}


def small(name: str, dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    """The model and a sequence for it, `[T, N, ...]`."""
    torch.manual_seed(0)
    shape = SHAPES.get(name, (3, 32, 32))
    model = MODELS[name](shape, 5, **OWN_SIZES.get(name, {"width": 0.05}))
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if parameter.dim() < 2 or path.endswith(("readout.weight", "recurrent.1.weight")) or not parameter.any():
                parameter.add_(0.4 * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.running_mean.normal_()  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return model.to(dtype).eval(), 3 * torch.randn(T, N, *shape, dtype=dtype)


def spikes_of(model: nn.Module, xs: Tensor) -> dict[str, Tensor]:
    """What each layer of neurons gives out, by the layer's name in the model that was exported."""
    with rb.record(model, what=["spikes"]) as found:
        rb.run(model, xs)
    return {
        name.removeprefix("layers.").removesuffix(".neuron").replace(".", "_").removesuffix("_neuron"): found[
            name
        ].spikes
        for name in found
    }
