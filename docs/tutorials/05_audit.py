"""
5. Audit your gradients
=======================

Every rule but BPTT gives up some of the gradient, and every spiking network can be built so that hardly any gradient
is left. ``rheobase.measure.audit`` puts each rule beside the exact gradient of your model on your data, layer by
layer, says where the difference arises, and what to do. We audit a sound network and a broken one, mend it, and see
that the accuracy follows. You need ``pip install 'rheobase[demo]'``.
"""

import itertools
import textwrap

import torch
from torch import nn

import rheobase as rb
from rheobase import plots
from rheobase.measure import audit, findings, verdicts
from rheobase.training import evaluate

# %%
# The digits again, but a row of pixels at each step: T = 8, and a row has to be remembered until the others have
# come.

data = rb.datasets.load("row-digits")
batches = list(itertools.islice(data.train.batches(64, generator=torch.Generator().manual_seed(0)), 4))
rules = ["bptt", "truncated-bptt(horizon=4)", "ottt", "sltt", "sltt(steps=2)", "rate-bp"]

# %%
# A sound network
# ---------------


def sound() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 64), rb.LIF(decay=0.9, threshold=0.5),
        nn.Linear(64, 64), rb.LIF(decay=0.9, threshold=0.5),
        nn.Linear(64, 10), rb.LI(decay=0.9),
    )  # fmt: skip


found = audit(sound(), batches, rules, loss=rb.losses.cross_entropy)
for rule in found.rules:
    print(f"{rule.rule:26} cosine {rule.total.cosine:.2f}, length {rule.total.norm_ratio:.2f} of the exact one")

# %%
# As a picture: above, how well each layer's gradient points the way of the exact one; below, how much of it is lost
# where.

plots.audit(found, "sound network on row-digits, before training")

# %%
# Most of what SLTT loses is lost through time, as it should be: it cuts every path between steps. ``verdicts`` says
# it in a sentence for each rule:

for verdict in verdicts(found):
    print(textwrap.fill(f"{verdict.rule}: {verdict.text}", width=88, subsequent_indent="    "))

# %%
# A broken network
# ----------------
#
# The same layers with two mistakes that are easily made: a threshold that nothing reaches, and a surrogate so narrow
# that hardly any neuron has a slope.


def broken() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 64), rb.LIF(decay=0.9, threshold=0.5, surrogate="triangle(width=0.001)"),
        nn.Linear(64, 64), rb.LIF(decay=0.9, threshold=20.0),
        nn.Linear(64, 10), rb.LI(decay=0.9),
    )  # fmt: skip


ill = audit(broken(), batches, rules, loss=rb.losses.cross_entropy)
plots.audit(ill, "broken network on row-digits, before training")

# %%
# In the last row all looks well, and that is deceptive: what gradient there is, is the readout's, and every rule has
# that. The rows above tell more, and ``findings`` looks at the model itself, whatever the rule:

for finding in findings(ill):
    print(textwrap.fill(f"{finding.kind}: {finding.text}", width=88, subsequent_indent="    "))
print("the sound network:", findings(found) or "nothing found")

# %%
# Does it matter?
# ---------------
#
# We train both, and the broken one with each mistake mended alone.

epochs = 15


def trained(net: nn.Module, rule: rb.Rule) -> float:
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    shuffled = data.train.batches(64, generator=torch.Generator().manual_seed(0))
    for _ in range(epochs):
        for xs, target in shuffled:
            optimizer.zero_grad()
            rule.backward(net, xs, target, loss=rb.losses.cross_entropy)
            optimizer.step()
    return evaluate(net, data.test)


lower, wider = broken(), broken()
lower[3] = rb.LIF(decay=0.9, threshold=0.5)
wider[1] = rb.LIF(decay=0.9, threshold=0.5)
accuracies = {
    "sound": trained(sound(), rb.BPTT()),
    "broken": trained(broken(), rb.BPTT()),
    "broken, lower threshold": trained(lower, rb.BPTT()),
    "broken, wider surrogate": trained(wider, rb.BPTT()),
    "sound, with SLTT": trained(sound(), rb.SLTT()),
}
for name, accuracy in accuracies.items():
    print(f"{name:24} {100 * accuracy:.1f} %")

# %%
# On the command line
# -------------------
#
# ``rheobase audit`` does the same over a whole training, at its start, in between and at its end, and writes the
# figures, the picture and a page:
#
# .. code-block:: console
#
#    $ rheobase audit --rules bptt ottt sltt --data row-digits --epochs 4 --out runs/audit
#    $ rheobase audit runs/mine --rules bptt ottt sltt
#
# What each figure means is in :doc:`/audit`.
