"""Flagfiles from someone else set flags, and do nothing else."""

import os
import time

import pytest

from amr_tf.registry import Call, parse_call
from amr_tf.runs import flagfiles
from amr_tf.runs.config import REGISTRIES, TrainingConfig
from tests.security.conftest import assert_sentence

DEBUGGERS = [
    "--run_with_pdb",
    "-run_with_pdb",
    "--pdb",
    "--pdb=true",
    "--pdb_post_mortem",
    "--run_with_profiling",
    "--use_cprofile_for_profiling",
    "--profile_file=/tmp/overwritten",
]
# Nothing of these is a command to anyone: they are texts of a flag's value.
SHELL = ["$(touch {})", "`touch {}`", "; touch {}", "| touch {}", "!touch {}", "${{IFS}}touch {}"]

# What Python would run, if it were asked to.
ATTACKS = [
    "__import__('pathlib').Path('{0}').touch()",
    "open('{0}', 'w')",
    "(lambda: open('{0}', 'w'))()",
    "[open('{0}', 'w') for _ in (1,)]",
    'exec(\'open("{0}", "w")\')',
    'f\'{{open("{0}", "w")}}\'',
    "(x := open('{0}', 'w'))",
    "1 if open('{0}', 'w') else 2",
    "().__class__.__bases__[0].__subclasses__()",
    "*open('{0}', 'w')",
]


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return f"--flagfile={path}"


def assert_refused(message, *arguments):
    with pytest.raises(ValueError, match=message) as caught:
        flagfiles.expand_flagfiles(arguments)
    assert_sentence(caught)


@pytest.mark.parametrize("line", DEBUGGERS)
def test_a_debugger_is_not_started_by_a_file(tmp_path, line):
    """pdb reads .pdbrc in the working directory, and a profile is written to any path."""
    inner = write(tmp_path / "inner.cfg", "--k=3", line)
    outer = write(tmp_path / "outer.cfg", inner)
    for flagfile in (inner, outer):
        assert_refused(r"^Flagfile '.*inner\.cfg' sets .*, which no flagfile may\.$", flagfile)
    assert flagfiles.expand_flagfiles([line]) == [line]  # One's own command line may.


@pytest.mark.parametrize("text", SHELL)
def test_a_value_is_no_command(tmp_path, trap, text):
    value = text.format(trap)
    path = tmp_path / "a.cfg"
    write(path, f"--data_dir={value}", value, f"--flagfile={value}")
    assert_refused("does not exist", f"--flagfile={path}")
    write(path, f"--data_dir={value}")
    assert flagfiles.read_flagfile(path).data_dir == value


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("field", REGISTRIES)
def test_a_call_string_is_no_code(tmp_path, trap, field, attack):
    """A flagfile's, a config.json's, and one that is a value within another."""
    value = attack.format(trap)
    name = REGISTRIES[field].names()[0]
    for text in (value, f"{name}(x={value})", f"{name}(x=y(z={value}))", f"{name}(x=({value},))"):
        write(tmp_path / "a.cfg", f"--{field}={text}")
        config = flagfiles.read_flagfile(tmp_path / "a.cfg")
        assert getattr(config, field) == text
        for read in (config, TrainingConfig.from_json(config.to_json())):
            with pytest.raises(ValueError) as caught:
                read.validate()
            assert_sentence(caught)


def test_parameters_are_given_as_they_are_written(tmp_path, trap):
    """A text is a text, whatever stands in it: nothing formats, expands or evaluates it."""
    texts = [attack.format(trap) for attack in [*SHELL, *ATTACKS]]
    for text in texts:
        config = TrainingConfig(dataset=str(Call("celeba", {"attributes": (text,)})))
        write(tmp_path / "a.cfg", f"--dataset={config.dataset}")
        resolved = flagfiles.read_flagfile(tmp_path / "a.cfg").resolve()
        assert parse_call(resolved.dataset).arguments["attributes"] == (text,)


def test_unknown_flags_that_a_file_allows(tmp_path):
    """absl's --undefok silences an unknown flag; it makes nothing of it."""
    path = tmp_path / "a.cfg"
    write(path, "--undefok=evil,pre_hook", "--evil=1", "--pre_hook=touch x", "--k=3")
    assert flagfiles.read_flagfile(path) == TrainingConfig(k=3)
    write(path, "--undefok=run_with_pdb", "--run_with_pdb")
    assert_refused("which no flagfile may", f"--flagfile={path}")


def test_a_file_elsewhere_is_read_as_flags_only(tmp_path):
    """A file may name any other, as the user who opens it could; its text is not shown."""
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0\npassword=hunter2\n")
    folder = tmp_path / "inner"
    folder.mkdir()
    path = folder / "a.cfg"
    write(path, "--flagfile=../secret")
    with pytest.raises(ValueError, match="which is not --name=value") as caught:
        flagfiles.read_flagfile(path)
    assert_sentence(caught)
    assert "hunter2" not in str(caught.value)


def test_files_that_name_each_other_without_end(tmp_path):
    """Ten files that each name the next one ten times would be read 10,000,000,000 times."""
    for number in range(10):
        write(tmp_path / f"{number}.cfg", *[f"--flagfile={number + 1}.cfg"] * 10)
    write(tmp_path / "10.cfg", "--k=3")
    start = time.monotonic()
    assert_refused("is one too many: at most 100 are read", f"--flagfile={tmp_path / '0.cfg'}")
    assert time.monotonic() - start < 60  # It ends, however slow the machine is.


def test_a_long_chain_of_files(tmp_path):
    for number in range(2000):
        write(tmp_path / f"{number}.cfg", f"--flagfile={number + 1}.cfg")
    assert_refused("at most 100 are read", f"--flagfile={tmp_path / '0.cfg'}")


def test_a_huge_file(tmp_path):
    path = tmp_path / "a.cfg"
    with path.open("wb") as file:
        file.truncate(2**40)  # Sparse: it takes no room.
    assert_refused(r"a\.cfg' is larger than 1,048,576 bytes", f"--flagfile={path}")


def test_files_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # Reading it would wait for ever.
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = [tmp_path, tmp_path / "pipe", tmp_path / "loop", "/dev/zero", "a\0b", "~no_such_user/a"]
    for name in names:
        assert_refused("does not exist", f"--flagfile={name}")


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "a.cfg"
    for content in (b"--k=3\xff\n", "--k=3".encode("utf-16")[:-1], b"\x80\x04\x95pickle"):
        path.write_bytes(content)
        assert_refused("is not a text file in UTF-8 or UTF-16", f"--flagfile={path}")


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\0"])
@pytest.mark.parametrize("field", ["run_dir", "data_dir", "mixer", "dataset", "method"])
def test_a_config_cannot_smuggle_a_line_into_the_flagfile(field, end):
    """The run's flagfile.cfg is written from config.json, which may be someone else's."""
    config = TrainingConfig(**{field: f"a{end}--flagfile=/elsewhere"})
    with pytest.raises(ValueError, match=rf"^{field} must be one line of text; got ") as caught:
        config.validate()
    assert_sentence(caught)
    with pytest.raises(ValueError, match="must be one line of text"):
        TrainingConfig.from_json(config.to_json())
