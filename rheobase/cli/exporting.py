"""The command `rheobase export`: a run's best weights for hardware, other simulators and other programs."""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from torch import Tensor, nn

from rheobase.cli.flags import Folder, Switch
from rheobase.inference import run
from rheobase.interop.extras import optional
from rheobase.interop.nir_export import to_nir
from rheobase.interop.nir_import import from_nir
from rheobase.interop.nir_neurons import SoftResetWarning
from rheobase.interop.onnx_export import to_onnx
from rheobase.interop.weights import export_weights, load_exported, require_free, write_new
from rheobase.names import choose
from rheobase.training.evaluate import load_run

Format = Literal["nir", "onnx", "weights"]
STEP = 1e-4  # seconds, what importers of NIR expect where they do not ask
SAMPLES = 8  # of the test part, that the written file is tried with


def export(
    folder: Folder,
    format: Format,
    out: Path,
    dt: float | None = None,
    overwrite: Switch = False,
) -> int:
    """Write the best weights of a run for elsewhere: a NIR graph, an ONNX graph of one step, or weights with a card.

    Args:
        folder: of the run.
        format: nir for neuromorphic hardware and other simulators, onnx for runtimes, weights for safetensors.
        out: the file to write.
        dt: seconds that a time step stands for; 1e-4 in NIR by default.
        overwrite: replace the file.
    """
    write = choose("format", format, _WRITERS)
    require_free(out, overwrite=overwrite)
    console = Console(highlight=False, soft_wrap=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SoftResetWarning)
        lines = write(_Asked(folder, out, dt, overwrite))
    for warning in caught:
        console.print(f"warning: {warning.message}", markup=False, style="yellow")
    for line in lines:
        console.print(line, markup=False)
    return 0


@dataclass(frozen=True)
class _Asked:
    folder: Path
    out: Path
    dt: float | None
    overwrite: bool

    def trained(self) -> tuple[nn.Module, Tensor]:
        """The model, and a few samples of the test part, `[T, N, ...]`."""
        _, data, model = load_run(self.folder)
        xs, _ = data.test.batch(
            torch.arange(min(SAMPLES, len(data.test))), torch.Generator().manual_seed(0), torch.device("cpu")
        )
        return model.cpu().eval(), xs


def _nir(asked: _Asked) -> list[str]:
    nir, dt = optional("nir", "nir"), STEP if asked.dt is None else asked.dt
    model, xs = asked.trained()
    graph = to_nir(model, xs[0], dt)
    buffer = io.BytesIO()
    nir.write(buffer, graph)
    write_new(asked.out, buffer.getvalue())
    difference = _difference(model, from_nir(asked.out), xs)
    return [
        f"{asked.out}: NIR graph of {len(graph.nodes)} nodes, one step {dt:g} s.",
        f"Read back, its outputs for {xs.shape[1]} samples of the test part differ by at most {difference:.2g}.",
    ]


def _onnx(asked: _Asked) -> list[str]:
    model, xs = asked.trained()
    graph = to_onnx(model, xs[0], asked.dt)
    write_new(asked.out, graph.SerializeToString())
    states = sum(each.name.startswith("state.") for each in graph.graph.input)
    return [f"{asked.out}: ONNX graph of one step; nodes: {len(graph.graph.node)}, states in and out: {states}."]


def _weights(asked: _Asked) -> list[str]:
    if asked.dt is not None:
        raise ValueError(f"dt={asked.dt} has no effect on weights: leave --dt out.")
    weights, card = export_weights(asked.folder, asked.out, overwrite=asked.overwrite)
    model, xs = asked.trained()
    difference = _difference(model, load_exported(weights), xs)
    return [
        f"{weights}: the weights; {card}: the model card.",
        f"Read back, the outputs for {xs.shape[1]} samples of the test part differ by at most {difference:.2g}.",
    ]


def _difference(model: nn.Module, other: nn.Module, xs: Tensor) -> float:
    return float((run(model, xs) - run(other.eval(), xs)).abs().max())


_WRITERS: dict[str, Callable[[_Asked], list[str]]] = {"nir": _nir, "onnx": _onnx, "weights": _weights}
