"""Folders of photographs: which files, decoded how, drawn how, and every kind of damage named."""

import random
import shutil
import sys

import pytest
import torch
from datasets.writers import write_imagenet

from rheobase.datasets import Split, imagenet, load
from rheobase.datasets.imagenet import DEVIATION, MEAN
from rheobase.datasets.views import RandomView

Image = pytest.importorskip("PIL.Image", reason="needs Pillow")
HALF = Split(validation=0.5)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    write_imagenet(tmp_path)
    return tmp_path


def small(root, **options):
    return imagenet(**{"root": root, "size": 28, "split": HALF, **options})


def test_the_test_part_is_val_class_by_class_seen_in_the_middle_and_normalised(root):
    data = small(root, steps=3)
    xs, target = next(iter(data.test.batches(12)))
    assert xs.shape == (3, 12, 3, 28, 28)
    assert xs.stride(0) == 0
    assert target.tolist() == [0] * 6 + [1] * 6
    with Image.open(root / "val" / "n01443537" / "n01443537_2.JPEG") as file:
        whole = file.convert("RGB").resize((38, 32), Image.Resampling.BILINEAR).crop((5, 2, 33, 30))
    pixels = torch.frombuffer(bytearray(whole.tobytes()), dtype=torch.uint8).view(28, 28, 3).permute(2, 0, 1)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    torch.testing.assert_close(xs[1, 8], (pixels / 255 - mean) / deviation, rtol=0, atol=1e-5)


def test_validation_is_held_out_of_train_and_one_percent_by_default(tmp_path):
    write_imagenet(tmp_path, per_class=50)
    data = load("imagenet", root=tmp_path, size=8)
    assert (len(data.train), len(data.validation), len(data.test)) == (99, 1, 100)
    whole = small(tmp_path)
    chosen = [part.samples.indices.tolist() for part in (whole.train, whole.validation)]
    assert sorted(chosen[0] + chosen[1]) == list(range(100))
    assert whole.train.samples.source.folder == whole.validation.samples.source.folder == tmp_path / "train"


def test_only_the_train_part_is_seen_at_random(root):
    data = small(root)
    plain = small(root, augment=False)
    for part, is_random in ((data.train, True), (data.validation, False), (data.test, False), (plain.train, False)):
        first, again = (part.batch(torch.arange(4), torch.Generator())[0] for _ in range(2))
        assert torch.equal(first, again) != is_random
    assert torch.equal(data.train.targets, plain.train.targets)


def test_torchs_seed_repeats_the_random_views_on_any_number_of_threads(root):
    part = small(root).train.samples
    indices = torch.tensor([3, 0, 5])

    def read(threads, seed):
        torch.manual_seed(seed)
        return type(part.source)(part.source.folder, part.source.names, part.source.view, threads).read(indices)

    assert torch.equal(read(1, 7), read(3, 7))
    assert not torch.equal(read(1, 7), read(1, 8))


def test_a_restored_state_of_torch_goes_on_with_the_same_views(root):
    part = small(root).train.samples
    torch.manual_seed(0)
    part.read(torch.arange(4))
    state = torch.get_rng_state()
    expected = part.read(torch.arange(4))
    torch.manual_seed(99)
    torch.set_rng_state(state)
    assert torch.equal(part.read(torch.arange(4)), expected)


def test_the_views_of_one_batch_differ_among_samples(root):
    part = small(root).train.samples
    assert len({view.numpy().tobytes() for view in part.read(torch.zeros(8, dtype=torch.int64))}) > 6


def test_a_random_part_has_the_area_and_aspect_asked_for_and_lies_inside():
    view, draws = RandomView(8, area=(0.1, 0.5), aspect=(0.5, 2.0)), random.Random(0)
    boxes = [view.box((300, 200), draws) for _ in range(500)]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 300
        assert 0 <= top < bottom <= 200
        assert 0.098 < (right - left) * (bottom - top) / 60000 < 0.502
        assert 0.48 < (right - left) / (bottom - top) < 2.1
    assert len(set(boxes)) > 490
    middle = sum((left + right) / 2 for left, _, right, _ in boxes) / 500
    assert abs(middle - 150) < 10


@pytest.mark.parametrize(
    ("size", "box"), [((1000, 100), (433, 0, 566, 100)), ((100, 1000), (0, 433, 100, 566)), ((90, 90), (0, 0, 90, 90))]
)
def test_where_no_draw_fits_the_middle_is_taken(size, box):
    view = RandomView(8, area=(30.0, 40.0))
    assert view.box(size, random.Random(0)) == box


def test_half_of_the_random_views_are_mirrored():
    left_to_right = Image.linear_gradient("L").rotate(90).convert("RGB")
    view, draws = RandomView(16, area=(1.0, 1.0), aspect=(1.0, 1.0)), random.Random(0)
    seen = [view(left_to_right, draws) for _ in range(200)]
    mirrored = sum(image.getpixel((0, 8))[0] > image.getpixel((15, 8))[0] for image in seen)
    assert 70 < mirrored < 130


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA"])
def test_other_kinds_of_images_become_rgb(root, mode):
    colour = Image.new("RGB", (40, 40), (200, 200, 200))
    image = colour.quantize(4) if mode == "P" else colour.convert(mode)
    for path in (root / "val").rglob("*.JPEG"):
        image.save(path, format="PNG" if mode in ("P", "RGBA") else "JPEG")
    xs, _ = next(iter(small(root).test.batches(12)))
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    assert ((xs[0] * deviation + mean) * 255 - 200).abs().max() < 2


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"<html>not found</html>", lambda data: data[:30]],
    ids=["truncated", "empty", "a web page", "header alone"],
)
def test_a_damaged_image_is_named_when_it_is_read(root, damage):
    path = root / "val" / "n01440764" / "n01440764_3.JPEG"
    path.write_bytes(damage(path.read_bytes()))
    data = small(root)
    with pytest.raises(ValueError, match=r"n01440764_3\.JPEG: the image is damaged"):
        next(iter(data.test.batches(12)))
    assert next(iter(data.test.batches(3)))[0].isfinite().all()


def test_an_image_of_more_than_8_bits_is_named_and_not_white(root):
    path = root / "val" / "n01440764" / "n01440764_3.png"
    Image.new("I;16", (40, 40), 700).save(path)
    with pytest.raises(ValueError, match=r"n01440764_3\.png: expected 8 bits a channel, got .* mode 'I"):
        next(iter(small(root).test.batches(13)))


def test_an_image_that_was_deleted_is_named(root):
    data = small(root)
    (root / "val" / "n01440764" / "n01440764_3.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match=r"n01440764_3\.JPEG"):
        next(iter(data.test.batches(12)))


def without(path):
    return lambda root: shutil.rmtree(root / path)


def only_files(root):
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    (root / "train" / "n01440764.tar").write_bytes(b"")


def emptied(root):
    for path in (root / "train" / "n01443537").iterdir():
        path.rename(path.with_suffix(".txt"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("val/n01443537"), "expected a folder for each of at least two classes, found 1"),
        (lambda root: (root / "val/n01443537").rename(root / "val/n02"), "val: 1 of 3 classes .*: n01443537"),
        (lambda root: (root / "val/n9").mkdir(), "train: 1 of 3 classes have no folder there: n9"),
        (only_files, "train: expected a folder for each of at least two classes, found 0.*unpacked"),
        (emptied, r"n01443537: expected images \(\.jpeg, \.jpg, \.png\), found none"),
    ],
)
def test_a_folder_that_is_not_in_imagenets_form_is_refused(root, damage, message):
    damage(root)
    with pytest.raises(ValueError, match=message):
        small(root)


def test_a_missing_set_says_where_to_register(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Register at image-net\.org"):
        imagenet(root=tmp_path)


def test_the_fingerprint_tells_files_of_other_names_or_sizes_apart(root):
    prints = [small(root).test.fingerprint()]
    path = root / "val" / "n01440764" / "n01440764_0.JPEG"
    path.write_bytes(path.read_bytes() + b"\0")
    prints.append(small(root).test.fingerprint())
    path.rename(path.with_stem("other"))
    prints.append(small(root).test.fingerprint())
    assert len(set(prints)) == 3
    assert small(root).test.fingerprint() == prints[2]


def test_without_pillow_the_error_says_what_to_install(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r"pip install 'rheobase\[images\]'"):
        small(root)
