"""Nets of other libraries and what they were converted to, on the same sequence: spikes and gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.neurons import Neuron

EXACT = {"rtol": 0.0, "atol": 1e-10}
T, N = 12, 4
Run = Callable[[nn.Module, Tensor], Tensor]  # the original over a sequence, from rest: outputs [T, N, ...]


def inputs(*shape: int, strength: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return strength * torch.rand(T, N, *shape, dtype=torch.float64, generator=generator) - 0.3 * strength


def targets() -> Tensor:
    return torch.tensor([0, 1, 2, 1])


def fired(model: nn.Module, run: Callable[[], Tensor], paths: list[str]) -> dict[str, Tensor]:
    """The outputs of the modules at these paths, `[T * N, ...]`, and the model's as ""."""
    found: dict[str, list[Tensor]] = {path: [] for path in paths}

    def noting(path: str) -> Any:
        def note(module: nn.Module, given: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            found[path].append(first.detach().reshape(-1))

        return note

    handles = [model.get_submodule(path).register_forward_hook(noting(path)) for path in paths]
    try:
        with torch.no_grad():
            outputs = run()
    finally:
        for handle in handles:
            handle.remove()
    return {path: torch.cat(parts) for path, parts in found.items()} | {"": outputs.reshape(-1)}


def require_equal_spikes(net: nn.Module, made: nn.Module, xs: Tensor, run: Run) -> None:
    """Every layer of neurons gives out the same, step by step; each of those that spike does so, not always."""
    paths = [path for path, m in made.named_modules() if path and isinstance(m, Neuron) and ".neuron" not in path]
    paths += [path for path, m in made.named_modules() if path and isinstance(m, rb.Recurrent)]
    theirs = fired(net, lambda: run(net, xs), paths)
    ours = fired(made, lambda: rb.run(made, xs), paths)
    for path in paths:
        module = made.get_submodule(path)
        if isinstance(module, Neuron) and not module.spiking:
            continue
        assert torch.equal(ours[path], theirs[path].to(ours[path].dtype)), path
        assert 0.01 < theirs[path].double().mean() < 0.95, path
    torch.testing.assert_close(ours[""], theirs[""].to(ours[""].dtype), **EXACT)


def gradients_of(net: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def require_equal_gradients(net: nn.Module, made: nn.Module, xs: Tensor, run: Run, target: Tensor) -> None:
    """BPTT of the one is autograd of the other, for each parameter; both have the same ones."""
    net.zero_grad()
    outputs = run(net, xs)
    torch.stack([cross_entropy(output, target) for output in outputs]).mean().backward()
    parameters = {id(p): (name, p) for name, p in net.named_parameters() if p.requires_grad}
    expected = {key: p.grad for key, (_, p) in parameters.items()}
    net.zero_grad()
    made.zero_grad()
    rb.BPTT().backward(made, xs, target, loss=cross_entropy)
    assert {id(p) for p in made.parameters() if p.requires_grad} == parameters.keys()
    for key, (name, p) in parameters.items():
        assert p.grad is not None, name
        assert expected[key].abs().max() > 1e-8, name
        torch.testing.assert_close(p.grad, expected[key], **EXACT, msg=lambda text, name=name: f"{name}: {text}")


def require_same(net: nn.Module, made: nn.Module, xs: Tensor, run: Run) -> None:
    require_equal_spikes(net, made, xs, run)
    require_equal_gradients(net, made, xs, run, targets())


def refused(convert: Callable[..., nn.Module], net: nn.Module, *words: str, **options: Any) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are looked for below
        convert(net, **options)
    for word in words:
        assert word in str(caught.value), caught.value


def every_rule_trains(net: nn.Module, made: nn.Module, xs: Tensor) -> None:
    """Under each rule the loss of a batch falls, and the weights that change are the original's."""
    start = {name: p.detach().clone() for name, p in net.named_parameters()}
    for rule in (rb.BPTT(), rb.SLTT(), rb.OTTT(trace_decay=0.5), rb.STLLR(), rb.RateBP()):
        with torch.no_grad():
            for name, p in net.named_parameters():
                p.copy_(start[name])
        optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
        losses = []
        for _ in range(8):
            optimizer.zero_grad()
            losses.append(float(rule.backward(made, xs[:6], targets(), loss=cross_entropy).loss))
            optimizer.step()
        assert losses[-1] < 0.9 * losses[0], (rule, losses)
        assert all(not torch.equal(p, start[name]) for name, p in net.named_parameters() if p.dim() > 1), rule
