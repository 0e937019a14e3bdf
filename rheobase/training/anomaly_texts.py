"""What a user reads about numbers that went wrong: what, where, the probable cause, what to do."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.norms import uses_batch_statistics
from rheobase.synapses import SYNAPSES

LOWER = "Lower the learning rate or clip the gradient"
GONE = (
    "Run again, the batch gives finite numbers: it hangs on rounding or on what was drawn at random. "
    f"{LOWER}; in half precision try float32."
)
ELSEWHERE = "The part of the batch in this process is fine: another process says where it went wrong, or none alone."


def word(x: Tensor) -> str:
    """What is wrong with the values of x."""
    return "NaN" if bool(x.isnan().any()) else "infinite" if bool(x.isinf().any()) else "too large to be squared"


def of_data(what: str, step: int | None, x: Tensor) -> str:
    is_bad = ~rows(x).isfinite().all(1)
    first, count = int(is_bad.nonzero()[0]), int(is_bad.sum())
    return (
        f"{_from('the ' + what, step)} is {word(x)} in {count} of {len(x)} samples, first in sample {first} of the "
        "batch. Look at the data and at what transforms them."
    )


def of_weight(what: str, name: str, x: Tensor) -> str:
    count = int((~x.isfinite()).sum())
    return (
        f"The {what} {name!r} is {word(x)} in {count} of {x.numel()} values, so an earlier update spoilt it, or it was "
        f"loaded so. Go back to the last good checkpoint. {LOWER}."
    )


def of_layer(kind: str, name: str, module: nn.Module, step: int, x: Tensor) -> str:
    """kind: "current", "potential" or "output". x: the values in question, `[n, ...]`."""
    layer = f"{name!r} ({type(module).__name__})" if name else f"the model ({type(module).__name__})"
    is_bad = ~rows(x).isfinite().all(1)
    what = f"the {kind} {'into' if kind == 'current' else 'of'} {layer}"
    return (
        f"{_from(what, step)} is {word(x)} in "
        f"{int(is_bad.sum())} of {len(is_bad)} samples; all before it is finite. {_cause(kind, module, x)}"
    )


def _cause(kind: str, module: nn.Module, x: Tensor) -> str:
    if x.dtype == torch.float16:
        return "float16 ends at 65504: use bfloat16 or float32, or scale the weights down."
    if kind == "current":
        return "What is computed between the layers before it overflows or divides by 0: put a norm there."
    if kind == "potential":
        return "Its currents add up over the steps: put a norm before it, or lower its decay."
    if isinstance(module, _BatchNorm):
        variance = module.running_var
        if not uses_batch_statistics(module) and variance is not None and bool((variance + module.eps <= 0).any()):
            return "Its running variance is not positive: load other weights, or train it again."
        return "Its input is too large to be squared: scale down what comes before it."
    if isinstance(module, SYNAPSES):
        return f"Its weights or inputs are too large. {LOWER}, or put a norm before it."
    return "It overflows, divides by 0, or takes a root or logarithm that does not exist: clamp its input."


def of_loss(step: int | None, value: Tensor, output: Tensor) -> str:
    what = _from("the loss", step) if step is not None else "The loss of the mean output, or of several steps,"
    return (
        f"{what} is {word(value)}, though the output is finite, in [{float(output.min()):.3g}, "
        f"{float(output.max()):.3g}]. A logarithm of 0 or a division by 0 in the loss? Clamp there, or use a loss that "
        "takes any output, such as cross_entropy."
    )


def of_gradient(name: str, step: int | None, grad: Tensor, neuron: str | None) -> str:
    """neuron: the layer of neurons between the parameter and the loss, None for a readout."""
    if neuron is None:
        cause = "Only the loss lies behind it: is its derivative finite there (a root or logarithm at 0)?"
    else:
        cause = (
            f"Behind it all are finite, so it breaks at {neuron!r} or between: is its surrogate's slope finite, and do "
            "errors grow from step to step (recurrent weights)?"
        )
    return f"{_from(f'the gradient of {name!r}', step)} is {word(grad)}; loss and outputs are finite. {cause} {LOWER}."


def _from(what: str, step: int | None) -> str:
    return what[0].upper() + what[1:] if step is None else f"At step {step} (from 0) {what}"


def rows(x: Tensor) -> Tensor:
    """x with one row for each of its first axis, at least one."""
    return x.reshape(len(x) if x.dim() else 1, -1)
