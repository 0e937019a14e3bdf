"""
8. Bring a SpikingJelly model
=============================

A network that is written for SpikingJelly learns here by any rule, as it is: ``rb.from_spikingjelly`` exchanges its
neurons for ours, which spike at the same steps, and leaves the weights where they are. You need ``pip install
'rheobase[digits]' spikingjelly``.
"""

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

import rheobase as rb

# %%
# Their network
# -------------
#
# With SpikingJelly's conventions: the leak is ``tau``, the input is scaled by 1 / tau (``decay_input``), the reset is
# to 0.

torch.manual_seed(0)
hidden = 100
net = nn.Sequential(
    layer.Linear(64, hidden),
    neuron.LIFNode(tau=2.0, decay_input=True, v_threshold=0.5, surrogate_function=surrogate.ATan()),
    layer.Linear(hidden, hidden),
    neuron.ParametricLIFNode(init_tau=3.0, decay_input=False, v_threshold=1.0, v_reset=None, detach_reset=True),
    layer.Linear(hidden, 10),
)

# %%
# Ours
# ----
#
# With ``check`` both are run on a sequence and compared step by step and layer by layer, and a difference would be an
# error.

steps = 8
data = rb.datasets.load("digits", steps=steps)
xs, target = next(iter(data.train.batches(64)))
ours = rb.from_spikingjelly(net, check=xs)
print(ours)

# %%
# There is no ``tau`` any more but a ``decay`` of 1 - 1 / tau, no ``reset_net``, and no step mode. Spikes and BPTT's
# gradients are the original's:


def run_theirs(xs: Tensor) -> Tensor:
    functional.reset_net(net)
    return torch.stack([net(x) for x in xs])


with torch.no_grad():
    difference = float((run_theirs(xs) - rb.run(ours, xs)).abs().max())
print(f"largest difference between the outputs: {difference:.1e}")

loss = torch.stack([rb.losses.cross_entropy(output, target) for output in run_theirs(xs)]).mean()
theirs = torch.autograd.grad(loss, net[0].weight)[0]
rb.BPTT().backward(ours, xs, target, loss=rb.losses.cross_entropy)
gradient_difference = float((theirs - net[0].weight.grad).abs().max())
print(f"largest difference between the gradients: {gradient_difference:.1e}, of {float(theirs.abs().max()):.1e}")

# %%
# Note ``net[0].weight.grad``: the parameters are the same tensors, so the optimiser that you have goes on, and what
# trains one network trains the other. With ``copy=True`` they are not.
#
# Another rule
# ------------

epochs = 5
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
batches = data.train.batches(64, generator=torch.Generator().manual_seed(0))
for _ in range(epochs):
    for xs, target in batches:
        optimizer.zero_grad()
        rb.SLTT().backward(ours, xs, target, loss=rb.losses.cross_entropy)
        optimizer.step()

xs, target = next(iter(data.test.batches(len(data.test))))
accuracy = rb.losses.accuracy(rb.run(ours, xs), target)
with torch.no_grad():
    accuracy_theirs = rb.losses.accuracy(run_theirs(xs), target)
print(f"test accuracy {100 * accuracy:.1f} %; of the original, run by SpikingJelly, {100 * accuracy_theirs:.1f} %")

# %%
# What has no counterpart is refused by name, with what to do:

try:
    rb.from_spikingjelly(nn.Sequential(layer.Linear(64, 10), neuron.NonSpikingLIFNode()))
except ValueError as error:
    print(error)

# %%
# ``rb.from_snntorch`` and ``rb.from_norse`` do the same for theirs: :doc:`/conversion` has the table of conventions.
