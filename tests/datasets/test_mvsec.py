"""MVSEC from files in its format, and the batches of flows."""

import pickle

import numpy as np
import pytest
import torch
from events.writers import recording, write_mvsec

import rheobase as rb
from rheobase.datasets.flow_sequences import FlowSequences
from rheobase.datasets.mvsec import mvsec, piece, some
from rheobase.datasets.splits import Split
from rheobase.flow_losses import SelfSupervisedFlow, average_endpoint_error

HEIGHT, WIDTH, IMAGES, START = 12, 16, 21, 5.0
SIZE = 8


def times():
    """Of the images: every 20 ms."""
    return START + 0.02 * np.arange(IMAGES)


def scene(folder, name, seed, known=(0.05, 0.31)):
    """A scene whose flow is known from `known[0]` to `known[1]` s after the first image: 2 right, 1 up in 50 ms."""
    rng = np.random.default_rng(seed)
    events = recording(seed, 6000, height=HEIGHT, width=WIDTH, start=int(START * 1e6), stop=int((START + 0.4) * 1e6))
    images = rng.integers(0, 256, (IMAGES, HEIGHT, WIDTH)).astype(np.uint8)
    flow_times = START + np.arange(known[0], known[1] + 1e-9, 0.05)
    flows = np.tile(np.array([2.0, -1.0])[:, None, None], (len(flow_times), 1, HEIGHT, WIDTH))
    flows[:, :, 4, 5] = 0
    write_mvsec(folder, name, events, images, times(), flows, flow_times)
    return events, images


@pytest.fixture
def root(tmp_path, monkeypatch):
    pytest.importorskip("h5py", reason="needs h5py")
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    for seed, name in enumerate(("outdoor_day2", "outdoor_day1")):
        scene(tmp_path, name, seed)
    return tmp_path


def load(root, **options):
    return mvsec(root=root, size=SIZE, **{"split": Split(validation=0.2), **options})


def every(part):
    return part.batch(torch.arange(len(part)), torch.Generator())


def middle(pictures):
    return pictures[..., 2:10, 4:12]


def test_the_test_part_has_the_pairs_whose_flow_is_known_with_events_and_images_in_the_middle(root, tmp_path):
    (tmp_path / "again").mkdir()
    events, images = scene(tmp_path / "again", "outdoor_day1", 1)
    test = load(root, steps=3).test
    # known from 0.05 to 0.30 s: images 3 .. 14 to the next
    assert (len(test), test.steps, test.shape, test.classes) == (12, 3, (2, SIZE, SIZE), 2)
    xs, target = every(test)
    assert (xs.dtype, target.dtype, list(target.shape)) == (torch.float32, torch.float32, [12, 5, SIZE, SIZE])
    for number, first in enumerate(range(3, 15)):
        span = events.between(*(round(t * 1e6) for t in times()[[first, first + 1]]))
        cut = (span.y >= 2) & (span.y < 10) & (span.x >= 4) & (span.x < 12)
        assert int(xs[:, number].sum()) == int(cut.sum())
        assert int(xs[:, number, 0].sum()) == int(span.p[cut].sum())
        expected = middle(images[[first, first + 1]]).astype(np.float32) / 255
        assert np.array_equal(target[number, :2].numpy(), expected)


def test_the_true_flow_is_of_the_time_between_the_images_and_known_where_events_were(root):
    xs, target = every(load(root).test)
    flow, mask = target[:, 2:4], target[:, 4]
    known = torch.ones(SIZE, SIZE, dtype=torch.bool)
    known[2, 1] = False
    torch.testing.assert_close(flow[:, 0][:, known], torch.full_like(flow[:, 0][:, known], 0.8))
    torch.testing.assert_close(flow[:, 1][:, known], torch.full_like(flow[:, 1][:, known], -0.4))
    assert not flow[:, :, 2, 1].any()
    assert torch.equal(mask, ((xs.sum((0, 2)) > 0) & known).float())
    assert 0.2 < float(mask.mean()) < 1
    error = average_endpoint_error(torch.zeros_like(flow), flow, mask)
    assert float(error) == pytest.approx((0.8**2 + 0.4**2) ** 0.5, rel=1e-6)


def test_a_gap_spans_several_images(root):
    one, two = load(root).test, load(root, gap=2).test
    assert len(two) == len(one) - 1
    torch.testing.assert_close(every(two)[1][:, 2].max(), torch.tensor(1.6))
    assert torch.equal(every(two)[1][0, 0], every(one)[1][0, 0])
    assert torch.equal(every(two)[1][0, 1], every(one)[1][1, 1])
    sums = every(one)[0].sum((0, 2, 3, 4))
    assert torch.equal(every(two)[0].sum((0, 2, 3, 4)), sums[:-1] + sums[1:])


def test_the_train_part_has_images_and_no_truth(root):
    data = load(root)
    xs, target = every(data.train)
    assert not target[:, 2:].any()
    assert target[:, :2].any()
    assert len(data.train) + len(data.validation) <= IMAGES - 1
    assert torch.equal(every(load(root, framing="time").train)[0].sum(0), xs.sum(0))
    assert not torch.equal(every(load(root, framing="time").train)[0], xs)


@pytest.mark.parametrize("gap", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_validation_is_one_piece_and_shares_no_time_with_train(gap, seed):
    rest, held_out = piece(50, Split(validation=0.2, seed=seed), gap)
    assert held_out.tolist() == list(range(int(held_out[0]), int(held_out[0]) + 10))
    spans = [{i + k for i in part.tolist() for k in range(gap)} for part in (rest, held_out)]
    assert not spans[0] & spans[1]
    assert len(rest) >= 50 - 10 - 2 * (gap - 1)


def test_the_seed_moves_the_validation_piece():
    assert len({int(piece(500, Split(seed=seed), 1)[1][0]) for seed in range(5)}) > 1


def test_limits_keep_samples_in_the_order_of_time_and_less_is_part_of_more(root):
    samples = torch.arange(100, 200)
    few, more = some(samples, 10, 0), some(samples, 30, 0)
    assert few.tolist() == sorted(few.tolist())
    assert set(few.tolist()) < set(more.tolist()) < set(samples.tolist())
    assert torch.equal(some(samples, None, 0), samples)
    data = load(root, split=Split(validation=0.2, limit=3, evaluation_limit=4))
    assert (len(data.train), len(data.validation), len(data.test)) == (3, 4, 4)
    with pytest.raises(ValueError, match=r"limit up to 16.*got 17"):
        load(root, split=Split(validation=0.2, limit=17))
    with pytest.raises(ValueError, match="leaves an empty part"):
        load(root, split=Split(validation=0.01))


def test_batches_are_the_samples_shuffled_anew_by_a_generator(root):
    train = load(root).train
    xs, target = every(train)
    stored = list(train.batches(5))
    assert torch.equal(torch.cat([batch for batch, _ in stored], 1), xs)
    assert torch.equal(torch.cat([batch for _, batch in stored]), target)
    shuffled = train.batches(5, generator=torch.Generator().manual_seed(0), drop_last=True)
    one, two = ([float(t[:, 0].sum()) for _, t in shuffled] for _ in range(2))
    assert (len(shuffled), len(one), len(train.batches(5))) == (3, 3, 4)
    assert one != two
    with pytest.raises(ValueError, match="No batch is left: 16 samples"):
        train.batches(17, drop_last=True)
    with pytest.raises(ValueError, match="batch size of at least 1, got 0"):
        train.batches(0)


@pytest.mark.parametrize("rule", [rb.SLTT(), rb.BPTT()], ids=["sltt", "bptt"])
def test_a_rule_takes_a_batch_and_its_loss_as_they_come(root, rule):
    xs, target = next(iter(load(root, steps=3).test.batches(4)))
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, padding=1), rb.LIF(decay=0.5), torch.nn.Conv2d(4, 2, 3, padding=1)
    )
    loss = SelfSupervisedFlow()
    result = rule.backward(net, xs, target, loss=loss)
    expected = torch.stack([loss(output, target) for output in rb.run(net, xs)]).mean()
    torch.testing.assert_close(result.loss, expected.detach())
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_frames_are_told_apart_by_what_they_are_made_of(root):
    digests = {
        part.samples.digest()
        for options in ({}, {"steps": 3}, {"gap": 2}, {"framing": "time"}, {"sort": True})
        for part in (load(root, **options).train, load(root, **options).test)
    }
    train = load(root).train
    digests |= {train.targets.digest(), train.select(torch.tensor([1, 0])).samples.digest()}
    assert len(digests) == 12
    assert pickle.loads(pickle.dumps(train)).samples.digest() == train.samples.digest()


def test_samples_and_targets_that_do_not_fit_are_refused():
    FlowSequences(torch.zeros(3, 4, 2, 6, 7), torch.zeros(3, 5, 6, 7))
    for samples, targets in (
        ((3, 4, 2, 6, 7), (3, 5, 7, 6)),
        ((3, 2, 6, 7), (3, 5, 6, 7)),
        ((3, 1, 2, 6, 7), (2, 5, 6, 7)),
    ):
        with pytest.raises(ValueError, match=r"Expected samples \[M, T, C, H, W\] and targets \[M, 5, H, W\]"):
            FlowSequences(torch.zeros(samples), torch.zeros(targets))
    with pytest.raises(ValueError, match="at least one sample"):
        FlowSequences(torch.zeros(0, 1, 2, 6, 7), torch.zeros(0, 5, 6, 7))


def test_a_batch_leaves_targets_in_memory_as_they_are():
    targets = torch.ones(2, 5, 3, 3)
    _, target = FlowSequences(torch.zeros(2, 1, 2, 3, 3), targets).batch(torch.arange(2), torch.Generator())
    assert not target[:, 4].any()
    assert targets.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": "outdoor_day1"}, "two scenes"),
        ({"test": "indoor_flying"}, "Unknown MVSEC scene 'indoor_flying'.*indoor_flying1"),
        ({"framing": "window"}, "Unknown framing"),
        ({"size": 13}, "size up to 12, got 13"),
        ({"gap": 30}, "no two images 30 apart"),
        ({"gap": 0}, "gap of at least 1"),
    ],
)
def test_an_option_that_cannot_be_is_refused(root, options, message):
    with pytest.raises(ValueError, match=message):
        mvsec(root=root, **{"size": SIZE, "split": Split(validation=0.2), **options})


def test_missing_files_are_asked_for(root):
    with pytest.raises(FileNotFoundError, match=r"indoor_flying1_gt.hdf5 of 'mvsec'.*daniilidis"):
        load(root, test="indoor_flying1")
    (root / "outdoor_day1_data.hdf5").unlink()
    with pytest.raises(FileNotFoundError, match=r"outdoor_day1_data.hdf5 of 'mvsec'"):
        load(root)
