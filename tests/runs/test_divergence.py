"""NaN in a loss or a weight: the run stops with one sentence, or goes back to a checkpoint."""

import numpy as np
import pytest
import tensorflow as tf

from amr_tf.experiments import train
from amr_tf.runs import run as run_lib
from amr_tf.runs.checkpoints import load_model, read_state
from amr_tf.runs.divergence import Diverged, StopOnNonFinite, order_seed, other_draws
from amr_tf.runs.folder import RunFolder
from tests.runs.conftest import read_log, tiny_config

pytestmark = pytest.mark.usefixtures("tiny")


class Counter:
    """As much of a model as the callback reads."""

    steps_made = 7
    METRICS = ("loss", "reconstruction_loss", "adversarial_loss", "probe_loss")


def callback_at(batch=-1):
    callback = StopOnNonFinite()
    callback.set_model(Counter())
    callback.on_epoch_begin(0)
    for number in range(batch + 1):
        callback.on_train_batch_end(number, {"loss": 1.0, "reconstruction_loss": 0.5})
    return callback


@pytest.mark.parametrize("value", (np.nan, np.inf, -np.inf))
def test_the_step_and_the_loss_are_named(value):
    logs = {"adversarial_loss": value, "loss": np.nan, "reconstruction_loss": 0.5}
    message = rf"^Training diverged in step 7: adversarial_loss is {value} \(and with it loss\)$"
    with pytest.raises(Diverged, match=message):
        callback_at(2).on_train_batch_end(3, logs)


def test_several_steps_in_one_execution():
    with pytest.raises(Diverged, match="^Training diverged in steps 4 to 7: loss is nan$"):
        callback_at(1).on_train_batch_end(5, {"loss": np.nan})


def test_a_validation_loss():
    with pytest.raises(Diverged, match=r"in step 7: val_probe_loss is inf \(and with it val_loss"):
        callback_at(1).on_epoch_end(0, {"val_loss": np.inf, "val_probe_loss": np.inf})


def test_finite_losses_pass():
    callback_at(3).on_epoch_end(0, {"loss": 0.0, "val_loss": -1e30})


def test_other_draws(tmp_path):
    from amr_tf import VAE

    model = VAE.convolutional((8, 8, 1), depth=2, mixer="mixup", seed=3)

    def states():
        return [v.numpy() for v in model.variables if v.name == "seed_generator_state"]

    first = states()
    assert len(first) == 2  # The mixer's and the sampling's.
    seen = [first]
    for rollbacks in (1, 2, 3):
        other_draws(model, rollbacks)
        seen.append(states())
    for generator in range(2):
        assert len({tuple(state[generator]) for state in seen}) == 4


def test_the_order_of_images_is_another_one():
    seeds = {order_seed(seed, rollbacks) for seed in (0, 1, 2**32 - 1) for rollbacks in range(4)}
    assert len(seeds) == 12
    assert order_seed(5, 0) == 5


class Spoiler(StopOnNonFinite):
    """Makes a weight NaN after so many steps of the run, in so many of its parts."""

    parts = 1
    step = 6

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.step_counter) == self.step and type(self).parts:
            type(self).parts -= 1
            weight = self.model.decoder.trainable_variables[0]
            weight.assign(tf.fill(weight.shape, np.nan))


def spoil(monkeypatch, step, parts):
    monkeypatch.setattr(Spoiler, "step", step)
    monkeypatch.setattr(Spoiler, "parts", parts)
    monkeypatch.setattr(run_lib, "StopOnNonFinite", Spoiler)


def test_a_run_stops(tmp_path, monkeypatch):
    """Four steps an epoch; the seventh step of all is the second epoch's third."""
    spoil(monkeypatch, 6, 1)
    config = tiny_config(tmp_path / "run", architecture="tiny")
    folder = RunFolder(config.run_dir)
    message = (
        r"^Training diverged in step 7: reconstruction_loss is nan \(and with it .*loss\); the "
        r"last good checkpoint is '.*/last-00000004\.keras' \(step 4\)\. Go on from there with "
        r"--resume "
    )
    with pytest.raises(Diverged, match=message) as caught:
        train(config)
    assert "\n" not in str(caught.value)
    assert [path.name for path in folder.checkpoints.glob("last-*")] == ["last-00000004.keras"]
    assert not folder.results.exists()


def test_a_run_rolls_back(tmp_path, monkeypatch, caplog, unevaluated):
    spoil(monkeypatch, 6, 1)
    deadlines, make = [], run_lib.StopAtDeadline

    def deadline(*arguments):
        deadlines.append(make(*arguments))
        return deadlines[-1]

    monkeypatch.setattr(run_lib, "StopAtDeadline", deadline)
    changes = {"architecture": "tiny", "on_nan": "rollback", "max_minutes": 60.0}
    config = tiny_config(tmp_path / "run", **changes)
    folder = RunFolder(config.run_dir)
    folder.path.mkdir()
    stale = folder.path / "density-00000008.npz"  # Of step 8 before the rollback.
    stale.write_bytes(b"")
    assert train(config) is not None
    assert not stale.exists()
    (record,) = [record for record in caplog.records if "rolling back" in record.getMessage()]
    assert "diverged in step 7: reconstruction_loss is nan" in record.getMessage()
    rows = read_log(folder.log)
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert all(np.isfinite(value) for row in rows for value in row.values())
    state = run_lib.resumable_state(folder.checkpoints)
    assert (state["step"], state["rollbacks"]) == (12, 1)
    assert len(deadlines) == 1  # The minutes are not counted anew.
    weights = load_model(state["checkpoint"]).get_weights()
    assert all(np.isfinite(weight).all() for weight in weights)


def test_a_run_that_diverges_again_and_again(tmp_path, monkeypatch):
    """Before the first checkpoint: each time it begins anew, three times."""
    spoil(monkeypatch, 1, 9)
    config = tiny_config(tmp_path / "run", architecture="tiny", on_nan="rollback", epochs=1)
    message = r"in step 2: .*; no checkpoint was saved before, and 3 rollbacks have not helped\.$"
    with pytest.raises(Diverged, match=message):
        train(config)
    assert Spoiler.parts == 5
    assert read_state(RunFolder(config.run_dir).checkpoints) is None


def test_what_may_be_chosen():
    with pytest.raises(ValueError, match="Unknown on_nan 'rolback'. Did you mean 'rollback'"):
        tiny_config("run", on_nan="rolback").validate()
