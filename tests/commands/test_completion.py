"""Completion in bash, by the script that `amr --completion=bash` prints."""

import subprocess

import pytest

from amr_tf.commands import COMMANDS, amr, completion

# Completes the words of a line, at its last, as bash does on a tab, and prints what it offers.
COMPLETE = """\
source ./completion
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
PATH= _amr
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def offered(tmp_path_factory):
    """A function from the words of a line to what is offered in place of the last."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "completion").write_text(completion.script("bash"))
    (folder / "my configs").mkdir()
    for name in ("mine.cfg", "mnist.cfg", "other.txt"):
        (folder / name).touch()

    def complete(*words):
        command = ["bash", "--norc", "-c", COMPLETE, "bash", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return [line for line in done.stdout.splitlines() if line]

    return complete


def test_commands(offered):
    assert offered("amr", "") == [*COMMANDS, "--help", "--version"]
    assert offered("amr", "e") == ["evaluate", "export"]
    assert offered("amr", "tr") == ["train"]
    assert offered("amr", "x") == []


@pytest.mark.parametrize("name", COMMANDS)
def test_flags_of_a_command(offered, name):
    """All of them: those with a value end in =."""
    values = amr.command(name).new_flags()
    own = {f"--{flag}" if values[flag].boolean else f"--{flag}=" for flag in values}
    of_all = {"--flagfile=", "--help", "--helpfull", "--version"}
    assert set(offered("amr", name, "--")) == own | of_all


def test_beginnings_of_flags(offered):
    assert offered("amr", "train", "--k=3", "--mixe") == ["--mixer="]
    assert offered("amr", "train", "--res") == ["--resume"]
    assert offered("amr", "evaluate", "--mixer") == []
    assert offered("amr", "nonsense", "--") == []


def test_files(offered):
    """bash splits a line at each =, unless the user has changed COMP_WORDBREAKS."""
    assert offered("amr", "train", "--flagfile", "=", "m") == [
        "mine.cfg",
        "mnist.cfg",
        "my configs",
    ]
    assert offered("amr", "train", "--flagfile=mn") == ["mnist.cfg"]
    assert set(offered("amr", "train", "--flagfile", "=")) > {"mine.cfg", "other.txt"}
    assert offered("amr", "evaluate", "--run", "=", "my") == ["my configs"]


def test_bash_knows_whose_completion_it_is(tmp_path):
    (tmp_path / "completion").write_text(completion.script("bash"))
    command = ["bash", "--norc", "-c", "source ./completion; complete -p amr"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "complete -F _amr amr\n"


def test_zsh_has_the_same_words():
    bash, zsh = (completion.script(shell) for shell in ("bash", "zsh"))
    words = [line.split('="')[1] for line in bash.splitlines() if '="--' in line]
    assert len(words) == len(COMMANDS)
    assert [line.split('="')[1] for line in zsh.splitlines() if '="--' in line] == words
