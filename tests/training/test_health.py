import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.training.health import ailments, firing_rates, without_gradient


def test_the_firing_rate_is_the_mean_of_the_spikes():
    neuron = rb.LIF(decay=0.0, threshold=1.0)
    xs = (torch.rand(5, 4, 3) * 2).round()
    assert firing_rates(nn.Sequential(neuron), xs, chunk=2) == {"0": pytest.approx(float((xs >= 1).float().mean()))}


def test_a_recurrent_layer_is_counted_over_all_its_steps():
    layer = rb.Recurrent(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False), rb.IF())
    nn.init.constant_(layer.synapse.weight, 0.5)
    nn.init.constant_(layer.recurrent.weight, 0.0)
    assert firing_rates(nn.Sequential(layer), torch.ones(8, 1, 1)) == {"0.neuron": 0.5}


def test_a_readout_that_does_not_spike_has_no_firing_rate():
    model = nn.Sequential(rb.IF(), nn.Linear(2, 2), rb.LI(0.5))
    assert list(firing_rates(model, torch.ones(3, 1, 2))) == ["0"]


def test_measuring_leaves_no_hook_behind_also_when_the_model_raises():
    model = nn.Sequential(nn.Linear(3, 3), rb.LIF(), nn.Linear(4, 4))
    with pytest.raises(RuntimeError):
        firing_rates(model, torch.ones(2, 1, 3))
    assert not any(module._forward_hooks for module in model.modules())


def test_layers_are_dead_below_half_a_percent_and_saturated_above_ninety():
    rates = {"a": 0.0049, "b": 0.005, "c": 0.9, "d": 0.91}
    assert ailments(rates) == {"a": "dead", "d": "saturated"}


def test_layers_below_silent_neurons_with_a_narrow_surrogate_get_no_gradient():
    model = nn.Sequential(
        nn.Linear(2, 2), rb.IF(threshold=50.0, surrogate="rectangle"), nn.Linear(2, 2), rb.IF(), nn.Linear(2, 3)
    )
    xs, target = torch.rand(4, 3, 2), torch.zeros(3, dtype=torch.long)
    assert without_gradient(model) == ["0", "2", "4"]
    rb.BPTT().backward(model, xs, target, loss=cross_entropy)
    assert without_gradient(model) == ["0"]
    model[0].requires_grad_(False)
    assert without_gradient(model) == []
