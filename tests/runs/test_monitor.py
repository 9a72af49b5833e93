"""Which epoch is kept, and when a run stops because no better one comes."""

import dataclasses

import numpy as np
import pytest

from amr_tf import AMR
from amr_tf.runs.checkpoints import Best, Checkpoints, best_path, load_model, read_state
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.folder import load_run, which_epoch
from amr_tf.runs.run import Monitor, monitor_of, train
from tests.models.helpers import make_dense

ERROR = "val_reconstruction_loss"


@pytest.fixture(scope="module")
def labelled():
    return make_dense()


@pytest.fixture(scope="module")
def unlabelled():
    model = AMR.convolutional((8, 8, 1), depth=2)
    model.compile()
    return model


def test_the_probe_chooses_and_the_reconstruction_breaks_ties(labelled, unlabelled):
    config = TrainingConfig()
    assert monitor_of(config, labelled) == Monitor("val_probe_accuracy", "max", ERROR)
    assert monitor_of(config, unlabelled) == Monitor(ERROR, "min", None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("val_loss", ("val_loss", "min", ERROR)),
        ("probe_accuracy", ("probe_accuracy", "max", ERROR)),
        (ERROR, (ERROR, "min", None)),
        ("val_adversarial_loss:max", ("val_adversarial_loss", "max", ERROR)),
        ("health_dead_maps:min", ("health_dead_maps", "min", ERROR)),
    ],
)
def test_any_logged_metric_can_choose(labelled, given, expected):
    assert monitor_of(TrainingConfig(monitor=given), labelled) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("val_probe_acuracy", "Did you mean 'val_probe_accuracy'?"),
        ("health_dead_maps", "health_dead_maps:max or health_dead_maps:min"),
        ("val_loss:least", "mode must be max or min"),
    ],
)
def test_other_metrics_are_refused(labelled, given, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        monitor_of(TrainingConfig(monitor=given), labelled)


def test_data_without_labels_have_no_probe_to_choose_by(unlabelled):
    with pytest.raises(ValueError, match="Unknown metric to monitor 'val_probe_accuracy'"):
        monitor_of(TrainingConfig(monitor="val_probe_accuracy"), unlabelled)


def run(tmp_path, model, rows, **options):
    """What `fit` calls: a row of (accuracy, error) for each epoch, until it stops."""
    callback = Checkpoints(tmp_path, "val_x", "max", tie_breaker=ERROR, **options)
    callback.set_model(model)
    callback.set_params({"epochs": 100})
    model.step_counter.assign(0)
    model.stop_training = False
    for epoch, (accuracy, error) in enumerate(rows):
        model.step_counter.assign_add(4)
        callback.on_epoch_end(epoch, {"val_x": accuracy, ERROR: error})
        if model.stop_training:
            break
    return callback


@pytest.mark.parametrize(
    ("rows", "epoch"),
    [
        ([(0.9, 0.3), (0.9, 0.2), (0.8, 0.1)], 2),
        ([(0.9, 0.2), (0.9, 0.3), (0.8, 0.1)], 1),
        ([(0.9, 0.2), (0.9, 0.2), (0.8, 0.1)], 2),
        ([(0.9, 0.2), (0.91, 0.9)], 2),
    ],
)
def test_ties_go_to_the_better_reconstruction_then_to_the_later_epoch(
    tmp_path, labelled, rows, epoch
):
    callback = run(tmp_path, labelled, rows)
    accuracy, error = rows[epoch - 1]
    assert callback.best[:3] == (accuracy, error, epoch)
    assert read_state(tmp_path)["best"] == callback.best
    assert int(load_model(best_path(tmp_path)).step_counter) == 4 * epoch


def test_patience_counts_from_the_first_epoch_that_was_as_good(tmp_path, labelled):
    same = [(0.5, 0.3), (0.9, 0.2), (0.9, 0.2), (0.9, 0.2), (0.9, 0.2), (0.9, 0.2)]
    callback = run(tmp_path, labelled, same, patience=3)
    assert callback.best == Best(0.9, 0.2, 5, 2)
    assert read_state(tmp_path)["step"] == 4 * 5  # Saved, though no epoch of `every`.


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that learns nothing, so that no epoch is better than the first."""
    still = "adam_l2(learning_rate=0, l2_weight_decay=0)"
    config = TrainingConfig(
        run_dir=str(tmp_path_factory.mktemp("stopped") / "run"),
        dataset="digits",
        image_size=8,
        train_subset=64,
        batch_size=32,
        architecture="convolutional(depth=2)",
        autoencoder_optimizer=still,
        discriminator_optimizer=still,
        probe_optimizer=still,
        epochs=6,
        patience=2,
        sample_every=0,
        verbose=0,
    )
    return config, train(config)


def test_a_run_stops_by_patience(stopped):
    config, trained = stopped
    assert trained.best.since == 1
    log = (trained.folder.path / "log.csv").read_text().splitlines()
    assert len(log) == 1 + 3
    assert read_state(trained.folder.checkpoints)["step"] == 3 * 2


def test_it_does_not_go_on_when_resumed(stopped):
    config, trained = stopped
    before = (trained.folder.path / "log.csv").read_text()
    again = train(config, resume=True)
    assert again.best == trained.best
    assert (trained.folder.path / "log.csv").read_text() == before


def test_more_patience_lets_it_go_on(stopped):
    config, trained = stopped
    again = train(dataclasses.replace(config, patience=4), resume=True)
    assert len((trained.folder.path / "log.csv").read_text().splitlines()) == 1 + 5
    assert again.best.since == 1


def test_commands_say_which_epoch_they_take(stopped):
    path = stopped[1].folder.path
    models = {epoch: load_run(path, epoch)[1] for epoch in ("best", "last")}
    said = {epoch: which_epoch(path, epoch, model) for epoch, model in models.items()}
    best = stopped[1].best
    assert said["last"].startswith("the newest checkpoint (step ")
    assert "val_probe_accuracy" in said["best"] and f"{best.value:.4g}" in said["best"]
    with pytest.raises(ValueError, match="Unknown epoch 'first'"):
        load_run(path, "first")
    np.testing.assert_array_equal(
        *(model.encode(np.zeros((1, 8, 8, 1))) for model in models.values())
    )
