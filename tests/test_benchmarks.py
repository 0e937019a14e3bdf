"""The benchmark compares like with like, and its one command writes what it should."""

import json
import subprocess
import sys
import warnings
from pathlib import Path
from statistics import median

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import rheobase as rb  # noqa: E402
from benchmarks import ours  # noqa: E402
from benchmarks.cases import CASES, JELLY, OURS, PLAIN, case_of, chosen  # noqa: E402
from benchmarks.driver import Suite, groups  # noqa: E402
from benchmarks.nets import NETS  # noqa: E402
from benchmarks.pool import memory_of_case  # noqa: E402
from benchmarks.task import Task, unmarked  # noqa: E402
from benchmarks.worker import Job  # noqa: E402

T = 5
QUICK = ["--quick", "--threads", "1", "--repeats", "3", "--warmup", "1", "--nets", "vgg", "--steps", "2"]


@pytest.fixture
def needs_spikingjelly() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed: see benchmarks/README.md")
        import benchmarks.jelly  # noqa: F401


def gradient(net: str, build) -> Tensor:
    """What a case's first step leaves in `.grad`, in float64."""
    torch.set_default_dtype(torch.float64)
    task = Task.of(net, T, True, torch.device("cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(task)(unmarked)
    return torch.cat([p.grad.flatten() for p in task.built[-1].parameters()])


def gradient_of(net: str, key: str) -> Tensor:
    return gradient(net, case_of(key).build)


def assert_same(net: str, one: str, other: str) -> None:
    expected = gradient_of(net, other)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(gradient_of(net, one), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    ("mine", "plain"),
    [
        ("BPTT()", "BPTT, loop"),
        ("BPTT(chunk=1)", "BPTT, loop"),
        ("BPTT(checkpoint=True)", "BPTT, checkpointed"),
        ("SLTT()", "SLTT"),
    ],
)
def test_the_plain_loop_has_our_gradient(net, mine, plain):
    assert_same(net, f"{OURS}/{mine}", f"{PLAIN}/{plain}")


@pytest.mark.parametrize("net", NETS)
def test_layer_by_layer_has_our_gradient_with_norms_over_the_sequence(net):
    mine = gradient(net, ours.rule(lambda steps: rb.BPTT(), kit=ours.SEQUENCE_KIT))
    torch.testing.assert_close(mine, gradient_of(net, f"{PLAIN}/BPTT, layer by layer"), rtol=0, atol=1e-10)


@pytest.mark.parametrize("net", NETS)
def test_the_gradients_compared_depend_on_time(net):
    exact, cut = gradient_of(net, f"{PLAIN}/BPTT, loop"), gradient_of(net, f"{PLAIN}/SLTT")
    assert (exact - cut).abs().max() > 1e-3


SAME_AS_SPIKINGJELLY = {
    "BPTT, single-step": f"{OURS}/BPTT()",
    "BPTT, multi-step": f"{PLAIN}/BPTT, layer by layer",
    "BPTT, memopt speed": f"{PLAIN}/BPTT, layer by layer",
    "BPTT, memopt memory": f"{PLAIN}/BPTT, layer by layer",
    "SLTT": f"{OURS}/SLTT()",
    "OTTT": f"{OURS}/OTTT()",
}


@pytest.mark.usefixtures("needs_spikingjelly")
@pytest.mark.parametrize(
    ("net", "case"),
    [
        (net, case)
        for net in NETS
        for case in SAME_AS_SPIKINGJELLY
        if case_of(f"{JELLY}/{case}").reason_against(net, T) is None
    ],
)
def test_spikingjelly_has_the_same_gradient(net, case):
    assert_same(net, f"{JELLY}/{case}", SAME_AS_SPIKINGJELLY[case])


@pytest.mark.usefixtures("needs_spikingjelly")
def test_spikingjellys_checkpoints_do_not_change_the_gradient_of_a_net_without_norms():
    assert_same("mlp", f"{JELLY}/BPTT, checkpointed", f"{OURS}/BPTT()")


def test_what_bptt_keeps_grows_with_time_and_what_sltt_keeps_does_not():
    def kept(key: str, steps: int) -> int:
        kept_bytes: int = memory_of_case(Job(key, "vgg", steps, "cpu", 1, True, "memory"))["kept"]
        return kept_bytes

    assert kept(f"{PLAIN}/BPTT, loop", 8) > 1.8 * kept(f"{PLAIN}/BPTT, loop", 4)
    assert kept(f"{PLAIN}/SLTT", 8) < 1.1 * kept(f"{PLAIN}/SLTT", 4)
    assert kept(f"{PLAIN}/forward only", 4) == 0


def test_every_group_has_the_reference_and_every_case_is_in_one(monkeypatch):
    monkeypatch.setattr("benchmarks.machine.available_memory", lambda device: 12 * 2**30)
    suite = Suite(("vgg",), CASES, ("default", "keep"))
    cases = [case for case in CASES if not case.only and not case.reason_against("vgg", 8)]
    made = groups(suite, cases, "vgg", 8, {case.key: 2**30 for case in cases})
    assert len(made) > 1
    assert {(case.key, a) for group in made for case, a in group} == {
        (c.key, a) for c in cases for a in suite.allocators
    }
    for group in made:
        assert {(case.name, a) for case, a in group} >= {
            (name, a) for name in ("BPTT, single-step", "BPTT, multi-step") for a in suite.allocators
        }


def test_an_unknown_case_is_refused_and_the_known_ones_named():
    with pytest.raises(ValueError, match="No case matches 'sltx'") as error:
        chosen(["sltx"])
    assert all(case.key in str(error.value) for case in CASES)


@pytest.mark.slow
def test_the_command_records_every_case_and_its_tables_and_plots_come_from_the_record(tmp_path):
    cases = [f"{PLAIN}/BPTT, loop", f"{PLAIN}/SLTT", f"{OURS}/SLTT()"]
    made, again = tmp_path / "made", tmp_path / "again"
    benchmarks(*QUICK, "--cases", *cases, "--out", str(made))
    results = json.loads((made / "results.json").read_text())
    assert results["quick"]
    assert results["allocators"]["keep"]["MALLOC_MMAP_MAX_"] == "0"
    assert [(row["library"], row["case"], row["allocator"]) for row in results["times"]] == [
        (*case.split("/"), allocator) for case in cases for allocator in ("default", "keep")
    ]
    text = (made / "results.md").read_text()
    assert "its figures mean nothing" in text
    for row in results["times"]:
        assert row["status"] == "ok"
        assert len(row["seconds"]) == 3
        assert row["median"] == median(row["seconds"]) > 0
        assert f"{row['library']}: {row['case']} | {row['median']:.3g} |" in text
    for row in results["memory"]:
        assert row["peak"] >= row["kept"] > 0
        assert f"{row['library']}: {row['case']} | {row['kept'] / 1e6:.1f} |" in text
    for name in ("vgg.png", "summary.png"):
        assert (made / name).read_bytes().startswith(b"\x89PNG")
    benchmarks("report", str(made), "--out", str(again))
    assert (again / "results.md").read_text() == text


def benchmarks(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, check=True, capture_output=True)
