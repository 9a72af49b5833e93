"""A run from its config to its results."""

import json

import keras
import numpy as np
import pytest

from amr_tf.data import ImageData, Split
from amr_tf.experiments import sample_grids, train
from amr_tf.metrics.measure import evaluate
from amr_tf.runs.checkpoints import best_path, load_model
from amr_tf.runs.folder import RunFolder, load_data
from tests.runs.conftest import read_log, tiny_config

pytestmark = pytest.mark.usefixtures("tiny")


def test_final_probes_can_be_chosen_or_left_out(tmp_path):
    config = tiny_config(tmp_path / "run", architecture="tiny", epochs=1)
    results = train(config, probes=())
    assert list(results) == ["best_val_probe_accuracy", "best_epoch", "validation", "test"]
    assert json.loads(RunFolder(config.run_dir).results.read_text()) == results
    probed = train(config, resume=True, probes=("knn",))  # Nothing is left to train.
    assert probed.pop("knn_probe")["test_accuracy"] > 0.1
    assert probed == results


def test_callbacks_of_ones_own_see_each_epoch(tmp_path):
    config = tiny_config(tmp_path / "run", architecture="tiny", epochs=2)
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["val_probe_accuracy"]))
    )
    train(config, probes=(), callbacks=[callback])
    log = read_log(RunFolder(config.run_dir).log)
    logged = [row["val_probe_accuracy"] for row in log]
    assert seen == [(0, pytest.approx(logged[0])), (1, pytest.approx(logged[1]))]


def test_an_unknown_final_probe_is_told_before_anything_is_trained(tmp_path):
    config = tiny_config(tmp_path / "run")
    with pytest.raises(ValueError, match="^Unknown probe 'svm'"):
        train(config, probes=("linear", "svm"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_results_are_those_of_the_best_epoch_saved(tmp_path, ema):
    """The best epoch's weights are put into the trained model, which is not loaded anew."""
    config = tiny_config(
        tmp_path / "run", autoencoder_optimizer="adam(learning_rate=0.05)", epochs=4, ema=ema
    )
    results = train(config)
    best = load_model(best_path(RunFolder(config.run_dir).checkpoints))
    assert results["best_epoch"] < 4  # Or the test would say nothing.
    expected = evaluate(best, load_data(config))
    assert {name: results[name] for name in expected} == expected


def test_a_grid_shows_images_of_every_class(tmp_path):
    """Of data that lie class by class, as a folder's do."""
    labels = np.repeat(np.arange(3), 30)
    images = np.full((90, 8, 8, 1), 100, "uint8") + np.uint8(50 * labels)[:, None, None, None]
    split = Split(images, labels)
    data = ImageData("made", split, split, split, ("a", "b", "c"), 8)
    config = tiny_config(tmp_path, sample_every=1)
    (grid,) = sample_grids(config, data, RunFolder(tmp_path))
    assert len(grid.images) == 10
    assert len(np.unique(grid.images[:, 0, 0, 0])) == 3
