"""The tutorials run as they are read, from top to bottom in a process of their own, with smaller numbers on top."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
RUNNING = Path(__file__).parent / "running.py"


class Tutorials:
    """A copy of the tutorials in a folder where they may do as they like."""

    def __init__(self, folder: Path) -> None:
        self.here, self.room = folder / "tutorials", folder / "room"
        shutil.copytree(TUTORIALS, self.here, ignore=shutil.ignore_patterns("__pycache__"))
        self.room.mkdir()

    def run(self, name: str, *wanted: str, strict: bool = True, **sizes: int) -> tuple[dict, str]:
        """The values that the names `wanted` have in the end, and what was printed. Nothing is left behind.

        strict: no warnings; those of other libraries are theirs.
        """
        before = sorted(self.here.rglob("*"))
        settings = json.dumps({"sizes": sizes, "wanted": wanted})
        done = subprocess.run(
            [sys.executable, "-W", "error" if strict else "ignore", str(RUNNING), name, settings],
            cwd=self.here,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "TMPDIR": str(self.room),
                "RHEOBASE_CACHE": str(self.here.with_name("kept")),
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        assert not strict or done.stderr == ""
        assert sorted(self.here.rglob("*")) == before
        # What torch and onnxruntime leave in the temporary folder is theirs.
        assert [path for path in self.room.iterdir() if not path.name.startswith(("torch", ".ses"))] == []
        *printed, last = done.stdout.splitlines()
        return json.loads(last), "\n".join(printed)


@pytest.fixture
def tutorials(tmp_path):
    return Tutorials(tmp_path)


def test_the_first_network_reads_digits_under_every_rule(tutorials):
    found, _ = tutorials.run("01_first_network.py", "found", "scores", epochs=4)
    assert list(found["found"]) == ["SLTT", "SLTT, K = 2", "OTTT", "RateBP", "BPTT"]
    assert min(found["found"].values()) > 0.9  # chance is 0.1
    assert found["scores"][0] < found["scores"][-1]


def test_events_come_back_from_their_file_and_teach_which_way_the_ball_moves(tutorials):
    sizes = {"test_recordings": 10, "epochs": 15}
    found, printed = tutorials.run("02_events.py", "plain_accuracy", "test_accuracy", **sizes)
    assert "as written: True" in printed
    assert "truncated at offset" in printed
    assert found["test_accuracy"] > 0.8  # chance is 0.25
    assert found["plain_accuracy"] > 0.5


def test_a_stream_is_learned_while_it_is_heard_with_the_memory_of_one_step(tutorials):
    found, printed = tutorials.run("03_long_sequences.py", "first", "last", "accuracy", "best", steps=2000)
    kept = [line for line in printed.splitlines() if "bytes" in line]
    bptt, checkpointed, sltt = ([int(line.split()[-2].replace(",", "")) for line in kept[i : i + 3]] for i in (0, 3, 6))
    assert bptt[2] > 90 * bptt[0]  # a hundred times as many steps
    assert bptt[2] > checkpointed[2] > 5 * checkpointed[0]
    assert sltt[0] == sltt[1] == sltt[2]
    assert found["first"] < found["last"]
    assert 0.6 < found["accuracy"] < found["best"]  # chance is 0.25, and no one is better than Bayes


def test_a_rule_of_ones_own_is_exact_where_it_should_be_and_learns_what_sltt_cannot(tutorials):
    wanted = "one_step", "difference", "cosines", "accuracies", "test_score"
    found, printed = tutorials.run("04_own_rule.py", *wanted, updates=80, epochs=1)
    assert found["one_step"] < 1e-12
    assert found["difference"] < 1e-12
    assert found["cosines"]["SynapticOTTT"] == pytest.approx(1, abs=1e-9)
    assert found["cosines"]["SLTT"] < found["cosines"]["OTTT"] < 0.999
    assert found["accuracies"]["SynapticOTTT"] > 0.9
    assert found["accuracies"]["SLTT"] < 0.4  # chance is 0.25
    assert found["test_score"] > 0.7
    assert "synaptic-ottt(last=None)" in printed


def test_the_audit_finds_both_mistakes_and_mending_them_brings_the_accuracy_back(tutorials):
    found, printed = tutorials.run("05_audit.py", "accuracies", epochs=5)
    assert "narrow: '1' (LIF)" in printed
    assert "dead: '3' (LIF)" in printed
    assert "the sound network: nothing found" in printed
    assert found["accuracies"]["broken"] < 0.2
    assert found["accuracies"]["sound"] > found["accuracies"]["broken, lower threshold"] > 0.3


def test_two_processes_come_to_the_weights_of_one(tutorials):
    found, printed = tutorials.run("06_distributed.py", "difference", epochs=1)
    assert "the same gradient: True" in printed
    assert "1 processes, epoch 1" in printed
    assert "2 processes, epoch 1" in printed
    assert found["difference"] < 1e-12


def test_a_chip_an_other_simulator_and_onnx_spike_as_the_trained_network(tutorials):
    for package in ("nir", "onnx", "onnxscript", "onnxruntime", "spikingjelly"):
        pytest.importorskip(package)
    wanted = "same_back", "same_elsewhere", "same_onnx", "accuracy"
    found, printed = tutorials.run("07_to_hardware.py", *wanted, strict=False, epochs=3)
    assert found["same_back"] == 1
    assert min(found["same_elsewhere"], found["same_onnx"]) > 0.999  # of sums in another order
    assert found["accuracy"] > 0.8  # chance is 0.1
    assert "refused: '1' (LayerNorm) is not in NIR" in printed


def test_a_network_of_spikingjelly_is_the_same_here_and_trains_by_another_rule(tutorials):
    pytest.importorskip("spikingjelly")
    wanted = "difference", "gradient_difference", "accuracy", "accuracy_theirs"
    found, printed = tutorials.run("08_from_spikingjelly.py", *wanted, strict=False, epochs=2)
    assert max(found["difference"], found["gradient_difference"]) < 1e-5
    assert found["accuracy"] == found["accuracy_theirs"] > 0.8  # chance is 0.1
    assert "NonSpikingLIFNode" in printed


def test_each_tutorial_is_run_here():
    own = Path(__file__).read_text()
    assert [path.name for path in sorted(TUTORIALS.glob("[0-9]*.py")) if f'run("{path.name}"' not in own] == []
