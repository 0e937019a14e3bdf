"""
7. To hardware
==============

A chip has neither PyTorch nor a rule; it has neurons, weights and a clock. We train a network that a chip can hold,
write it as a graph of NIR, the exchange format of neuromorphic hardware and simulators, let another simulator run
that graph, and see the same spikes. Then the same with ONNX, for processors of other kinds. You need ``pip install
'rheobase[demo,nir,onnx]' onnxruntime spikingjelly``.
"""

import json
import tempfile
import textwrap
import warnings
from pathlib import Path

import nir
import onnx
import onnxruntime
import torch
from matplotlib.figure import Figure
from spikingjelly.activation_based.nir_exchange.from_nir import import_from_nir
from torch import Tensor, nn

import rheobase as rb
from rheobase import plots

# %%
# A network that a chip can hold
# ------------------------------
#
# Neurons on hardware return to a fixed value after a spike: ``reset="zero"``. The output are neurons too, and the
# class is the one that spikes most. The batch norm is there for training alone; it will be folded into the weights.

steps, epochs = 20, 8
data = rb.datasets.load("digits", steps=steps)
torch.manual_seed(0)
net = nn.Sequential(
    nn.Linear(64, 100, bias=False), nn.BatchNorm1d(100), rb.LIF(decay=0.8, reset="zero"),
    nn.Linear(100, 10), rb.LIF(decay=0.9, reset="zero"),
)  # fmt: skip

optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
batches = data.train.batches(64, generator=torch.Generator().manual_seed(0))
for _ in range(epochs):
    for xs, target in batches:
        optimizer.zero_grad()
        rb.SLTT().backward(net, xs, target, loss=lambda output, goal: rb.losses.cross_entropy(5 * output, goal))
        optimizer.step()
net.eval()

xs, target = next(iter(data.test.batches(len(data.test))))
ours = rb.run(net, xs)
accuracy = rb.losses.accuracy(ours, target)
print(f"test accuracy {100 * accuracy:.1f} %, {float(ours.sum(0).mean()):.1f} spikes an output neuron in {steps} steps")

# %%
# A graph
# -------
#
# ``rb.to_nir`` takes the model, one step of some input, for its shape, and how many seconds a step stands for. NIR's
# neurons are continuous in time: a decay of 0.8 a step becomes a time constant of dt / (1 - 0.8). Whoever runs the
# graph has to step by the same dt.

graph = rb.to_nir(net, xs[0], dt=1e-4)
for name, node in graph.nodes.items():
    print(f"{name:8} {type(node).__name__}")
print("edges:", " ".join(f"{source}-{target}" for source, target in graph.edges))
print(f"time constants: {float(graph.nodes['2'].tau[0]):.1e} s and {float(graph.nodes['4'].tau[0]):.1e} s")

# %%
# The batch norm is gone: its mean, deviation, gain and bias are in the weights of the `Affine` node before it. A file
# of it:

room = tempfile.TemporaryDirectory()
nir.write(Path(room.name) / "digits.nir", graph)
back = rb.from_nir(Path(room.name) / "digits.nir")
again = rb.run(back, xs)
same_back = float((again == ours).float().mean())
print(back)
print(f"spikes as before: {100 * same_back:.2f} %")

# %%
# Elsewhere
# ---------
#
# SpikingJelly reads the graph, knowing nothing of us, and goes through the steps:

other, state, outputs = import_from_nir(graph, dt=1e-4).eval(), None, []
with torch.no_grad():
    for x in xs:
        output, state = other(x, state)
        outputs.append(output)
theirs = torch.stack(outputs)
same_elsewhere = float((theirs == ours).float().mean())
print(f"spikes as ours: {100 * same_elsewhere:.2f} %; accuracy {100 * rb.losses.accuracy(theirs, target):.1f} %")

# %%
# Where a potential meets the threshold within the last digit of a float32, sums in another order decide: that is all
# that may differ here.
#
# What the format cannot say
# --------------------------
#
# The neurons of `rheobase` subtract the threshold by default, which keeps what is above it, and often learns better.
# NIR has no word for that. The graph is written all the same, with the reset in its metadata, which ``rb.from_nir``
# reads and others do not; so there is a warning. What NIR has no node for is refused by name.

soft = nn.Sequential(nn.Linear(64, 10), rb.LIF(decay=0.8))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    rb.to_nir(soft, xs[0])
print(textwrap.fill(f"warning: {caught[0].message}", width=88))

try:
    rb.to_nir(nn.Sequential(nn.Linear(64, 10), nn.LayerNorm(10), rb.LIF(reset="zero")), xs[0])
except ValueError as error:
    print(textwrap.fill(f"refused: {error}", width=88))

# %%
# ONNX
# ----
#
# For processors that run ONNX there is one step as a graph, with the state as inputs and outputs: whoever runs it
# keeps the state. The metadata tells the names and where each state starts.


def run_onnx(path: Path, xs: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    told = json.loads(session.get_modelmeta().custom_metadata_map["rheobase"])["states"]
    state = {each["input"]: torch.full((xs.shape[1], *each["shape"]), each["start"]).numpy() for each in told}
    names, outputs = [each.name for each in session.get_outputs()], []
    for x in xs:
        found = dict(zip(names, session.run(None, {"x": x.numpy(), **state}), strict=True))
        state = {each["input"]: found[each["output"]] for each in told}
        outputs.append(torch.from_numpy(found["output"]))
    return torch.stack(outputs)


onnx.save(rb.to_onnx(net, xs[0]), Path(room.name) / "digits.onnx")
by_onnx = run_onnx(Path(room.name) / "digits.onnx", xs)
same_onnx = float((by_onnx == ours).float().mean())
room.cleanup()
print(f"spikes as ours: {100 * same_onnx:.2f} %")

# %%
# One digit in all four, an output neuron a row and a step a column:


def side_by_side(found: dict[str, Tensor], sample: int) -> Figure:
    with plots.figure(9, 2.4) as figure:  # in the look of the library's own pictures
        for panel, (name, spikes) in zip(figure.subplots(1, len(found), sharey=True), found.items(), strict=True):
            panel.imshow(spikes[:, sample].T, cmap="Blues", aspect="auto", interpolation="nearest")
            panel.set(title=name, xlabel="time step", yticks=range(10))
        figure.axes[0].set_ylabel(f"class (it is a {int(target[sample])})")
    return figure


undecided = int((ours.sum(0) > 0).sum(1).argmax())  # the digit that the most classes spike for
side_by_side(
    {"rheobase": ours, "NIR and back": again, "SpikingJelly": theirs, "onnxruntime": by_onnx}, sample=undecided
)

# %%
# A trained run
# -------------
#
# A run of ``rheobase train`` is written by one command, which also tries the file with a few samples:
#
# .. code-block:: console
#
#    $ rheobase train --rule sltt --neuron "lif(decay=0.8, reset=zero)" --data digits --out runs/chip
#    $ rheobase export runs/chip --format nir --out chip.nir
#    $ rheobase export runs/chip --format onnx --out chip.onnx
#    $ rheobase export runs/chip --format weights --out chip.safetensors
#
# What can be said in NIR, and who reads what, is in :doc:`/hardware`.
