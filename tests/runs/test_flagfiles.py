"""Flagfiles that name each other: where they are looked for, their order, and what is wrong."""

import pathlib
import sys

import pytest
from absl import flags

from amr_tf.commands import running
from amr_tf.commands.train import COMMAND
from amr_tf.runs import flagfiles
from amr_tf.runs.config import TrainingConfig

ROOT = pathlib.Path(__file__).resolve().parents[2]


def parse(*arguments):
    """A config as `amr_tf.train` reads it from its command line."""
    flag_values = flags.FlagValues()
    flagfiles.define_flags(TrainingConfig, flag_values)
    flag_values(["amr_tf.train", *flagfiles.expand_flagfiles(arguments)])
    return flagfiles.config_from_flags(TrainingConfig, flag_values=flag_values)


def write(folder, **files):
    """Files NAME.cfg, each of the given lines; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / f"{name}.cfg").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory in which there is nothing."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def assert_refused(message, *arguments):
    with pytest.raises(ValueError, match=message) as caught:
        flagfiles.expand_flagfiles(arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")


def test_nothing_to_expand():
    arguments = ["--k=3", "--run_dir", "a", "--noresume", "--data_dir=x=--flagfile=y", "digits"]
    assert flagfiles.expand_flagfiles(arguments) == arguments
    assert flagfiles.expand_flagfiles([]) == []


def test_a_files_flags_take_its_place(tmp_path):
    path = write(tmp_path, a=["--k=3", "--lambda=5"]) / "a.cfg"
    for option in ("--flagfile", "-flagfile"):
        expanded = flagfiles.expand_flagfiles(["--epochs=1", f"{option}={path}", "--seed=2"])
        assert expanded == ["--epochs=1", "--k=3", "--lambda=5", "--seed=2"]


def test_files_are_looked_for_beside_the_one_that_names_them(tmp_path, elsewhere):
    write(tmp_path / "paper" / "shared", adam=["--probe=mlp"], b=["--flagfile=adam.cfg", "--k=4"])
    write(tmp_path / "paper", a=["--flagfile=shared/b.cfg", "--flagfile=../c.cfg"])
    write(tmp_path, c=["--seed=9"])
    expected = ["--probe=mlp", "--k=4", "--seed=9"]
    for path in (tmp_path / "paper" / "a.cfg", "../paper/a.cfg"):
        assert flagfiles.expand_flagfiles([f"--flagfile={path}"]) == expected


def test_the_neighbour_goes_before_the_working_directory(tmp_path, elsewhere):
    write(tmp_path / "paper", a=["--flagfile=b.cfg"], b=["--k=4"])
    write(elsewhere, b=["--k=9"])
    path = tmp_path / "paper" / "a.cfg"
    assert flagfiles.expand_flagfiles([f"--flagfile={path}"]) == ["--k=4"]
    # absl's own rule still holds where there is no such neighbour.
    (tmp_path / "paper" / "b.cfg").unlink()
    assert flagfiles.expand_flagfiles([f"--flagfile={path}"]) == ["--k=9"]


def test_absolute_paths_and_the_home_directory(tmp_path, elsewhere, monkeypatch):
    home = write(tmp_path / "home", b=["--k=4"], c=["--seed=1"])
    monkeypatch.setenv("HOME", str(home))
    write(tmp_path / "paper", a=[f"--flagfile={home / 'b.cfg'}", "--flagfile=~/c.cfg"])
    expanded = flagfiles.expand_flagfiles(["--flagfile=../paper/a.cfg", "--flagfile=~/c.cfg"])
    assert expanded == ["--k=4", "--seed=1", "--seed=1"]


def test_paths_with_spaces_and_equals_signs(tmp_path):
    folder = write(tmp_path / "a = b", a=["--run_dir=runs/k=2 x", "--flagfile=b.cfg"], b=["--k=4"])
    expanded = flagfiles.expand_flagfiles([f"--flagfile={folder / 'a.cfg'}"])
    assert expanded == ["--run_dir=runs/k=2 x", "--k=4"]


def test_calls_need_no_quoting(tmp_path):
    calls = {
        "method": "supervised_amr(label_mixer='supervised_bernoulli(alphas=\"attribute\")')",
        "mixer": "composite(mixers=('mixup', 'gaussian(sigma=0.5)'), weights=(1, 2))",
        "dataset": "celeba(attributes=('Male', 'a #1 = \"b\" // c'), crop=140)",
        "autoencoder_optimizer": "adam(learning_rate=cosine_decay(initial_learning_rate=1e-4, "
        "decay_steps=9))",
    }
    path = write(tmp_path, a=[f"--{name}={call}" for name, call in calls.items()]) / "a.cfg"
    assert parse(f"--flagfile={path}") == TrainingConfig(**calls)
    assert flagfiles.read_flagfile(path) == TrainingConfig(**calls)


def test_comments_and_blank_lines(tmp_path):
    path = tmp_path / "a.cfg"
    lines = ["# --k=5", "", "   ", "//--k=6", "  --k=4  ", "\t# no", "--run_dir=a#b"]
    for end in ("\n", "\r\n"):
        path.write_bytes(end.join(lines).encode())
        assert flagfiles.expand_flagfiles([f"--flagfile={path}"]) == ["--k=4", "--run_dir=a#b"]
    path.write_text("# nothing else\n")
    assert flagfiles.expand_flagfiles([f"--flagfile={path}"]) == []


def test_later_flags_win(tmp_path):
    write(tmp_path, a=["--k=3", "--flagfile=b.cfg", "--lambda=5"], b=["--k=4", "--lambda=6"])
    flagfile = f"--flagfile={tmp_path / 'a.cfg'}"
    config = parse(flagfile)
    assert (config.k, config.lambda_) == (4, 5.0)
    assert parse(flagfile, "--k=7") == config.replace(k=7)
    assert parse("--k=7", "--seed=3", flagfile) == config.replace(seed=3)


def test_a_file_may_be_named_twice(tmp_path):
    """Two files that share a third are no cycle."""
    write(tmp_path, a=["--flagfile=b.cfg", "--flagfile=c.cfg", "--flagfile=c.cfg"], c=["--k=4"])
    write(tmp_path, b=["--flagfile=c.cfg"])
    assert flagfiles.expand_flagfiles([f"--flagfile={tmp_path / 'a.cfg'}"]) == ["--k=4"] * 3


@pytest.mark.parametrize(
    "files",
    [
        {"a": ["--flagfile=a.cfg"]},
        {"a": ["--k=3", "--flagfile=b.cfg"], "b": ["--flagfile=../x/a.cfg"]},
        {"a": ["--flagfile=b.cfg"], "b": ["--flagfile=c.cfg"], "c": ["--flagfile=./b.cfg"]},
    ],
)
def test_a_cycle(tmp_path, files):
    folder = write(tmp_path / "x", **files)
    assert_refused(r"^Flagfile '.*[ab]\.cfg' includes itself\.$", f"--flagfile={folder / 'a.cfg'}")


def test_a_cycle_through_a_link(tmp_path):
    folder = write(tmp_path, a=["--flagfile=b.cfg"])
    (folder / "b.cfg").symlink_to(folder / "a.cfg")
    assert_refused(r"b\.cfg' includes itself", f"--flagfile={folder / 'a.cfg'}")


def test_a_missing_file(tmp_path, elsewhere):
    assert_refused(r"^Flagfile 'nowhere\.cfg' does not exist\.$", "--flagfile=nowhere.cfg")
    assert_refused(rf"^Flagfile '{tmp_path}' does not exist\.$", f"--flagfile={tmp_path}")
    write(tmp_path, a=["--flagfile=shared/b.cfg"])
    message = r"^Flagfile 'shared/b\.cfg' does not exist\.$"
    assert_refused(message, f"--flagfile={tmp_path / 'a.cfg'}")


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK\x03\x04\xff\xfe\x00")
    message = r"^Flagfile '.*/model\.keras' is not a text file in UTF-8 or UTF-16\.$"
    assert_refused(message, f"--flagfile={path}")
    write(tmp_path, a=["--flagfile=model.keras"])
    assert_refused(message, f"--flagfile={tmp_path / 'a.cfg'}")


def run_command(monkeypatch, *arguments):
    """The exit code of `amr train`, which must not come so far as to parse its flags."""

    def not_reached(*args, **kwargs):
        raise AssertionError("the command was run")

    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    monkeypatch.setattr(running.app, "run", not_reached)
    with pytest.raises(SystemExit) as caught:
        COMMAND.run()
    return caught.value.code


def test_a_command_says_it_in_one_line(monkeypatch, capsys, elsewhere):
    assert run_command(monkeypatch, "--flagfile=nowhere.cfg") == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: Flagfile 'nowhere.cfg' does not exist.\n")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch, capsys):
    """Told in one line as well, whoever runs the tests: root may read everything."""

    def forbidden(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    path = write(tmp_path, a=["--k=3"]) / "a.cfg"
    monkeypatch.setattr(pathlib.Path, "read_bytes", forbidden)
    assert run_command(monkeypatch, f"--flagfile={path}") == 2
    expected = f"error: Flagfile '{path}' cannot be read: Permission denied.\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_editors_write(tmp_path, encoding, end):
    mark = "\ufeff" if encoding.startswith("utf-16-") else ""
    text = f"{mark}# Größe{end}--run_dir=runs/größe{end}--k=3{end}"
    (tmp_path / "a.cfg").write_bytes(text.encode(encoding))
    assert flagfiles.expand_flagfiles([f"--flagfile={tmp_path}/a.cfg"]) == [
        "--run_dir=runs/größe",
        "--k=3",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('--run_dir="my runs/a"', "--run_dir=my runs/a"),
        ("--run_dir='my runs/a'", "--run_dir=my runs/a"),
        ('--mixer="gaussian(sigma=0.3)"', "--mixer=gaussian(sigma=0.3)"),
        ("--mixer=composite(mixers=('mixup', 'spatial'))",) * 2,
        ('--run_dir="', '--run_dir="'),
        ("--resume", "--resume"),
    ],
)
def test_quotation_marks_of_a_shell(tmp_path, line, expected):
    path = write(tmp_path, a=[line]) / "a.cfg"
    assert flagfiles.expand_flagfiles([f"--flagfile={path}"]) == [expected]


def test_with_a_space(tmp_path):
    path = write(tmp_path, a=["--k=3", "--lambda=5"]) / "a.cfg"
    assert parse("--flagfile", str(path), "--lambda=6") == TrainingConfig(k=3, lambda_=6.0)
    for option in ("--flagfile", "-flagfile"):
        expanded = flagfiles.expand_flagfiles(["--seed=1", option, str(path), "--seed=2"])
        assert expanded == ["--seed=1", "--k=3", "--lambda=5", "--seed=2"]


@pytest.mark.parametrize(
    "arguments", [("--flagfile=", "--k=3"), ("--flagfile=",), ("--k=3", "--flagfile")]
)
def test_without_a_name(arguments):
    with pytest.raises(ValueError, match="flagfile") as caught:
        flagfiles.expand_flagfiles(arguments)
    assert "'.'" not in str(caught.value)
    assert "--k=3" not in str(caught.value)


def test_with_a_space_from_another_folder(tmp_path, elsewhere):
    write(tmp_path / "shared", b=["--k=3"])
    path = write(tmp_path, a=["--flagfile=shared/b.cfg", "--lambda=5"]) / "a.cfg"
    assert parse("--flagfile", str(path), "--lambda=6") == TrainingConfig(k=3, lambda_=6.0)


def test_the_papers_files_from_another_folder(elsewhere):
    path = ROOT / "configs" / "paper" / "table1_svhn_amr_mixup_k3_lambda10.cfg"
    config = parse(f"--flagfile={path}")
    assert (config.dataset, config.k, config.epochs) == ("svhn_cropped", 3, 3500)
    assert config.generator_update_every == 5  # From shared/adam.cfg, two files away.
