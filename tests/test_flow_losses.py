"""Optical flow: losses without truth, and the endpoint error."""

import pytest
import torch

from rheobase.flow_losses import (
    SelfSupervisedFlow,
    average_endpoint_error,
    charbonnier,
    photometric,
    smoothness,
    warped,
)

EXACT = {"rtol": 0, "atol": 1e-12}


def picture(height=12, width=15, seed=0):
    return torch.rand(2, 1, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def constant(x, y, height=12, width=15):
    return torch.tensor([x, y], dtype=torch.float64).view(1, 2, 1, 1).expand(2, 2, height, width).clone()


def test_charbonnier_is_its_equation_less_its_least_value():
    d = torch.tensor([-0.5, 0.0, 1e-3, 2.0], dtype=torch.float64)
    torch.testing.assert_close(charbonnier(d), (d * d + 1e-6) ** 0.45 - 1e-6**0.45, **EXACT)
    assert charbonnier(d)[1] == 0


@pytest.mark.parametrize(("x", "y"), [(3, -2), (-1, 4), (0, 0)])
def test_the_true_flow_of_a_shift_has_no_photometric_loss_and_another_has(x, y):
    before = picture()
    after = before.roll((y, x), (2, 3))
    flow = constant(x, y)
    # what the roll brings in on the other side is outside for the true flow
    assert float(photometric(flow, before, after)) == pytest.approx(0, abs=1e-12)
    assert photometric(flow + 1, before, after) > 0.01


def test_warping_looks_where_the_flow_leads_between_pixels_too():
    images = picture()
    seen, inside = warped(images, constant(0.25, 1.0))
    expected = 0.75 * images[..., 3 + 1, 5] + 0.25 * images[..., 3 + 1, 6]
    torch.testing.assert_close(seen[..., 3, 5], expected, **EXACT)
    assert inside[:, :, :-1, :-1].all()
    assert not inside[:, :, -1].any()
    assert not inside[:, :, :, -1].any()


def test_pixels_that_leave_the_image_do_not_count():
    before, after = picture(), picture(seed=1)
    flow = constant(4, 0)
    changed = before.clone()
    changed[..., -4:] += 1
    assert photometric(flow, changed, after) == photometric(flow, before, after)
    assert photometric(constant(0, 0), changed, after) != photometric(constant(0, 0), before, after)
    assert photometric(constant(99, 0), before, after) == 0


def test_photometric_loss_is_the_mean_over_pixels_inside():
    before, after = picture(), picture(seed=1)
    expected = charbonnier(after[..., 2:, :] - before[..., :-2, :]).mean()
    torch.testing.assert_close(photometric(constant(0, 2), before, after), expected, **EXACT)


def test_smoothness_is_zero_for_one_flow_everywhere_and_its_equation_else():
    assert smoothness(constant(3.5, -2)) == 0
    flow = torch.randn(2, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    means = []
    for dy, dx in ((1, 0), (0, 1), (1, 1), (-1, 1)):
        pairs = [
            charbonnier(flow[n, c, y, x] - flow[n, c, y + dy, x + dx])
            for n in range(2)
            for c in range(2)
            for y in range(4)
            for x in range(5)
            if 0 <= y + dy < 4 and x + dx < 5
        ]
        means.append(torch.stack(pairs).mean())
    torch.testing.assert_close(smoothness(flow), torch.stack(means).mean(), **EXACT)


def test_the_loss_leads_back_to_the_true_flow():
    before = torch.nn.functional.avg_pool2d(picture(24, 30), 5, 1, 2)
    after = before.roll(1, 3)
    target = torch.cat([before, after, torch.zeros(2, 3, 24, 30, dtype=torch.float64)], 1)
    flow = constant(0.6, 0.0, 24, 30).requires_grad_()
    SelfSupervisedFlow()(flow, target).backward()
    assert flow.grad is not None
    assert float(flow.grad[:, 0].sum()) < 0


def test_the_weight_is_of_the_smoothness():
    target = torch.cat([picture(), picture(seed=1), torch.zeros(2, 3, 12, 15, dtype=torch.float64)], 1)
    flow = torch.randn(2, 2, 12, 15, dtype=torch.float64)
    images, smooth = photometric(flow, target[:, :1], target[:, 1:2]), smoothness(flow)
    for weight in (0.0, 0.5, 3.0):
        loss = SelfSupervisedFlow(weight)(flow, target)
        torch.testing.assert_close(loss, images + weight * smooth, **EXACT)
    with pytest.raises(ValueError, match="weight of at least 0, got -1"):
        SelfSupervisedFlow(-1)
    with pytest.raises(ValueError, match="begin with two grey images"):
        SelfSupervisedFlow()(flow, target[:, :1])


def test_gradients_of_both_parts_are_those_of_finite_differences():
    target = torch.cat([picture(5, 6), picture(5, 6, seed=1)], 1)
    # away from whole numbers, where interpolation has kinks
    flow = (0.2 + 0.6 * torch.rand(2, 2, 5, 6, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: SelfSupervisedFlow()(f, target), flow, eps=1e-7, atol=1e-5)


def test_the_endpoint_error_is_the_mean_length_over_masked_pixels():
    flow, truth = torch.zeros(2, 2, 3, 3), torch.zeros(2, 2, 3, 3)
    truth[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    truth[1, :, 2, 1] = torch.tensor([0.0, 1.0])
    truth[1, :, 0, 0] = float("nan")
    mask = torch.zeros(2, 3, 3)
    mask[0, 0, 0] = mask[1, 2, 1] = mask[1, 1, 1] = 1
    assert float(average_endpoint_error(flow, truth, mask)) == pytest.approx((5 + 1 + 0) / 3)


def test_shapes_that_do_not_fit_are_refused():
    flow, mask = torch.zeros(2, 2, 3, 3), torch.ones(2, 3, 3)
    with pytest.raises(ValueError, match=r"flow \[N, 2, H, W\] = \[2, 2, 3, 4\], got shape \[2, 2, 3, 3\]"):
        average_endpoint_error(flow, torch.zeros(2, 2, 3, 4), mask)
    with pytest.raises(ValueError, match=r"mask \[N, H, W\].*got shape \[2, 1, 3, 3\]"):
        average_endpoint_error(flow, flow, mask.unsqueeze(1))
    with pytest.raises(ValueError, match="got a mask of zeros"):
        average_endpoint_error(flow, flow, 0 * mask)
    with pytest.raises(ValueError, match=r"flow \[N, 2, H, W\] = \[2, 2, 4, 3\]"):
        photometric(flow, torch.zeros(2, 1, 4, 3), torch.zeros(2, 1, 4, 3))
    with pytest.raises(ValueError, match="images of one shape"):
        photometric(flow, torch.zeros(2, 1, 3, 3), torch.zeros(2, 1, 3, 4))
