import json

import pytest
import torch

from rheobase.training.files import claim, read_checkpoint, read_json, write_aside, write_json, write_weights


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_interrupted_writing_leaves_the_old_file_and_no_half_one(tmp_path, error):
    path = tmp_path / "config.json"
    write_json(path, {"a": 1})

    def half(aside):
        aside.write_text('{"a": ')
        raise error

    with pytest.raises(error):
        write_aside(path, half)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_tied_weights_are_written_without_complaint(tmp_path):
    weight = torch.ones(2, 3)
    write_weights(tmp_path / "w.safetensors", {"a": weight, "b": weight.t()})
    assert (tmp_path / "w.safetensors").is_file()


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("evil",))

    torch.save({"epoch": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(Exception, match=r"[Ww]eights"):
        read_checkpoint(tmp_path / "checkpoint.pt")


def test_a_folder_with_content_is_claimed_only_to_overwrite_and_keeps_what_is_not_of_a_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "metrics.jsonl").write_text("old")
    with pytest.raises(FileExistsError, match="--overwrite"):
        claim(tmp_path, overwrite=False)
    claim(tmp_path, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_place_of_the_folder_is_never_overwritten(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        claim(tmp_path / "a", overwrite=True)


def test_a_missing_or_damaged_config_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="rheobase train"):
        read_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="no JSON"):
        read_json(tmp_path / "config.json")
