"""Checkpoints: which epoch is the best, what a kill leaves behind, what is wrong with a file."""

import contextlib
import errno
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

from amr_tf import AMR
from amr_tf.runs import checkpoints
from amr_tf.runs.checkpoints import (
    Best,
    Checkpoints,
    best_path,
    load_model,
    read_best,
    read_state,
    resumable_state,
)
from amr_tf.runs.divergence import Diverged
from tests.models.helpers import make_dense
from tests.runs.conftest import assert_same_checkpoint, checkpoint_arrays


@pytest.fixture(scope="module")
def dense():
    """A small model, which is saved a hundred times."""
    return make_dense()


@pytest.fixture
def model(dense):
    """The module's model, back at step 0."""
    dense.step_counter.assign(0)
    return dense


def run_epochs(callback, model, values, epochs=None, steps=4, first=0):
    """What `fit` calls, with a value of the monitored metric for each epoch."""
    callback.set_model(model)
    callback.set_params({"epochs": epochs or first + len(values)})
    for epoch, value in enumerate(values, start=first):
        model.step_counter.assign_add(steps)
        callback.on_epoch_end(epoch, {} if value is None else {callback.monitor: value})


def best_step(folder):
    """The step at which the best model was saved."""
    return int(load_model(best_path(folder)).step_counter)


@pytest.mark.parametrize(
    ("mode", "values", "epoch"),
    [
        ("max", (0.5, 0.9, 0.7), 2),
        ("max", (0.9, 0.5, 0.7), 1),
        ("max", (0.5, 0.9, 0.9), 3),
        ("max", (0.0,), 1),
        ("min", (0.5, 0.1, 0.7), 2),
        ("min", (0.5, 0.4, 0.3), 3),
        ("min", (0.5, 0.5, 0.6), 2),
    ],
)
def test_the_last_of_the_best_epochs_is_kept(tmp_path, model, mode, values, epoch):
    callback = Checkpoints(tmp_path, "val_x", mode)
    run_epochs(callback, model, values)
    value = max(values) if mode == "max" else min(values)
    best = Best(value, None, epoch, since=1 + values.index(value))
    assert callback.best == best
    assert read_state(tmp_path)["best"] == best
    assert best_step(tmp_path) == 4 * epoch
    assert read_state(tmp_path)["step"] == 4 * len(values)


def test_a_resumed_run_must_beat_the_best_so_far(tmp_path, model):
    run_epochs(Checkpoints(tmp_path, "val_x", "max"), model, (0.8,))
    again = Checkpoints(tmp_path, "val_x", "max", best=read_state(tmp_path)["best"])
    run_epochs(again, model, (0.7,), first=1)
    assert read_state(tmp_path)["best"] == Best(0.8, None, 1, 1)
    assert best_step(tmp_path) == 4
    run_epochs(again, model, (0.9,), first=2)
    assert read_state(tmp_path)["best"] == Best(0.9, None, 3, 3)
    assert best_step(tmp_path) == 12


def test_an_epoch_without_the_metric_is_no_best(tmp_path, model):
    run_epochs(Checkpoints(tmp_path, "val_x", "min"), model, (None,))
    assert not best_path(tmp_path).exists()
    assert read_state(tmp_path)["best"] is None


@pytest.mark.parametrize(
    ("every", "steps"), [(1, [4, 8, 12, 16, 20]), (2, [8, 16, 20]), (5, [20]), (9, [20])]
)
def test_how_often_and_after_the_last_epoch(tmp_path, model, monkeypatch, every, steps):
    saved = []
    callback = Checkpoints(tmp_path, "val_x", "max", every=every)
    save = callback.save
    monkeypatch.setattr(callback, "save", lambda: (saved.append(int(model.step_counter)), save()))
    run_epochs(callback, model, (0.5, 0.4, 0.3, 0.2, 0.1))
    assert saved == steps


def test_the_two_newest_checkpoints_are_kept(tmp_path, model):
    callback = Checkpoints(tmp_path, "val_x", "max")
    run_epochs(callback, model, (0.1, 0.2, 0.3))
    two = ["last-00000008.keras", "last-00000012.keras"]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best.keras", *two, "state.json"]
    callback.save()  # The same step again pushes no other out.
    assert sorted(path.name for path in tmp_path.glob("last-*")) == two


def test_the_folder_is_made(tmp_path, model):
    run_epochs(Checkpoints(tmp_path / "a" / "b", "val_x", "max"), model, (0.1,))
    assert read_state(tmp_path / "a" / "b")["step"] == 4


def test_the_state_names_the_checkpoint(tmp_path, model):
    run_epochs(Checkpoints(tmp_path, "val_x", "max"), model, (0.25,))
    assert json.loads((tmp_path / "state.json").read_text()) == {
        "checkpoint": "last-00000004.keras",
        "step": 4,
        "monitor": "val_x",
        "best": 0.25,
        "best_tie": None,
        "best_epoch": 1,
        "best_since": 1,
    }
    path = tmp_path / "last-00000004.keras"
    best = Best(0.25, None, 1, 1)
    assert read_state(tmp_path) == {"checkpoint": path, "step": 4, "best": best}


def test_a_run_folder_can_be_moved(tmp_path, model):
    run_epochs(Checkpoints(tmp_path / "here", "val_x", "max"), model, (0.25,))
    (tmp_path / "here").rename(tmp_path / "there")
    assert read_state(tmp_path / "there")["checkpoint"].parent == tmp_path / "there"


def test_the_state_is_written_last(tmp_path, model, monkeypatch):
    callback = Checkpoints(tmp_path, "val_x", "max")
    run_epochs(callback, model, (0.1,))
    seen = []

    def look(path, text):
        seen.append((json.loads(text)["step"], sorted(p.name for p in tmp_path.glob("*.keras"))))
        write(path, text)

    write = checkpoints.write_whole
    monkeypatch.setattr(checkpoints, "write_whole", look)
    run_epochs(callback, model, (0.2,), first=1)
    assert best_step(tmp_path) == 8
    # Old and new were both there while the state changed from one to the other.
    assert seen == [(8, ["best.keras", "last-00000004.keras", "last-00000008.keras"])]


class Killed(Exception):
    """In place of a kill: nothing after it is run."""


@pytest.mark.parametrize("moment", ("model", "state", "partial model", "partial state"))
def test_a_kill_while_saving_leaves_the_old_checkpoint(tmp_path, model, monkeypatch, moment):
    callback = Checkpoints(tmp_path, "val_x", "max")
    run_epochs(callback, model, (0.5,))
    before = checkpoint_arrays(tmp_path / "last-00000004.keras")

    def killed(*args):
        raise Killed

    if moment == "model":
        monkeypatch.setattr(checkpoints, "_save_whole", killed)
    elif moment == "state":
        monkeypatch.setattr(checkpoints, "write_whole", killed)
    elif moment == "partial model":
        monkeypatch.setattr(
            checkpoints.keras.Model,
            "save",
            lambda self, path, **kwargs: (path.write_bytes(b"half a file"), killed()),
        )
    else:
        monkeypatch.setattr(
            checkpoints.pathlib.Path,
            "write_text",
            lambda self, text, **kwargs: (self.write_bytes(text[:10].encode()), killed()),
        )
    with pytest.raises(Killed):
        run_epochs(callback, model, (0.4,), first=1)
    monkeypatch.undo()
    assert (tmp_path / "last-00000008.keras").exists() == ("state" in moment)
    state = read_state(tmp_path)
    path, best = tmp_path / "last-00000004.keras", Best(0.5, None, 1, 1)
    assert state == {"checkpoint": path, "step": 4, "best": best}
    after = checkpoint_arrays(state["checkpoint"])
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert int(load_model(state["checkpoint"]).step_counter) == 4
    # The next checkpoint clears up.
    run_epochs(callback, model, (0.3,), first=1)
    names = sorted(path.name for path in tmp_path.glob("*last-*"))
    assert names == ["last-00000004.keras", "last-00000012.keras"]


def test_a_newer_file_that_the_state_does_not_name_is_ignored(tmp_path, model):
    run_epochs(Checkpoints(tmp_path, "val_x", "max"), model, (0.5,))
    (tmp_path / "last-00000099.keras").write_bytes(b"half a file")
    assert read_state(tmp_path)["checkpoint"].name == "last-00000004.keras"


def test_the_best_epoch_is_that_of_its_file(tmp_path, model):
    """The state to resume from may be older, damaged or lost."""
    run_epochs(Checkpoints(tmp_path, "val_x", "max", every=2), model, (0.5, 0.6, 0.7), epochs=9)
    assert read_state(tmp_path)["best"] == Best(0.6, None, 2, 2)
    assert read_best(tmp_path) == (Best(0.7, None, 3, 3), "val_x")
    (tmp_path / "state.json").write_text("{")
    assert read_best(tmp_path) == (None, "")
    (tmp_path / "state.json").unlink()
    assert read_best(tmp_path) == read_best(tmp_path / "nowhere") == (None, "")


def test_no_checkpoint_yet(tmp_path):
    assert read_state(tmp_path) is None
    assert read_state(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "text",
    (
        "",
        '{"checkpoint": "last-',
        "[1, 2]",
        "3",
        "null",
        '{"step": 4, "best": 0.5}',
        '{"checkpoint": "last-00000004.keras", "best": 0.5}',
        '{"checkpoint": "last-00000004.keras", "step": 4}',
        '{"checkpoint": "last-00000004.keras", "step": "four", "best": 0.5}',
        '{"checkpoint": null, "step": 4, "best": 0.5}',
    ),
)
def test_a_damaged_state_is_named(tmp_path, text):
    (tmp_path / "last-00000004.keras").touch()
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(ValueError, match=r"/state\.json' is damaged: "):
        read_state(tmp_path)


def test_a_state_of_a_file_that_is_not_there(tmp_path, model):
    run_epochs(Checkpoints(tmp_path, "val_x", "max"), model, (0.5,))
    (tmp_path / "last-00000004.keras").unlink()
    message = r"/state\.json' names 'last-00000004\.keras', which is not there"
    with pytest.raises(ValueError, match=message):
        read_state(tmp_path)


def everything(model):
    """All variables that the next step reads."""
    optimizers = (model.autoencoder_optimizer, model.discriminator_optimizer, model.probe_optimizer)
    return [
        *(v for network in (model.encoder, model.decoder) for v in network.variables),
        *(v for network in (model.discriminator, model.probe) for v in network.variables),
        *(v for optimizer in optimizers for v in optimizer.variables),
        model.mixer.seed_generator.state,
        model.step_counter,
    ]


def test_a_saved_model_comes_back_whole(tmp_path):
    model = AMR.convolutional((8, 8, 1), depth=2, num_classes=10, k=3, seed=0)
    model.compile()
    generator = np.random.default_rng(0)
    for variable in everything(model):
        # No two numbers are alike, so one in the wrong place would show.
        low, high = (0, 1) if "float" in variable.dtype else (1, 2**31)
        values = generator.uniform(low, high, size=variable.shape)
        variable.assign(values.astype(variable.dtype))
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    wanted, found = everything(model), everything(loaded)
    # Each of the three Adams has two variables and two moments for each variable it trains.
    assert len(wanted) == len(model.variables) + 3 * 2 + 2 * len(model.trainable_variables)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    loaded.save(tmp_path / "again.keras")
    assert_same_checkpoint(tmp_path / "again.keras", tmp_path / "model.keras")


def test_no_model_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^There is no model '.*/best\.keras'\.$"):
        load_model(best_path(tmp_path))


@pytest.mark.parametrize("how", ("empty", "text", "cut off", "overwritten"))
def test_a_damaged_model_is_named(tmp_path, model, how):
    path = best_path(tmp_path)
    model.save(path)
    content = path.read_bytes()
    middle = len(content) // 2
    damaged = {
        "empty": b"",
        "text": b"not a model",
        "cut off": content[:middle],
        "overwritten": content[:middle] + bytes(1000) + content[middle + 1000 :],
    }
    path.write_bytes(damaged[how])
    with pytest.raises(ValueError, match=r"/best\.keras' cannot be loaded as a model: "):
        load_model(path)


def test_a_model_of_another_package(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"other\.keras"):
        load_model(tmp_path / "other.keras")


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory, dense):
    """What `two` is a copy of."""
    folder = tmp_path_factory.mktemp("two")
    dense.step_counter.assign(0)
    run_epochs(Checkpoints(folder, "val_x", "max"), dense, (0.5, 0.6))
    return folder


@pytest.fixture
def two(tmp_path, model, two_saved):
    """A folder with the checkpoints of steps 4 and 8; the second epoch was the best."""
    shutil.copytree(two_saved, tmp_path, dirs_exist_ok=True)
    model.step_counter.assign(8)
    return tmp_path


def test_the_newest_whole_checkpoint_is_the_one_to_resume_from(two, caplog):
    newest = {"checkpoint": two / "last-00000008.keras", "step": 8, "rollbacks": 0}
    assert resumable_state(two) == {**newest, "best": Best(0.6, None, 2, 2)}
    assert caplog.text == ""


@pytest.mark.parametrize("damage", (cut, flip, pathlib.Path.unlink))
def test_a_damaged_checkpoint_gives_way_to_the_one_before(two, model, caplog, damage):
    path = two / "last-00000008.keras"
    damage(path)
    state = resumable_state(two)
    assert (state["checkpoint"].name, state["step"]) == ("last-00000004.keras", 4)
    assert state["best"] == Best(0.6, None, 2, 2)  # What best.keras, of epoch 2, stands for.
    (record,) = caplog.records
    assert path.name in record.getMessage()
    assert record.getMessage().endswith("; going on from 'last-00000004.keras'.")
    assert int(load_model(state["checkpoint"]).step_counter) == 4
    # The next checkpoint takes the place of the damaged one, and the whole one stays.
    again = Checkpoints(two, "val_x", "max", previous=state["checkpoint"])
    model.step_counter.assign(3)
    run_epochs(again, model, (0.1,))
    names = sorted(path.name for path in two.glob("last-*"))
    assert names == ["last-00000004.keras", "last-00000007.keras"]


@pytest.mark.parametrize("text", ("", '{"checkpoint": "last-', None))
def test_a_state_that_is_damaged_or_lost_is_found_in_the_checkpoints(two, caplog, text):
    path = two / "state.json"
    path.unlink() if text is None else path.write_text(text)
    state = resumable_state(two)
    assert (state["step"], state["best"]) == (8, Best(0.6, None, 2, 2))
    assert ("state.json' is damaged" in caplog.text) == (text is not None)


def test_a_changed_figure_in_the_state_is_not_believed(two):
    path = two / "state.json"
    path.write_text(path.read_text().replace('"step": 8', '"step": 9').replace("0.6", "0.7"))
    state = resumable_state(two)
    assert (state["step"], state["best"]) == (8, Best(0.6, None, 2, 2))


def test_no_checkpoint_is_whole(two):
    cut(two / "last-00000004.keras")
    flip(two / "last-00000008.keras")
    message = (
        r"^No checkpoint to resume from is whole: .*8\.keras' is damaged: .*4\.keras' is .*\.$"
    )
    with pytest.raises(ValueError, match=message) as caught:
        resumable_state(two)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", (cut, flip, pathlib.Path.unlink))
def test_a_damaged_best_model_is_named_and_replaced(two, caplog, damage):
    damage(best_path(two))
    state = resumable_state(two)
    assert (state["step"], state["best"]) == (8, None)
    assert "best.keras' is " in caplog.text
    with pytest.raises((ValueError, FileNotFoundError), match=r"best\.keras'"):
        load_model(best_path(two))


def test_a_folder_from_before_there_were_seals(tmp_path, model):
    model.save(tmp_path / "last-00000004.keras")
    model.save(best_path(tmp_path))
    (tmp_path / "state.json").write_text(
        '{"checkpoint": "last-00000004.keras", "step": 4, "best": 0.5, "monitor": "val_x"}'
    )
    checkpoint = tmp_path / "last-00000004.keras"
    expected = {"checkpoint": checkpoint, "step": 4, "rollbacks": 0}
    assert resumable_state(tmp_path) == {**expected, "best": Best(0.5, None, 0, 0)}
    assert load_model(best_path(tmp_path)).image_shape == (8, 8, 1)
    assert resumable_state(tmp_path / "nowhere") is None


@contextlib.contextmanager
def full_disk(monkeypatch, place):
    """A disk that is full when the model, or the state, is written."""

    def full(self, *args, **kwargs):
        if place == "model":
            pathlib.Path(args[0]).write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if place == "model":
            patch.setattr(keras.Model, "save", full)
        else:
            patch.setattr(checkpoints, "write_whole", full)
        yield


@pytest.mark.parametrize(("place", "name"), [("model", "best.keras"), ("state", "state.json")])
def test_a_full_disk(two, model, monkeypatch, place, name):
    callback = Checkpoints(two, "val_x", "max")
    message = rf"{name}' could not be written: No space left on device\.$"
    with full_disk(monkeypatch, place), pytest.raises(OSError, match=message):
        run_epochs(callback, model, (0.9,), first=2)
    assert not list(two.glob("partial-*.keras"))
    assert read_state(two)["checkpoint"].name == "last-00000008.keras"
    assert {path.name for path in two.glob("*.keras")} >= {
        "best.keras",
        "last-00000004.keras",
        "last-00000008.keras",
    }
    assert resumable_state(two)["step"] == 8


@pytest.mark.parametrize("value", (np.nan, np.inf))
@pytest.mark.parametrize("where", ("weight", "moment"))
def test_a_diverged_model_is_never_saved(two, model, value, where):
    variables = model.encoder.weights if where == "weight" else model.probe_optimizer.variables
    variable = variables[-1]
    before = variable.numpy()
    files = {path: path.read_bytes() for path in two.iterdir()}
    broken = before.copy()
    broken.flat[-1] = value
    variable.assign(broken)
    callback = Checkpoints(two, "val_x", "max")
    try:
        with pytest.raises(Diverged, match=r"by step 12: the variable '.*' holds NaN or infinite"):
            run_epochs(callback, model, (0.9,), first=2)
        with pytest.raises(Diverged):
            callback.save()
    finally:
        variable.assign(before)
    assert {path: path.read_bytes() for path in two.iterdir()} == files


def test_a_figure_that_is_no_number_is_never_the_best(tmp_path, model):
    callback = Checkpoints(tmp_path, "val_x", "min")
    run_epochs(callback, model, (np.nan, 0.5, np.nan))
    assert callback.best == Best(0.5, None, 2, 2)
    assert best_step(tmp_path) == 8


def test_saving_makes_no_variables(tmp_path, model, monkeypatch):
    """TensorFlow never frees all of one: memory would grow with each checkpoint."""
    callback = Checkpoints(tmp_path, "val_x", "max")
    run_epochs(callback, model, (0.1, 0.2))
    made = []
    begin = keras.Variable.__init__

    def count(self, *args, **kwargs):
        made.append(args)
        begin(self, *args, **kwargs)

    monkeypatch.setattr(keras.Variable, "__init__", count)
    callback.save()
    assert made == []
    keras.Variable(1.0)
    assert len(made) == 1
