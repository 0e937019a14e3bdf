"""Kernels come and go with the compiler; the results stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rheobase.kernels import compiler

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import logging, sys
logging.basicConfig(level=logging.WARNING, format="%(name)s|%(message)s", stream=sys.stderr)
import torch, rheobase as rb
from torch import nn
from rheobase.kernels import kernel_of
torch.set_num_threads(1)
torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), rb.LIF(0.5, threshold=0.4),
    nn.Flatten(), nn.Linear(48, 5), rb.LIF(0.7, threshold=0.3), nn.Linear(5, 3),
).double()
xs, target = torch.rand(4, 4, 2, 4, 4).double() * 2, torch.randint(3, (4,))
for rule in (rb.BPTT(), rb.SLTT(), rb.RateBP(chunk=1), rb.OTTT(), rb.STLLR()):
    net.zero_grad()
    rule.backward(net, xs, target, loss=rb.losses.cross_entropy)
    print("%.10f" % sum((p.grad * torch.linspace(1, 2, p.numel()).view_as(p)).sum() for p in net.parameters()))
print("%.10f" % rb.run(net.eval(), xs).sum())
print(kernel_of(rb.LIF(), torch.zeros(3).double()) is not None)
"""
Ran = tuple[list[str], bool, list[str]]


def start(cache: Path, **environment: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if name not in ("CC", "RHEOBASE_KERNELS")}
    kept |= {"RHEOBASE_CACHE": str(cache), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def result(process: "subprocess.Popen[str]") -> Ran:
    """The numbers that were printed, whether there were kernels, the notices of the package."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    *numbers, kernels = out.split()
    return numbers, kernels == "True", [line for line in err.splitlines() if line.startswith("rheobase|")]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What two processes that compile at the same time, in a cold folder, both find."""
    cache = tmp_path_factory.mktemp("cache")
    first, second = [result(process) for process in [start(cache), start(cache)]]
    assert first == second
    numbers, kernels, notices = first
    assert kernels
    assert notices == []
    assert len({*numbers}) == len(numbers)
    left = sorted(path.suffix for path in (cache / "kernels").iterdir())
    assert left
    assert set(left) == {".so"}
    return numbers


def test_without_a_compiler_the_results_are_the_same_and_one_notice_says_so(
    expected: list[str], tmp_path: Path
) -> None:
    numbers, kernels, notices = result(start(tmp_path, PATH=str(tmp_path)))
    assert numbers == expected
    assert not kernels
    assert len(notices) == 1
    assert "no C compiler" in notices[0]


SMALL = "int answer(void) { return 42; }"


def answer() -> int | None:
    """As a fresh process would find it."""
    compiler.compiler.cache_clear()
    found = compiler.compiled_code.__wrapped__(SMALL)
    compiler.compiler.cache_clear()
    return None if found is None else found.answer()


def test_kernels_can_be_switched_off_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path))
    monkeypatch.setenv("RHEOBASE_KERNELS", "off")
    assert answer() is None
    assert caplog.records == []
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("RHEOBASE_KERNELS", "on")
    assert answer() == 42


def test_a_compiler_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = tmp_path / "cc"
    failing.write_text("#!/bin/sh\necho no such header >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", str(failing))
    assert answer() is None
    assert ["no such header" in record.getMessage() for record in caplog.records] == [True]


def test_a_compiler_that_fails_gives_one_notice_for_all_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "/bin/false")
    compiler.compiler.cache_clear()
    assert compiler.compiled_code.__wrapped__(SMALL) is None
    assert compiler.compiled_code.__wrapped__(SMALL + " ") is None
    compiler.compiler.cache_clear()
    assert len([record for record in caplog.records if record.name == "rheobase"]) == 1


def test_a_compiler_that_is_not_there_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "/no/such/compiler")
    assert answer() == 42


def test_a_cache_that_cannot_be_written_is_replaced_for_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("RHEOBASE_CACHE", str(blocked / "cache"))
    assert answer() == 42
    assert caplog.records == []
    assert list(tmp_path.iterdir()) == [blocked]


def test_what_is_compiled_once_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path))
    assert answer() == 42
    monkeypatch.setattr(compiler, "_compile", lambda *_: pytest.fail("compiled again"))
    assert answer() == 42


def test_a_damaged_file_in_the_cache_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "one"))
    assert answer() == 42
    (whole,) = (tmp_path / "one" / "kernels").iterdir()
    broken = tmp_path / "two" / "kernels" / whole.name
    broken.parent.mkdir(parents=True)
    broken.write_bytes(whole.read_bytes()[:100])
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "two"))
    assert answer() == 42


@pytest.mark.skipif(sys.platform == "win32", reason="files have no owner's number there")
def test_code_that_another_user_left_in_the_cache_is_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path))
    assert answer() == 42
    compiled = []
    compile_anew = compiler._compile
    monkeypatch.setattr(compiler, "_compile", lambda *given: (compiled.append(given), compile_anew(*given)))
    monkeypatch.setattr(compiler.os, "getuid", lambda: -1)
    assert answer() == 42
    assert len(compiled) == 1


def test_a_folder_with_a_space_in_its_name_does_not_hide_the_openmp_library(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/home/a user/lib/torch/lib/libgomp.so.1"
    line = f"7f00-7f01 r-xp 00000000 08:01 131 {path}\n"
    monkeypatch.setattr(Path, "read_text", lambda self: line)
    assert compiler._openmp() in ([path], [])
