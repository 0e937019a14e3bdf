"""A model card: what a trained model is, how it was made, how well it does, and how to use it, in Markdown."""

import shlex
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from rheobase.datasets import Data, FlowData
from rheobase.metrics import ACCURACY, METRICS
from rheobase.version import __version__


def card(
    config: Mapping[str, Any], result: Mapping[str, Any], data: Data | FlowData, model: nn.Module, weights: str
) -> str:
    """The card of the run whose files hold `config` and `result`. weights: the name of the file beside it."""
    experiment = config["experiment"]
    full = {**experiment, **config.get("resolved", {})}
    title = f"{experiment['model']} on {experiment['data']}, trained with {experiment['rule']}"
    parts = [
        f"# {title}",
        "A spiking network trained with Rheobase. All figures are those of the run that made it.",
        _table("What it is", _facts(full, data, model)),
        _table("How well it does", _scores(config, result, data)),
        _table("How it was trained", _training(full, config)),
        _command(config),
        _use(weights, data),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(full: Mapping[str, Any], data: Data | FlowData, model: nn.Module) -> dict[str, Any]:
    return {
        "model": full["model"],
        "neuron": full.get("neuron") or "the model's own",
        "parameters": f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        "input, one step of one sample": tuple(data.train.shape),
        "time steps in training (T)": data.train.steps,
        "outputs": data.train.classes,
        "numbers": ", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters()})),
    }


def _scores(config: Mapping[str, Any], result: Mapping[str, Any], data: Data | FlowData) -> dict[str, Any]:
    """Of the weights that are in the file."""

    def text(part: str) -> str:
        score, metric = result.get(f"{part}_score"), METRICS.get(config.get("metrics", {}).get(part, ""), ACCURACY)
        return "not known" if score is None else f"{metric.name} {metric.text(score)}"

    return {
        "test": f"{text('test')} of {len(data.test):,} samples",
        "validation": f"{text('validation')} of {len(data.validation):,} samples, by which the epoch was chosen",
        "epoch": f"{result.get('best_epoch', 'not known')} of {config['experiment']['epochs']}",
    }


def _training(full: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    names = ("data", "rule", "loss", "optimizer", "learning_rate", "schedule", "weight_decay", "batch_size", "epochs",
             "precision", "seed")  # fmt: skip
    told = {name.replace("_", " "): full[name] for name in names if name in full}
    machine = {name: config[name] for name in ("date", "device", "cpu") if config.get(name)}
    commits = {name.replace("_", " "): config[name] for name in ("commit", "rheobase_commit") if config.get(name)}
    versions = ", ".join(f"{name} {version}" for name, version in config.get("versions", {}).items())
    return (
        told
        | machine
        | commits
        | {"versions": versions, "exported with": f"rheobase {__version__}, torch {torch.__version__}"}
    )


def _table(title: str, facts: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in facts.items()]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *rows])


def _command(config: Mapping[str, Any]) -> str:
    words = config.get("command")
    return f"```sh\n{shlex.join(map(str, words))}\n```" if isinstance(words, list) and words else ""


def _use(weights: str, data: Data | FlowData) -> str:
    shape = ", ".join(map(str, (data.train.steps, 1, *data.train.shape)))
    return f"""## How to use it

```python
import torch
import rheobase as rb
from rheobase.interop import load_exported

model = load_exported("{weights}")
outputs = rb.run(model, torch.zeros({shape}))  # a sequence [T, N, ...], time first
print(outputs.mean(0))
```"""
