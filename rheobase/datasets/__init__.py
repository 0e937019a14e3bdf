"""Data sets by name, each in three parts that give time-first batches.

Adding one: a function in a file of its own that returns `Data`, a line in `DATASETS`, a test.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from numbers import Integral, Real
from typing import Any

from rheobase.datasets.camera import Camera
from rheobase.datasets.cifar import cifar10, cifar100
from rheobase.datasets.cifar10_dvs import cifar10_dvs
from rheobase.datasets.digits import digits
from rheobase.datasets.dvs_gesture import dvs_gesture
from rheobase.datasets.event_folder import event_folder
from rheobase.datasets.flow_sequences import FlowData, FlowSequences
from rheobase.datasets.imagenet import imagenet
from rheobase.datasets.layouts import Layout, Pixels, Rows, Static, Stored
from rheobase.datasets.mnist import fashion_mnist, mnist
from rheobase.datasets.mvsec import mvsec
from rheobase.datasets.ncaltech101 import n_caltech101
from rheobase.datasets.nmnist import n_mnist
from rheobase.datasets.saccade_order import saccade_order
from rheobase.datasets.saccades import saccade_digits, saccade_fashion_mnist, saccade_mnist, saccades
from rheobase.datasets.sequences import Batches, Data, Sequences
from rheobase.datasets.sequential import (
    pixel_digits,
    pixel_fashion_mnist,
    pixel_mnist,
    pixel_sequential,
    row_digits,
    row_fashion_mnist,
    row_mnist,
    row_sequential,
)
from rheobase.datasets.splits import Split
from rheobase.datasets.spoken import shd, ssc
from rheobase.names import choose

__all__ = [
    "DATASETS",
    "Batches",
    "Camera",
    "Data",
    "FlowData",
    "FlowSequences",
    "Layout",
    "Pixels",
    "Rows",
    "Sequences",
    "Split",
    "Static",
    "Stored",
    "cifar10",
    "cifar100",
    "descriptions",
    "digits",
    "event_folder",
    "fashion_mnist",
    "imagenet",
    "load",
    "mnist",
    "options_of",
    "pixel_sequential",
    "row_sequential",
    "saccade_order",
    "saccades",
]

DATASETS: dict[str, Callable[..., Data | FlowData]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "imagenet": imagenet,
    "cifar10-dvs": cifar10_dvs,
    "dvs128-gesture": dvs_gesture,
    "n-mnist": n_mnist,
    "n-caltech101": n_caltech101,
    "shd": shd,
    "ssc": ssc,
    "mvsec": mvsec,
    "event-folder": event_folder,
    "row-digits": row_digits,
    "row-mnist": row_mnist,
    "row-fashion-mnist": row_fashion_mnist,
    "pixel-digits": pixel_digits,
    "pixel-mnist": pixel_mnist,
    "pixel-fashion-mnist": pixel_fashion_mnist,
    "saccade-digits": saccade_digits,
    "saccade-mnist": saccade_mnist,
    "saccade-fashion-mnist": saccade_fashion_mnist,
    "saccade-order": saccade_order,
}


def load(name: str, **options: Any) -> Data | FlowData:
    """The data set called `name`.

    options: parameters of its function, and the fields of `Split` (validation, seed, limit, evaluation_limit)
        one by one, over the data set's own.

    Raises ValueError for an unknown name or option, naming those there are, for one that is missing, and for a value of
    another kind than the default.
    """
    require_options(name, options)
    known = options_of(name)
    # text such as augment=none has None for the word
    words = {option: "none" for option, value in options.items() if value is None and isinstance(known[option], str)}
    options, build = options | words, DATASETS[name]
    shares = {field.name for field in fields(Split)}
    split = replace(
        inspect.signature(build).parameters["split"].default,
        **{option: value for option, value in options.items() if option in shares},
    )
    return build(split=split, **{option: value for option, value in options.items() if option not in shares})


_KINDS: dict[type, type] = {bool: bool, int: Integral, float: Real, str: str}


def require_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError unless `load` takes these options for this data set."""
    known = options_of(name)
    for option, value in options.items():
        choose(f"option of data set {name!r}:", option, known)
        kind = type(known[option])
        if value is None or kind not in _KINDS:
            continue
        if not isinstance(value, _KINDS[kind]) or isinstance(value, bool) != (kind is bool):
            raise ValueError(f"Data set {name!r} expects {option} as {kind.__name__}, got {value!r}.")
    missing = [o for o, default in known.items() if default is inspect.Parameter.empty and o not in options]
    if missing:
        raise ValueError(f"Data set {name!r} needs {', '.join(missing)}: write {name}({missing[0]}=value, ...).")


def options_of(name: str) -> dict[str, Any]:
    """The options that `load` takes for this data set, with their defaults."""
    parameters = inspect.signature(choose("data set", name, DATASETS)).parameters
    own: dict[str, Any] = {option: parameter.default for option, parameter in parameters.items() if option != "split"}
    own.update(vars(parameters["split"].default))
    return own


def descriptions() -> dict[str, str]:
    """Each data set's name and what it is, in one line."""
    return {name: (inspect.getdoc(build) or "").split("\n")[0] for name, build in DATASETS.items()}
