"""A run that is killed, damaged or told to stop, and then resumed, ends as one that never was: bit by bit."""

import pytest
from training.killing import KILLS, apart

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'rheobase[digits]'")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    return apart("training.killed_runs", "accidents", tmp_path_factory.mktemp("runs"))


def test_a_run_killed_at_twenty_random_moments_ends_as_if_it_never_stopped(after):
    found = after["random"]
    assert len(found["positions"]) == KILLS
    assert found["run"] == after["long"]


def test_what_was_saved_is_never_lost_by_a_kill(after):
    positions, lost = after["random"]["positions"], after["random"]["lost"]
    assert positions == sorted(positions)
    assert len({position // 1000 for position in positions}) > 2  # kills in several epochs
    assert sum(position % 1000 > 0 for position in positions) > 5  # and within them
    assert max(lost) <= 1  # the batch in progress


def test_wherever_a_file_was_being_written_the_run_ends_as_if_it_never_stopped(after):
    assert len(after["disk"]) > 30
    for run, leftovers, page_is_whole in after["disk"]:
        assert run == after["short"]
        assert leftovers == []
        assert page_is_whole


def test_with_the_newest_checkpoint_damaged_the_one_before_gives_the_same_weights(after):
    for words, run in after["damage"]:
        assert len(words) == 1
        assert "damaged" in words[0]
        assert run == after["long"]


@pytest.mark.parametrize(("name", "expected"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_saves_within_the_epoch_and_leaves_with_its_conventional_code(after, name, expected):
    code, saved, said, run = after["signals"][name]
    assert code == expected
    assert saved == 8  # the signal came after the 7th batch, and is asked for after the next
    assert name in said
    assert "rheobase resume" in said
    assert run == after["long"]


def test_a_disk_that_fills_up_ends_the_run_with_one_line_and_nothing_saved_is_lost(after):
    code, saved, said, run, leftovers, *_ = after["room"]
    assert code == 2
    assert saved in (6, 7)
    assert said.count("error:") == 1
    assert "File too large" in said
    assert "rheobase resume" in said
    assert "Traceback" not in said
    assert run == after["long"]
    assert leftovers == []


def test_a_folder_that_cannot_be_is_told_before_any_training(after):
    code, said = after["room"][-2:]
    assert code == 2
    assert said.count("error:") == 1
    assert "Not a directory" in said
    assert "Traceback" not in said


def test_another_random_state_would_have_been_noticed(after):
    assert after["twin"][0] != after["long"][0]
