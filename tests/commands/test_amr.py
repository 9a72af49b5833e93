"""The command `amr`: what it lists, what it runs, and what it refuses."""

import importlib
import importlib.metadata
import os
import pathlib
import subprocess
import sys

import pytest

import amr_command
import amr_tf
from amr_tf.commands import COMMANDS, amr, running
from tests import forked

PACKAGE = pathlib.Path(amr_tf.__file__).parent


def call(capsys, *arguments):
    """The exit code, and what `amr` prints."""
    with pytest.raises(SystemExit) as caught:
        amr.main(arguments)
    return caught.value.code, *capsys.readouterr()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_list(capsys, arguments):
    code, out, err = call(capsys, *arguments)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) < 25 and max(map(len, lines)) <= 100
    listed = [line.split()[1] for line in lines if line.startswith("  amr ")]
    assert listed == list(COMMANDS)


def test_each_command_has_a_module_of_both_kinds():
    modules = {path.stem for path in (PACKAGE / "commands").glob("*.py")}
    assert modules == {*COMMANDS, "__init__", "amr", "completion", "running"}
    for name in COMMANDS:
        assert amr.command(name).name == name
        assert importlib.import_module(f"amr_tf.{name}").run == amr.command(name).run


def test_version(capsys):
    assert call(capsys, "--version") == (0, running.version() + "\n", "")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("--version",)])
def test_what_the_console_script_answers_itself(capsys, arguments):
    """The same as the package, which it does not import: that takes seconds."""
    code, out, _ = call(capsys, *arguments)
    run = f"import sys, amr_command; sys.argv = ['amr', *{arguments}]; amr_command.main()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", run],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.returncode, done.stdout) == (code, out)
    assert "importlib.metadata" in done.stderr
    assert "tensorflow" not in done.stderr


@pytest.mark.parametrize("arguments", [("train", "--help"), ("nonsense",), ("--completion=bash",)])
def test_what_the_console_script_leaves_to_the_package(monkeypatch, arguments):
    monkeypatch.setattr(sys, "argv", ["amr", *arguments])
    monkeypatch.setattr(amr, "main", lambda: sys.exit(7))
    with pytest.raises(SystemExit) as caught:
        amr_command.main()
    assert caught.value.code == 7


def test_the_console_script_beside_another_build_of_tensorflow(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert amr_command.answer(["--version"]) is None


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("nonsense", "Unknown command 'nonsense'."),
        ("trian", "Unknown command 'trian'. Did you mean 'train'? Allowed: evaluate, export, "),
        ("--k=3", "Unknown command '--k=3'."),
        ("", "Unknown command ''."),
        ("--completion=fish", "Unknown shell 'fish'. Did you mean 'zsh'? Allowed: bash, zsh."),
    ],
)
def test_what_is_refused(capsys, argument, message):
    code, out, err = call(capsys, argument)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: {message}")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_the_modules(capsys, tmp_path, name):
    code, out, _ = call(capsys, name, "--help")
    assert code == 0
    if name == "train":  # In its own process, as users call it.
        assert forked.run("amr_tf.train", "--help", cwd=tmp_path)[:2] == (0, out)
    assert out == amr.command(name).help()


@pytest.mark.slow
def test_it_trains_as_the_module_does(tmp_path):
    """Flags and flagfiles go on to the command, and the runs are the same."""
    (tmp_path / "tiny.cfg").write_text(
        "--dataset=digits\n--image_size=8\n--architecture=convolutional(depth=2)\n"
        "--train_subset=100\n--epochs=1\n--sample_every=0\n--verbose=0\n"
    )
    flags = ("--flagfile=tiny.cfg", "--final_probes=", "--run_dir=")
    for command, run_dir in ((("amr_tf", "train"), "one"), (("amr_tf.train",), "other")):
        code, out, err = forked.run(*command, *flags[:2], flags[2] + run_dir, cwd=tmp_path)
        assert code == 0, err
        assert f"Results of the best epoch (also in {run_dir}/results.json):" in out
    one, other = ((tmp_path / name / "results.json").read_text() for name in ("one", "other"))
    assert one == other
    code, out, err = forked.run("amr_tf", "evaluate", "--run=one", "--probes=", cwd=tmp_path)
    assert code == 0, err
    assert out.endswith("Wrote one/evaluation.json\n")
    assert forked.run("amr_tf", "evaluate", "--run=none", cwd=tmp_path)[0] == 2


@pytest.mark.slow
def test_a_process_of_its_own(tmp_path):
    """`python -m amr_tf`, and the function that the console script calls."""
    console = "import sys; from amr_command import main; sys.exit(main())"
    for start in (["-m", "amr_tf"], ["-c", console]):
        done = subprocess.run(
            [sys.executable, *start, "nonsense"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: Unknown command 'nonsense'.")
