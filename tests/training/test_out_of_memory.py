import json
import os
import subprocess
import sys
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.measure import peak_bytes
from rheobase.training import out_of_memory, rule_named
from rheobase.training.free_memory import free_bytes, left_by_control_groups, let_go
from rheobase.training.need import Need, need
from rheobase.training.out_of_memory import is_out_of_memory, what_would_fit

CPU = torch.device("cpu")


def test_running_out_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as real:
        torch.empty(10**16)
    assert is_out_of_memory(real.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert is_out_of_memory(
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] data. DefaultCPUAllocator: not enough memory")
    )
    with pytest.raises(RuntimeError) as other:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not is_out_of_memory(other.value)
    assert not is_out_of_memory(ValueError("DefaultCPUAllocator: not enough memory"))


def nets() -> dict[str, tuple[nn.Module, list[int]]]:
    return {
        "convnet": (rb.models.convnet((2, 12, 12), 3, channels=(8, 16)), [2, 12, 12]),
        "mlp": (rb.models.mlp((64,), 3, hidden=[256, 256]), [64]),
        "recurrent": (rb.models.recurrent((64,), 3), [64]),
    }


def batch(shape: list[int], steps: int = 8, samples: int = 64) -> tuple[Tensor, Tensor]:
    return torch.rand(steps, samples, *shape), torch.randint(3, (samples,))


@pytest.mark.parametrize("rule", [rb.BPTT(), rb.BPTT(checkpoint=True), rb.BPTT(chunk=4), rb.SLTT()], ids=str)
@pytest.mark.parametrize("name", ["convnet", "mlp", "recurrent"])
def test_what_a_batch_needs_is_known_from_a_few_of_its_samples(name: str, rule: Any) -> None:
    """What is kept grows by the same for each sample; what comes and goes is at most some layers of one chunk.

    How these are laid out, and when they are let go of, hangs a little on the size: within a quarter.
    """
    model, shape = nets()[name]
    xs, target = batch(shape)
    predicted = need(model, rule, xs, target, cross_entropy)
    assert predicted is not None
    real = peak_bytes(lambda: rule.backward(model, xs, target, loss=cross_entropy), CPU)
    assert predicted.at(64) == pytest.approx(real, rel=0.25)
    assert predicted.at(32) < 0.9 * real  # so it does grow with the batch


@pytest.mark.parametrize("samples", [1, 3])
def test_fewer_samples_than_are_measured_are_repeated(samples: int) -> None:
    model, xs, target = small()
    found = need(model, rb.BPTT(), xs[:, :samples], target[:samples], cross_entropy, batch_size=256)
    assert found is not None
    assert found.at(256) == pytest.approx(needed(rb.BPTT()), rel=0.01)


def test_what_fits_is_the_inverse_of_what_is_needed() -> None:
    line = Need.line(1000.0, 10.0)
    assert line.at(25) == 1250
    assert line.samples_within(1250) == 25
    assert line.samples_within(1259) == 25
    assert line.samples_within(900) == 0


def small() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    return rb.models.mlp((16,), 3, hidden=[64]), *batch([16], steps=32, samples=256)


@cache
def needed(rule: Any) -> float:
    found = need(small()[0], rule, *small()[1:], cross_entropy)
    assert found is not None
    return found.at(256)


def lines(rule: Any, share: float) -> list[str]:
    """What is said when `share` of what the rule needs is free."""
    model, xs, target = small()
    limit = int(share * needed(rule))
    return what_would_fit(model, rule, xs, target, cross_entropy, limit_bytes=limit).splitlines()


def test_the_exact_gradient_comes_first_then_one_steps_memory_then_a_smaller_batch() -> None:
    head, *found = lines(rb.BPTT(), 0.6)
    assert "a batch of 256 samples, 32 steps each" in head
    assert "under bptt" in head
    flags = [line.split(":")[0].split() for line in found]
    assert flags[:2] == [["--rule", "'bptt(checkpoint=True)'"], ["--rule", "sltt"]]
    assert flags[2][0] == "--batch-size"
    assert int(flags[2][1]) == pytest.approx(0.7 * 0.6 * 256, abs=5)
    assert rule_named("bptt(checkpoint=True)") == rb.BPTT(checkpoint=True)
    assert all(len(line) < 120 for line in found)


def test_what_does_not_fit_is_left_out() -> None:
    found = "\n".join(lines(rb.BPTT(), 0.15))
    assert "checkpoint" not in found
    assert "--rule sltt" in found
    assert "Nothing tried fits" in "\n".join(lines(rb.SLTT(), 0.001))


def test_a_chunk_is_made_smaller_before_anything_is_computed_twice() -> None:
    _, first, *_ = lines(rb.SLTT(chunk=16), 0.6)
    assert first.split(":")[0].split() == ["--rule", "sltt", "--chunk", "1"]


def test_a_batch_that_should_have_fitted_is_halved() -> None:
    assert "--batch-size 128:" in lines(rb.SLTT(), 5.0)[-1]


def test_the_batch_that_several_processes_share_is_that_of_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_memory, "count", lambda: 4)
    assert "--batch-size 512:" in lines(rb.SLTT(), 5.0)[-1]


def test_nothing_is_recommended_of_which_nobody_knows_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_memory, "free_bytes", lambda device: None)
    monkeypatch.setattr(out_of_memory, "need", lambda *_: None)
    said = what_would_fit(small()[0], rb.BPTT(), *small()[1:], cross_entropy)
    assert "inf" not in said
    assert "Nothing tried fits" in said


def test_rules_that_cannot_train_the_model_are_not_recommended() -> None:
    model = nn.Sequential(nn.Linear(4, 4), rb.SequenceBatchNorm1d(4), rb.LIF(), nn.Linear(4, 3))
    said = what_would_fit(model, rb.BPTT(), torch.rand(8, 32, 4), torch.zeros(32, dtype=torch.long), cross_entropy)
    assert "--rule" not in said
    assert "--batch-size 16" in said


@pytest.mark.parametrize("target", [torch.zeros(6, dtype=torch.long), rb.PerStep(torch.zeros(8, 6, dtype=torch.long))])
def test_measuring_leaves_no_trace(target: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), rb.TimeSharedDropout(0.5), rb.LIF(), nn.Linear(4, 3))
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert need(model, rb.BPTT(), torch.rand(8, 6, 4, generator=torch.Generator()), target, cross_entropy) is not None
    assert torch.equal(torch.get_rng_state(), random)
    torch.testing.assert_close(dict(model.state_dict()), kept, rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())


def test_a_failed_computation_lets_go_of_its_tensors() -> None:
    held = []

    def fails() -> None:
        big = torch.ones(10)
        held.append(weakref.ref(big))
        raise MemoryError

    try:
        fails()
    except MemoryError as error:
        assert held[0]() is not None
        let_go(error, CPU)
        assert held[0]() is None


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_limits_of_control_groups_count_with_those_above_them(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("4:cpu,memory:/a\n1:name=systemd:/x\n0::/job/step\n")
    write(root / "job/step", memory__max="max\n", memory__current="10\n")
    write(root / "job", memory__max="1000\n", memory__current="700\n", memory__stat="anon 600\ninactive_file 50\n")
    write(root / "memory/a", memory__limit_in_bytes="500", memory__usage_in_bytes="100")
    write(root / "memory", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes="100")
    assert sorted(left_by_control_groups(root, own)) == [350, 400]
    assert left_by_control_groups(root, tmp_path / "none") == []


def test_what_is_free_is_at_most_what_the_machine_has() -> None:
    free = free_bytes(CPU)
    assert free is not None
    assert 0 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to RLIMIT_AS")
def test_what_is_recommended_fits_where_the_batch_did_not() -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "running_out.py")],
        # The limit is on addresses: none for more than what is in use, as of memory itself.
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["said"].startswith("Out of memory: a batch of 256 samples, 64 steps each, needs about")
    assert found["with more memory"] == "fits"
    flags = [words for words, _ in found["tries"]]
    assert flags[:2] == [["--rule", "bptt(checkpoint=True)"], ["--rule", "sltt"]]
    assert 64 <= int(flags[2][1]) < 256
    assert [outcome for _, outcome in found["tries"]] == ["fits"] * 3
