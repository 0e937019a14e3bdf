"""What two processes agree on: parameters that no gradient reaches, and a signal that one of them hears."""

from pathlib import Path
from typing import Any

import pytest
import torch
from distributed.launch import TESTS, torchrun
from distributed.unreached import experiment, partly

from rheobase.models import MODELS
from rheobase.training import fit

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'rheobase[digits]'")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]]]:
    """What was printed, and the weights that each process found."""
    folder: Path = tmp_path_factory.mktemp("found")
    done = torchrun(TESTS / "distributed" / "unreached.py", folder)
    assert done.returncode == 0, done.stderr
    return done.stdout, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_parameters_that_no_gradient_reaches_do_not_decay_as_in_one_process(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "partly", partly)
    alone = fit(experiment()).model.state_dict()
    for found in (each["whole"] for each in told[1]):
        assert torch.equal(found["unused"], torch.ones(4))
        assert torch.equal(alone["unused"], torch.ones(4))
        torch.testing.assert_close(found["zero"], alone["zero"], rtol=0, atol=1e-6)
        assert found["zero"].max() < 0.99  # a gradient that is zero decays
        torch.testing.assert_close(found["hidden.weight"], alone["hidden.weight"], rtol=0, atol=1e-4)


def test_a_parameter_that_one_process_alone_uses_learns_in_both(told: Any) -> None:
    first, second = (each["whole"] for each in told[1])
    assert torch.equal(first["of_first"], second["of_first"])
    assert first["of_first"].max() < 0.99


@pytest.mark.parametrize("alarm", [3, 11])
def test_a_signal_to_one_process_in_evaluation_stops_both_and_loses_nothing(told: Any, alarm: int) -> None:
    said, found = told
    for rank in range(2):
        assert f"{rank} stopped at {alarm} with 143" in said
        for name, value in found[rank]["whole"].items():
            assert torch.equal(found[rank][f"stopped at {alarm}"][name], value)
