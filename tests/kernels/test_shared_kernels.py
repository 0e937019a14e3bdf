"""Neurons of the same settings share one kernel; others do not."""

import pytest
import torch

import rheobase as rb
from rheobase.kernels import kernel_of
from rheobase.kernels.compiler import compiler


@pytest.mark.skipif(not compiler(), reason="no C compiler")
def test_twins_share_a_kernel_and_others_do_not() -> None:
    current = torch.zeros(3, 2)
    first = kernel_of(rb.LIF(0.25), current)
    assert first is not None
    assert kernel_of(rb.LIF(0.25), current) is first
    assert kernel_of(rb.LIF(0.375), current) is not first
    assert kernel_of(rb.LIF(0.25, reset="zero"), current) is not first
    assert kernel_of(rb.LIF(0.25), current.double()) is not first


@pytest.mark.skipif(not compiler(), reason="no C compiler")
def test_a_changed_neuron_has_another_kernel_than_its_twin() -> None:
    one, other = rb.LIF(0.25), rb.LIF(0.25)
    current = torch.full((2, 2), 0.75)
    assert kernel_of(one, current) is kernel_of(other, current)
    other.decay = 0.5
    assert kernel_of(other, current) is not kernel_of(one, current)
    xs = torch.full((2, 1, 2), 0.6)
    assert rb.run(torch.nn.Sequential(one), xs)[1].sum() == 0
    assert rb.run(torch.nn.Sequential(rb.LIF(0.75)), xs)[1].sum() == 2
