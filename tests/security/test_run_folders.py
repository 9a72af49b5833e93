"""Run folders from someone else: broken or hostile JSON, CSV and paths end in a sentence."""

import json

import pytest

from amr_tf.commands import running
from amr_tf.files import read_json
from amr_tf.paper.runs import read_results
from amr_tf.runs.checkpoints import read_state
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.folder import RunFolder, trim_log
from amr_tf.search import SearchSpace, make_tuner
from tests.security.conftest import assert_sentence

DEEP = "[" * 100_000 + "]" * 100_000
NO_JSON = ["", "{", "null", "[]", "3", '"a"', DEEP, '{"a": ' + DEEP + "}", "\ufeff{}", "{} {}"]
NOT_FINITE = ["NaN", "Infinity", "-Infinity"]


def assert_damaged(read, path):
    with pytest.raises(ValueError, match=path.name) as caught:
        read()
    assert_sentence(caught)


@pytest.mark.parametrize("text", NO_JSON, ids=range(len(NO_JSON)))
def test_json_that_is_no_object(tmp_path, text):
    for name, read in (
        ("config.json", RunFolder(tmp_path).read_config),
        ("state.json", lambda: read_state(tmp_path)),
        ("other.json", lambda: read_json(tmp_path / "other.json")),
    ):
        (tmp_path / name).write_text(text)
        assert_damaged(read, tmp_path / name)


@pytest.mark.parametrize("number", NOT_FINITE)
def test_numbers_that_are_not_finite(tmp_path, number):
    (tmp_path / "config.json").write_text(f'{{"lambda_": {number}}}')
    assert_damaged(RunFolder(tmp_path).read_config, tmp_path / "config.json")
    for field in ("step", "best"):
        state = '{"checkpoint": "last-1.keras", "step": 1, "best": 1}'
        (tmp_path / "state.json").write_text(state.replace(f'"{field}": 1', f'"{field}": {number}'))
        assert_damaged(lambda: read_state(tmp_path), tmp_path / "state.json")
    # A measure that is undefined is NaN, and may be read.
    (tmp_path / "results.json").write_text(f'{{"smoothness": {number}}}')
    assert list(read_json(tmp_path / "results.json", finite=False)) == ["smoothness"]


def test_huge_files(tmp_path):
    for name, read in (
        ("config.json", RunFolder(tmp_path).read_config),
        ("state.json", lambda: read_state(tmp_path)),
    ):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**40)
        with pytest.raises(ValueError, match="at most 10,485,760 are read") as caught:
            read()
        assert_sentence(caught)


def test_bytes_that_are_no_text(tmp_path):
    for name, read in (
        ("config.json", RunFolder(tmp_path).read_config),
        ("state.json", lambda: read_state(tmp_path)),
    ):
        (tmp_path / name).write_bytes(b'{"a": "\xff"}')
        assert_damaged(read, tmp_path / name)


WRONG = [None, True, 1.5, "x", [], {}, [1], 10**30, "9" * 5000]


@pytest.mark.parametrize("field", ["epochs", "seed", "dataset", "lambda_", "deterministic", "k"])
def test_config_values_of_other_types(tmp_path, field):
    right = type(getattr(TrainingConfig().resolve(), field))
    for value in WRONG:
        if type(value) is right or (field in ("lambda_", "k") and value is None):
            continue
        (tmp_path / "config.json").write_text(json.dumps({field: value}))
        assert_damaged(RunFolder(tmp_path).read_config, tmp_path / "config.json")


def test_an_integer_of_thousands_of_digits(tmp_path):
    (tmp_path / "config.json").write_text('{"epochs": ' + "9" * 5000 + "}")
    assert_damaged(RunFolder(tmp_path).read_config, tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"epochs": ' + "9" * 4000 + "}")
    assert_damaged(RunFolder(tmp_path).read_config, tmp_path / "config.json")


@pytest.mark.parametrize("field", ["checkpoint", "step", "best"])
def test_state_values_of_other_types(tmp_path, field):
    state = {"checkpoint": "last-00000001.keras", "step": 1, "best": None}
    (tmp_path / "last-00000001.keras").touch()
    for value in ["x", [], {}, True, *([None] if field != "best" else [])]:
        (tmp_path / "state.json").write_text(json.dumps({**state, field: value}))
        assert_damaged(lambda: read_state(tmp_path), tmp_path / "state.json")
    del state[field]
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert_damaged(lambda: read_state(tmp_path), tmp_path / "state.json")


def test_results_that_are_no_json(tmp_path):
    config = TrainingConfig(run_dir=str(tmp_path))
    (tmp_path / "config.json").write_text(config.to_json())
    (tmp_path / "reproduction.json").write_text("{}")
    (tmp_path / "results.json").write_text("[")
    assert_damaged(lambda: read_results(config), tmp_path / "results.json")


def test_a_log_that_is_no_table(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n²,1\n\n-1,2\nx,3\n=1+1,3\n0,4\n1\n")
    trim_log(path, 5)
    assert path.read_text().split() == ["epoch,loss", "0,4"]
    path.write_text("epoch,loss\n" + '"' + "x" * 200_000 + '",1\n')
    assert_damaged(lambda: trim_log(path, 5), path)


def test_run_folders_with_odd_names(tmp_path, monkeypatch):
    """A name is a name: `..` in it is the user's own; control characters are refused."""
    for name in ("a\0b", "a\nb", "a\r--k=3", "a\u2028b"):
        with pytest.raises(ValueError, match="run_dir must be one line of text") as caught:
            TrainingConfig(run_dir=str(tmp_path / name)).validate()
        assert_sentence(caught)
    for name in ("nowhere", "..", "a" * 5000, "a\0b", "a\nb"):
        with pytest.raises((ValueError, OSError)):
            RunFolder(tmp_path / name).read_config()
    TrainingConfig(run_dir="../elsewhere; rm -rf x").validate()


def test_a_trial_that_is_a_path(tmp_path):
    """KerasTuner's files name trials, whose folders are replaced and removed."""
    config = TrainingConfig(run_dir=str(tmp_path / "run"))
    tuner = make_tuner(config, SearchSpace.parse(["k:2,3"]), tmp_path / "search")
    for name in ("../../victim", "/etc", "a/b", ".."):
        with pytest.raises(Exception, match="must not be a path"):
            tuner._run_dir(name, 0)
    assert tuner._run_dir("0", 0).parent == tmp_path / "search" / "runs"


def test_a_message_that_steers_the_terminal(capsys):
    with pytest.raises(SystemExit) as caught:
        running.fail("File 'a\nb\x1b]0;title\x07\u202ec\0' is\r\ndamaged é.")
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err == "error: File 'a b\\x1b]0;title\\x07\\u202ec\\x00' is damaged é.\n"
