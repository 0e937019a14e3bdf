"""Two nets, one of another library, on the same sequence: equal at every step and layer, or the first that differs."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rheobase.inference import run
from rheobase.interop.conversion import without_graphs
from rheobase.neurons import Neuron

Run = Callable[[nn.Module, Tensor], object]


def require_equal(net: nn.Module, made: nn.Module, xs: Tensor, run_net: Run) -> None:
    """Compares what the modules of both nets give out, `xs` being `[T, N, ...]`; both are copied.

    run_net: runs the other library's net over the sequence, from rest.

    In float64 and eval mode: what is left of a difference is no matter of rounding, nor of random numbers.

    Raises ValueError with the first step and layer that differ, or if nothing spikes.
    """
    xs = xs.detach().double()
    theirs = _outputs(_doubled(net), xs, run_net)
    ours = _outputs(_doubled(made), xs, lambda model, sequence: run(model, sequence, chunk=1))
    differences = []
    for order, (path, output) in enumerate(ours.items()):
        expected = theirs.get(path)
        if expected is None or expected.numel() != output.numel():
            if not path:
                raise ValueError("The net gives out something else than one tensor [N, ...] a step.")
            continue
        steps = (output.flatten() - expected.flatten()).abs().unflatten(0, (len(xs), -1))
        wrong = (~(steps <= 1e-9 * (1 + expected.abs().max()))).any(1)  # NaN is nowhere equal
        if wrong.any():
            step = int(wrong.nonzero()[0])
            differences.append((step, order, path, float(steps[step].max())))
    if differences:
        step, _, path, size = min(differences)
        kind = type(made.get_submodule(path)).__name__
        raise ValueError(
            f"The converted net differs first at step {step} in {path or 'its output'} ({kind}), by up to {size:.3g}. "
            "If a forward of your own keeps state, loops over time or looks at the neurons' state, write it for one "
            "step."
        )
    neurons = [path for path, module in made.named_modules() if isinstance(module, Neuron) and module.spiking]
    if not any(ours[path].any() for path in neurons if path in ours):
        raise ValueError("No neuron spikes on the sequence given as check, so it shows nothing: give a stronger one.")


def _outputs(net: nn.Module, xs: Tensor, run_net: Run) -> dict[str, Tensor]:
    """What each module gives out in all steps, `[T * N, ...]`, by path, in the order of computation."""
    found: defaultdict[str, list[Tensor]] = defaultdict(list)

    def noting(path: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, Tensor):
                found[path].append(first.detach())

        return note

    for path, module in net.named_modules():
        module.register_forward_hook(noting(path))
    with torch.no_grad(), _Float64():
        run_net(net, xs)
    return {path: torch.cat([part.flatten() for part in parts]) for path, parts in found.items()}


def _doubled(net: nn.Module) -> nn.Module:
    return deepcopy(net, without_graphs(net)).double().eval()


class _Float64(TorchFunctionMode):
    """Inside, `x.float()` leaves a double what it is: snnTorch makes its spikes by it."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.float and args[0].dtype == torch.bool:
            return args[0].double()
        return func(*args, **(kwargs or {}))
