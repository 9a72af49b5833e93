"""Commands beside each other: imports, several in one process, and absl's flags afterwards."""

import pytest
from absl import flags, logging

from amr_tf.commands import COMMANDS, amr, running
from amr_tf.runs import flagfiles
from amr_tf.runs.config import TrainingConfig


def ends(run, *arguments):
    """The exit code with which a command ends."""
    with pytest.raises(SystemExit) as caught:
        run(arguments)
    return caught.value.code


def echo(printed):
    """A command with a run's settings that remembers its flags."""

    def define(values):
        flags.DEFINE_bool("loudly", False, "Whether to shout.", flag_values=values)

    def main(given, arguments):
        config = flagfiles.config_from_flags(TrainingConfig, given)
        printed.append((config.k, given.loudly, arguments))

    return running.Command("echo", "Echoes.", define, main, leave_out=())


def test_one_after_another_starts_with_the_defaults():
    """Nothing of a command line is left for the next one's, and absl's flags are as before."""
    printed, known = [], set(flags.FLAGS)
    level = logging.get_verbosity()
    first, second = echo(printed), echo(printed)
    assert ends(first.run, "--k=3", "--loudly", "--verbosity=1") is None
    assert ends(second.run) is None
    assert ends(first.run, "--k=4") is None
    assert printed == [
        (3, True, ["--k=3", "--loudly", "--verbosity=1"]),
        (None, False, []),
        (4, False, ["--k=4"]),
    ]
    helps = {"?", "help", "helpshort", "helpfull", "helpxml", "only_check_flags"}
    assert set(flags.FLAGS) - helps == known - helps
    assert logging.get_verbosity() == level


def test_after_a_command_that_failed(capsys):
    printed = []
    command = echo(printed)
    assert ends(command.run, "--k=x") == 2
    assert ends(command.run, "--kk=3") == 2
    assert ends(command.run, "--loudly") is None
    assert printed == [(None, True, ["--loudly"])]
    wrong, unknown, _ = capsys.readouterr().err.splitlines()
    assert wrong.startswith("error: flag --k=x: ") and wrong.endswith("(--help lists all flags)")
    assert unknown.startswith("error: Unknown command line flag 'kk'")


def test_commands_of_different_names_in_one_process(capsys, tmp_path, monkeypatch):
    """They have flags of the same names, and of different kinds: --run is one folder or several."""
    monkeypatch.chdir(tmp_path)
    refused = "is not a run folder: it has no config.json."
    for name in ("evaluate", "interpolate", "sample", "export", "train"):
        flag = "--run_dir=nowhere" if name == "train" else "--run=nowhere"
        resume = ("--resume",) if name == "train" else ()
        assert ends(amr.command(name).run, flag, *resume) == 2
        assert capsys.readouterr().err.splitlines()[-1] == f"error: 'nowhere' {refused}"


def test_a_flag_that_a_script_has_defined_stays():
    """absl says that there are two; the script's own is still there, and no other is left."""
    flags.DEFINE_integer("k", 7, "The script's own.")
    known = set(flags.FLAGS)
    try:
        with pytest.raises(flags.DuplicateFlagError):
            echo([]).run([])
        assert set(flags.FLAGS) == known
        assert flags.FLAGS["k"].value == 7
    finally:
        delattr(flags.FLAGS, "k")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_each_flag(name):
    command = amr.command(name)
    text, everything = command.help(), command.help(full=True)
    assert text.startswith(command.doc)
    for flag in command.new_flags():
        for shown in (text, everything):
            assert f"  --{flag}" in shown or f"  --[no]{flag}" in shown
    assert "--flagfile" in everything
    settings = text.removeprefix(command.doc).splitlines()
    assert max(map(len, settings)) <= 100


@pytest.mark.parametrize("flag", ["--help", "-h", "-?", "--helpshort", "--helpfull"])
def test_ways_to_ask_for_help(capsys, flag):
    command = amr.command("evaluate")
    assert ends(command.run, flag) == 0
    assert capsys.readouterr().out == command.help(full=flag == "--helpfull")


def test_absls_own_help(capsys):
    """--helpxml, for programs, is written by absl itself."""
    assert ends(amr.command("evaluate").run, "--helpxml") == 1
    out = capsys.readouterr().out
    assert "<name>inception_weights</name>" in out and "<name>verbosity</name>" in out


def test_undefok():
    printed = []
    assert ends(echo(printed).run, "--undefok=new", "--new=3", "--k=5") is None
    assert [row[0] for row in printed] == [5]
