"""`rheobase completion`: the scripts, run by the shells that are there."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from rheobase.cli import main
from rheobase.cli.completing import Words, bash
from rheobase.cli.dispatch import COMMANDS
from rheobase.datasets.published import PUBLISHED
from rheobase.rules import RULES


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from contextlib import redirect_stdout

    folder, found = tmp_path_factory.mktemp("completion"), {}
    for shell in ("bash", "zsh", "fish"):
        found[shell] = folder / shell
        with found[shell].open("w") as file, redirect_stdout(file):
            assert main(["completion", shell]) == 0
    return found


def completed(script: Path, line: str) -> set[str]:
    """What bash offers for the last word of `line`."""
    words = [*shlex.split(line), ""] if line.endswith(" ") else shlex.split(line)
    program = (
        f"source {script}; COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}; "
        'complete -p rheobase >/dev/null && { _rheobase; printf "%s\\n" "${COMPREPLY[@]}"; }'
    )
    done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, check=True)
    assert not done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_is_valid_for_its_shell(shell: str, scripts: dict[str, Path]) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", str(scripts[shell])], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rheobase ", set(COMMANDS)),
        ("rheobase comp", {"compare", "completion"}),
        ("rheobase train --le", {"--learning-rate"}),
        ("rheobase train --fr", {"--from"}),
        ("rheobase train --rule ", set(RULES)),
        ("rheobase train --precision b", {"bfloat16"}),
        ("rheobase train --data digits --rule sl", {"sltt"}),
        ("rheobase compare bptt sl", {"sltt"}),
        ("rheobase cite ott", {"ottt"}),
        ("rheobase data ", {"list", "check", "fetch"}),
        ("rheobase data fetch ", set(PUBLISHED)),
        ("rheobase recipes sltt-cifar100", {"sltt-cifar100"}),
        ("rheobase runs --sort co", {"commit"}),
        ("rheobase profile --sort co", {"cost"}),
        ("rheobase evaluate ru", set()),  # and then bash offers files
        ("rheobase train --out ", set()),
    ],
)
def test_bash_completes(line: str, offered: set[str], scripts: dict[str, Path]) -> None:
    found = completed(scripts["bash"], line)
    if line == "rheobase recipes sltt-cifar100":
        assert offered <= found
        assert all(name.startswith("sltt-cifar100") for name in found)
    elif line == "rheobase train --out ":
        assert not {name for name in found if name.startswith("-")}
    else:
        assert found == offered


def test_files_are_offered_where_there_are_no_words(scripts: dict[str, Path]) -> None:
    assert "complete -o default " in scripts["bash"].read_text()


def test_fish_completes_the_same(scripts: dict[str, Path]) -> None:
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    for line, offered in (("rheobase comp", {"compare", "completion"}), ("rheobase train --rule sl", {"sltt"})):
        code = f"source {scripts['fish']}; complete -C {shlex.quote(line)}"
        done = subprocess.run(["fish", "-c", code], capture_output=True, text=True, check=True)
        assert {each.split("\t")[0] for each in done.stdout.splitlines()} == offered


def test_a_word_is_offered_after_its_own_command_alone() -> None:
    script = bash([Words("one", (), ("--sort",), {"--sort": ("up",)}), Words("two", ("name",), ("--sort",), {})])
    assert "'one --sort') words='up'" in script
    assert "'two --sort')" not in script
