"""One step of a model as an ONNX graph with explicit state."""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rheobase.inference import require_neurons
from rheobase.interop.conversion import without_graphs
from rheobase.interop.extras import optional
from rheobase.interop.one_step import OneStep, states_at_rest
from rheobase.neurons import State
from rheobase.version import __version__

if TYPE_CHECKING:
    import onnx

_TALKING = ("torch.onnx", "onnx_ir", "onnxscript")  # loggers of the exporter and of what it uses


def to_onnx(model: nn.Module, sample: Tensor, dt: float | None = None) -> "onnx.ModelProto":
    """One step of `model`, as it computes in eval mode, as an ONNX graph: `x`, states -> `output`, states.

    sample: one step of some input, `[N, ...]`; only its shape and dtype count, and of the shape not N.
    dt: the time that one step stands for, seconds, for the record.

    Each state is an input `state.NAME` and an output `next.NAME`, to be given to the next step; NAME is that of the
    neuron or loop in the model, with .0, .1, ... where it carries several. The metadata "rheobase" is JSON: versions,
    dt, and of each state the two names, the shape of one sample and the number that it starts at.

    `onnx.save(graph, path)` writes it. Made by torch's own exporter, which needs onnxscript.

    Raises ValueError for a model that torch cannot trace, naming the reason.
    """
    for package in ("onnx", "onnxscript"):
        optional(package, "onnx")
    require_neurons(model)
    if dt is not None and not dt > 0:
        raise ValueError(f"Expected a step of dt > 0 seconds, got {dt}.")
    if sample.dtype == torch.float64:
        raise ValueError("torch's exporter rounds numbers such as decays to single precision: export model.float().")
    own = copy.deepcopy(model, without_graphs(model)).cpu().eval()
    x = torch.zeros(2, *sample.shape[1:], dtype=sample.dtype)  # of one alone torch would take the size for fixed
    with torch.no_grad():
        rest = states_at_rest(own, x)
        graph = _exported(own, x, rest)
    graph.producer_name, graph.producer_version = "rheobase", __version__
    entry = graph.metadata_props.add()
    entry.key, entry.value = "rheobase", json.dumps(_record(rest, dt))
    return graph


def _exported(model: nn.Module, x: Tensor, rest: dict[str, State]) -> "onnx.ModelProto":
    states = [part for parts in rest.values() for part in parts]
    names = _names(rest)
    batch = {0: torch.export.Dim("batch")}
    slots = {name: len(parts) for name, parts in rest.items()}
    try:
        with _quiet():
            program = torch.onnx.export(
                OneStep(model, slots), (x, *states), dynamo=True, verbose=False,
                input_names=["x", *(f"state.{name}" for name in names)],
                output_names=["output", *(f"next.{name}" for name in names)],
                dynamic_shapes=(batch, tuple(batch for _ in states)),
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ValueError(f"torch cannot trace one step of {type(model).__name__}: {reason}") from error
    assert program is not None
    graph = program.model_proto
    if not all(given.type.tensor_type.shape.dim[0].dim_param for given in graph.graph.input):
        raise ValueError(f"One step of {type(model).__name__} depends on how many samples there are: N is not free.")
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says of its own parts, and of packages that are not there."""
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in _TALKING}
    try:
        for logger in levels:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def _names(rest: dict[str, State]) -> list[str]:
    return [
        name if len(parts) == 1 else f"{name}.{index}" for name, parts in rest.items() for index in range(len(parts))
    ]


def _record(rest: dict[str, State], dt: float | None) -> dict[str, Any]:
    states = [part for parts in rest.values() for part in parts]
    return {
        "rheobase": __version__,
        "torch": torch.__version__,
        "dt": dt,
        "states": [
            {
                "input": f"state.{name}",
                "output": f"next.{name}",
                "shape": list(part.shape[1:]),
                "start": _start(part, name),
            }
            for name, part in zip(_names(rest), states, strict=True)
        ],
    }


def _start(state: Tensor, name: str) -> float:
    first = float(state.flatten()[0])
    if not (state == first).all():
        raise ValueError(f"Expected all cells of {name!r} to start at one number, got {state.min()} to {state.max()}.")
    return first
