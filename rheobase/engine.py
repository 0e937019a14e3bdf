"""Time: how a plain model runs over a sequence.

Inside a chunk of c steps the model sees tensors `[c * N, ...]`, step after step; only neurons, recurrent layers and
step-wise norms unfold them. State lives in a `Sweep`, never in a module.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.aside import override
from rheobase.casts import Casts, uncached, widened
from rheobase.explained import explained
from rheobase.kernels import Kernel, kernel_of
from rheobase.kernels.bits import PackedSpikes
from rheobase.layers import SEQUENCE_NORMS, Loop, Scale, TimeSharedDropout
from rheobase.layout import channels_last, prefers_channels_last
from rheobase.neurons import Neuron, State
from rheobase.norms import knows, normalised, uses_batch_statistics
from rheobase.once import OnceStore
from rheobase.synapses import SYNAPSES, effective_weight
from rheobase.treatment import Forward, Treatment, detached
from rheobase.views import ViewingAnyLayout, may_view
from rheobase.wiring import OUTPUT, Wiring

# Layers that give the same output at every step when they get the same input; dropout is not among them.
_STEADY = (
    nn.Flatten, nn.Unflatten, nn.Identity, nn.ReLU, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid,
    nn.LayerNorm, nn.GroupNorm, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.Upsample, Scale,
)  # fmt: skip
ONE_STEP = "If the model's forward loops over time, write it for one step [N, ...]: run and the rules do the looping."


class Sweep:
    """One run of a model over one sequence; use it in a `with`.

    Rules of your own may count on `model`, `steps`, `states`, `chunk` (how many steps are in the tensors that pass
    through the model now), `offset` (which is the first of them), `unfolded`, `folded`, `state`, `name` and
    `is_steady`; the rest is experimental.

    steps: length of the sequence, None if unknown.
    cut: state is detached after every step, so that no gradient flows through time.
    learns: what is computed once per sequence keeps its graph, for `settle`.
    packs: spikes that wait for the backward pass are kept in bits, for rules that keep many steps.
    states: what each neuron, recurrent layer and time-shared dropout carries to the next step.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        steps: int | None,
        treatment: Treatment | None = None,
        cut: bool = False,
        learns: bool = False,
        packs: bool = False,
    ) -> None:
        self.model, self.steps, self.cut = model, steps, cut
        self.treatment = treatment or Treatment()
        self.states: dict[nn.Module, State] = {}
        self.chunk = 1  # steps in the tensors that pass through the model now
        self.widest = 0  # bytes of the largest layer of neurons at one step, once a step was computed
        self.offset = 0  # the first of them within the chunk
        self.packed = PackedSpikes() if packs else None
        self.reuses_state = True  # a step without gradient may overwrite the state before it
        self.wiring: Wiring | None = None
        self.tap: Callable[[Sweep, Neuron, Tensor], Tensor] | None = None  # sees what each neuron gives out
        self._once = OnceStore(learns)
        self.casts = Casts()
        self.channels_last = prefers_channels_last(model)
        self._viewing = ViewingAnyLayout if self.channels_last and may_view(model) else nullcontext
        self._layout = channels_last if self.channels_last else lambda x: x
        self._kernels: dict[tuple[Neuron, torch.dtype], Kernel | None] = {}
        self._folded = self._samples = 1  # steps in the whole chunk, samples in each
        self._done: dict[nn.Module, int] = {}  # steps of the chunk that each module has computed
        self._names = {module: name for name, module in model.named_modules()}
        self._override = override(model, self._forward_of)

    def __enter__(self) -> "Sweep":
        self._override.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._override.__exit__(*error)

    def forward(self, xs: Tensor, *, steady: bool = False) -> Tensor:
        """The outputs `[c, N, ...]` of the next c steps, given `xs` `[c, N, ...]`.

        steady: the input is the same at all steps of the sequence, so what depends on it alone is computed once.
        """
        self.chunk = self._folded = len(xs)
        size = self._samples = xs.shape[1]
        self._done.clear()
        inference = xs.is_inference() or torch.is_inference_mode_enabled()  # whose tensors hide changes in place
        if steady and not inference:
            x = self._once.input(xs, self._layout)
        else:
            x = self._layout(xs[0] if len(xs) == 1 else xs.flatten(0, 1))
        version = None if inference else xs._version
        saving = self.packed.saving() if self.packed and torch.is_grad_enabled() else nullcontext()
        with saving, uncached(), self._viewing(), self.wiring or nullcontext():
            output = self.model(x)
            if self.wiring and isinstance(output, Tensor):
                self.wiring.arrive(OUTPUT, output)
        self._once.forget_given()
        if not self._once.input_is_intact or not (inference or xs._version == version):
            raise explained(
                RuntimeError(
                    "The model changes its input in place, which steps and passes to come would see changed. Use the "
                    "form that returns a new tensor (x = x - y in place of x -= y, nn.ReLU() without inplace=True)."
                ),
                "model",
            )
        if not isinstance(output, Tensor):
            raise explained(
                TypeError(f"Expected the model to return one tensor, got {type(output).__name__}."), "model"
            )
        if output.dim() == 0 or len(output) != len(xs) * size:
            raise explained(
                ValueError(
                    f"Expected the model to keep the leading axis: {len(xs) * size} rows in ({len(xs)} steps of {size} "
                    f"samples), got an output of shape {list(output.shape)}. A model must not mix samples or steps."
                ),
                "model",
            )
        # In the usual memory order: what sees the outputs, such as a loss, need not know of another.
        return output.contiguous().unflatten(0, (len(xs), size))

    def settle(self) -> None:
        """Sends the gradients gathered at what was computed once per sequence on to the parameters behind it."""
        self._once.settle()
        self.casts.forget()

    def once(self, module: nn.Module, x: Tensor, compute: Forward) -> Tensor | None:
        """`compute(x)`, made once per sequence, if x cannot change over time; else None."""
        return self._once.output(module, x, compute, self.chunk)

    def is_steady(self, x: Tensor) -> bool:
        """Whether x is known to be the same at every step; its first N rows are then the whole of it."""
        return self._once.known(x) is not None

    def weight(self, synapse: nn.Module) -> Tensor:
        """The synapse's effective weight, computed once per sequence."""
        return self._once.weight(synapse, lambda: self._layout(effective_weight(synapse)))

    def kernel(self, neuron: Neuron, currents: Tensor) -> Kernel | None:
        """The neuron's kernel for such currents; None if it has to run as plain PyTorch."""
        key = neuron, currents.dtype
        if key not in self._kernels:
            self._kernels[key] = kernel_of(neuron, currents)
        return self._kernels[key]

    def detach(self) -> None:
        """Cuts the graph between the steps so far and those to come."""
        self.states = {module: detached(state) for module, state in self.states.items()}

    def masks(self) -> dict[nn.Module, State]:
        """The dropout masks of this sequence."""
        return {m: state for m, state in self.states.items() if isinstance(m, TimeSharedDropout)}

    def unfolded(self, x: Tensor) -> list[Tensor]:
        """x `[c * N, ...]` as c tensors `[N, ...]`."""
        return [x] if self.chunk == 1 else list(x.unflatten(0, (self.chunk, -1)).unbind(0))

    def folded(self, steps: list[Tensor]) -> Tensor:
        """The inverse of `unfolded`."""
        return steps[0] if len(steps) == 1 else torch.cat(steps)

    def _apart(self, x: Tensor, *state: Tensor) -> Tensor:
        """x, as a copy if its memory is that of a part of the state: the model may change x in place."""
        if all(part.data_ptr() != x.data_ptr() for part in state):
            return x
        copy = x.clone()
        if self.packed:
            self.packed.add_copy(copy, x)
        return copy

    def each_step(self, x: Tensor) -> Iterator[Tensor]:
        """The steps of x one by one, the chunk being that step alone meanwhile."""
        steps, chunk = self.unfolded(x), self.chunk
        try:
            for self.offset, step in enumerate(steps):
                self.chunk = 1
                yield step
        finally:
            self.chunk, self.offset = chunk, 0

    def state(self, neuron: Neuron, current: Tensor) -> State:
        """The neuron's state before this step."""
        state = self.states.get(neuron)
        if state is None:
            with torch.no_grad():
                return tuple(part.clone() for part in neuron.initial_state(current))  # kernels work in place
        if state[0].shape != current.shape:
            raise explained(
                ValueError(
                    f"Expected a current of shape {list(state[0].shape)} at {self.name(neuron)!r}, as in the step "
                    f"before, got {list(current.shape)}: the batch must keep its size and order during a sequence."
                ),
                "model",
            )
        return state

    def name(self, module: nn.Module) -> str:
        """The module's name in the model, for messages."""
        return self._names.get(module, type(module).__name__)

    def place(self, module: nn.Module) -> int:
        """How often the module was already used at this step: 0 at its first use."""
        return (self._done[module] - 1) // self._folded

    def normalised(self, norm: _BatchNorm, plain: Forward, x: Tensor) -> Tensor:
        """Batch normalisation per step, or over the sequence for the sequence norms."""
        if not uses_batch_statistics(norm):
            return plain(x)
        whole = isinstance(norm, SEQUENCE_NORMS)
        if whole:
            self.needs_all_steps(norm)
        if knows(norm, x):
            y = normalised(norm, x, 1 if whole else self.chunk)
            if self.wiring:
                self.wiring.carry(x, y)
            return y
        return plain(x) if whole else self.folded([plain(step) for step in self.unfolded(x)])

    def needs_all_steps(self, norm: nn.Module) -> None:
        if self.chunk != self.steps:
            raise explained(
                ValueError(
                    f"{self.name(norm)!r} ({type(norm).__name__}) normalises over the whole sequence, but sees "
                    f"{self.chunk} of {self.steps or 'unknown many'} steps at a time. Leave `chunk` out (BPTT, RateBP, "
                    "run), use nn.BatchNorm, which normalises each step, or put the model in eval mode."
                ),
                "sequence-norms",
            )

    def _use(self, module: nn.Module) -> None:
        self._done[module] = self._done.get(module, 0) + self.chunk

    def _forward_of(self, module: nn.Module) -> Forward | None:
        plain = module.forward
        if isinstance(module, Neuron):
            return partial(self._neuron, module)
        if isinstance(module, Loop):
            return partial(self._in_time, self.treatment.recurrent, module)
        if isinstance(module, TimeSharedDropout):
            return partial(self._in_time, self.treatment.dropout, module)
        if isinstance(module, SYNAPSES):
            return partial(self._synapse, module, plain)
        if isinstance(module, _BatchNorm):
            return partial(self._norm, module, plain)
        if type(module) in _STEADY and not getattr(module, "return_indices", False):
            return partial(self._other, module, plain)
        return None

    def _neuron(self, neuron: Neuron, current: Tensor, *state: Any) -> Tensor:
        if state:
            raise explained(
                TypeError(
                    f"Expected {self.name(neuron)!r} ({type(neuron).__name__}) to be called with a current alone, got "
                    f"{len(state)} more: its state is kept for it, so it gives the spikes alone. {ONE_STEP}"
                ),
                "model",
            )
        self._require_rows(neuron, current)
        self._use(neuron)
        self._used_once(neuron)
        if self.wiring:
            self.wiring.arrive(neuron, current)
        dtype = current.dtype
        self.widest = max(self.widest, current.numel() * current.element_size() // self.chunk)
        fired = self.treatment.neuron(self, neuron, widened(current))
        spikes = self._apart(fired, *self.states.get(neuron, ())).to(dtype)
        if self.packed and spikes is not fired:
            self.packed.add_copy(spikes, fired)
        if self.tap:
            spikes = self.tap(self, neuron, spikes)
        if self.wiring:
            self.wiring.leave(neuron, spikes)
        return spikes

    def _synapse(self, synapse: nn.Module, plain: Forward, input: Tensor) -> Tensor:
        self._use(synapse)
        if self.wiring:
            self.wiring.arrive(synapse, input)
        current = self.treatment.synapse(self, synapse, input, plain)
        if self.wiring:
            self.wiring.leave(synapse, current)
        return current

    def _norm(self, norm: _BatchNorm, plain: Forward, input: Tensor) -> Tensor:
        self._use(norm)
        return self.treatment.norm(self, norm, input, plain)

    def _other(self, module: nn.Module, plain: Forward, *inputs: Any, **options: Any) -> Any:
        self._use(module)
        return self.treatment.other(self, module, plain, *inputs, **options)

    def _in_time(self, treat: Callable[..., Tensor], module: nn.Module, x: Tensor) -> Tensor:
        self._require_rows(module, x)
        self._use(module)
        self._used_once(module)
        return treat(self, module, x)

    def _require_rows(self, module: nn.Module, x: Tensor) -> None:
        rows = 1 if self.chunk == 1 else self.chunk * self._samples
        if x.dim() == 0 or len(x) % rows:
            raise explained(
                ValueError(
                    f"Expected a current of {self.chunk} steps, {self._samples} samples each, at "
                    f"{self.name(module)!r}, one below the other along the first axis, got shape "
                    f"{list(x.shape)}. {ONE_STEP}"
                ),
                "model",
            )

    def _used_once(self, module: nn.Module) -> None:
        if self._done[module] > self._folded:
            raise explained(
                ValueError(
                    f"{self.name(module)!r} ({type(module).__name__}) is used twice in one step; its state would mix "
                    f"two places. Give each place a layer of its own. {ONE_STEP}"
                ),
                "model",
            )
