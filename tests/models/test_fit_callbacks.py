"""Keras' callbacks with more than one player: directions, learning rates, backups, averages."""

import keras
import numpy as np
import pytest

from amr_tf import AMR, VAE, SupervisedAMR
from amr_tf.models.fit_callbacks import SharedLearningRate, with_own
from tests.models.helpers import X, Y, everything, make, make_dense, same, values

PLAYERS = ("autoencoder", "discriminator", "probe")
BATCH = 6  # Two steps an epoch.


def rates(model):
    return [float(player.optimizer.learning_rate) for player in model.players.values()]


def compiled(*learning_rates, **kwargs):
    """An AMR whose players have these learning rates, numbers or schedules."""
    given = {
        f"{player}_optimizer": keras.optimizers.SGD(rate)
        for player, rate in zip(PLAYERS, learning_rates)
    }
    return make_dense(compile_kwargs={**given, **kwargs})


class Log(keras.callbacks.Callback):
    """Notes something of the model in each epoch and batch."""

    def __init__(self, read):
        super().__init__()
        self.read, self.batches, self.epochs = read, [], []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(self.read(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self.read(self.model))


class Told(keras.callbacks.Callback):
    """Puts given values in the place of a metric, before other callbacks see it."""

    def __init__(self, name, numbers):
        super().__init__()
        self.name, self.numbers = name, numbers

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.numbers[epoch]


def fit(model, callbacks, epochs=1, **kwargs):
    return model.fit(
        X,
        Y,
        batch_size=BATCH,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
        **kwargs,
    )


# Which way a metric improves.


@pytest.mark.parametrize(
    ("name", "numbers", "best"),
    [
        ("val_probe_accuracy", [0.3, 0.6, 0.5, 0.4], 1),
        ("probe_accuracy", [0.3, 0.6, 0.5, 0.4], 1),
        ("val_probe_loss", [0.6, 0.3, 0.4, 0.5], 1),
        ("val_reconstruction_loss", [3.0, 2.0, 2.5, 2.2], 1),
        ("discriminator_regularization_loss", [3.0, 2.0, 2.5, 2.2], 1),
        ("val_loss", [5.0, 4.0, 3.0, 4.0], 2),
        ("mae", [0.5, 0.4, 0.3, 0.2], 3),
    ],
)
def test_early_stopping_finds_the_direction(name, numbers, best):
    """Without `mode`: it keeps the weights of the best epoch, the highest of an accuracy."""
    model = compiled(0.01, 0.01, 0.01, metrics=["mae"])
    log = Log(lambda one: values(one.encoder.weights))
    stop = keras.callbacks.EarlyStopping(name, patience=2, restore_best_weights=True)
    history = fit(model, [Told(name, numbers), log, stop], 4, validation_data=(X, Y))
    assert len(history.epoch) == min(best + 3, 4)
    assert same(values(model.encoder.weights), log.epochs[best])
    assert stop.best == numbers[best]


def test_checkpoints_of_the_best_epoch(tmp_path):
    model = compiled(0.01, 0.01, 0.01)
    log = Log(everything)
    path = tmp_path / "best.keras"
    keep = keras.callbacks.ModelCheckpoint(path, "val_probe_accuracy", save_best_only=True)
    told = Told("val_probe_accuracy", [0.3, 0.6, 0.5])
    fit(model, [told, log, keep], 3, validation_data=(X, Y))
    again = keras.saving.load_model(path)
    assert same(everything(again), log.epochs[1])
    assert not same(everything(again), log.epochs[2])
    assert keep.best == 0.6


def test_a_mode_that_is_given_is_kept():
    for mode in ("min", "max"):
        stop = keras.callbacks.EarlyStopping("val_probe_accuracy", mode=mode)
        with_own([stop], make_dense())
        assert stop.mode == mode
    unknown = keras.callbacks.EarlyStopping("something")
    with_own([unknown], make_dense())
    assert unknown.mode == "auto"


@pytest.mark.parametrize("form", ["none", "one", "list", "tuple", "callback list"])
def test_callbacks_in_every_form(form):
    model = compiled(0.5, 0.25, 0.125)
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.25)
    given = {
        "none": None,
        "one": scheduler,
        "list": [scheduler],
        "tuple": (scheduler,),
        "callback list": keras.callbacks.CallbackList([scheduler], add_history=True, model=model),
    }[form]
    fit(model, given)
    fit(model, given)  # A list of Keras' own is used again.
    assert rates(model) == ([0.5, 0.25, 0.125] if form == "none" else [0.25, 0.125, 0.0625])


# Learning rates.


def test_a_scheduler_sets_every_players_rate():
    model = compiled(0.5, 0.25, 0.0625)
    log = Log(rates)
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: (0.5, 0.25, 0.125)[epoch])
    fit(model, [scheduler, log], 3)
    factors = np.array([1, 1, 0.5, 0.5, 0.25, 0.25])
    np.testing.assert_allclose(log.batches, factors[:, None] * [[0.5, 0.25, 0.0625]])


def test_a_warm_up_from_zero():
    """Of a rate of 0 there is no proportion; the others must not stay there."""
    model = compiled(0.4, 0.2, 0.1)
    log = Log(rates)
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: (0.0, 0.2, 0.0, 0.4)[epoch])
    fit(model, [scheduler, log], 4)
    expected = np.array([0, 0, 0.5, 0.5, 0, 0, 1, 1])[:, None] * [[0.4, 0.2, 0.1]]
    np.testing.assert_allclose(log.batches, expected, rtol=1e-6)


def test_a_plateau_reduces_every_players_rate():
    model = compiled(0.5, 0.25, 0.125)
    log = Log(rates)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0)
    history = fit(model, [Told("loss", [5.0, 4.0, 4.0, 3.0]), plateau, log], 4)
    factors = np.array([1, 1, 1, 1, 1, 1, 0.5, 0.5])
    np.testing.assert_allclose(log.batches, factors[:, None] * [[0.5, 0.25, 0.125]])
    assert rates(model) == [0.25, 0.125, 0.0625]
    assert history.history["learning_rate"] == [0.5, 0.5, 0.5, 0.25]


def test_a_plateau_of_an_accuracy():
    """Its direction is found as well: a rising accuracy is not a plateau."""
    model = compiled(0.5, 0.25, 0.125)
    plateau = keras.callbacks.ReduceLROnPlateau("val_probe_accuracy", factor=0.5, patience=1)
    told = Told("val_probe_accuracy", [0.1, 0.2, 0.3, 0.3])
    fit(model, [told, plateau], 4, validation_data=(X, Y))
    assert rates(model) == [0.25, 0.125, 0.0625]


def test_a_rate_that_changes_with_each_batch():
    model = compiled(0.5, 0.25, 0.125)

    class Halving(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            optimizer = self.model.optimizer
            optimizer.learning_rate = 0.5 * float(optimizer.learning_rate)

    log = Log(rates)
    fit(model, [Halving(), log], 2)
    factors = 0.5 ** np.arange(1, 5)
    np.testing.assert_allclose(log.batches, factors[:, None] * [[0.5, 0.25, 0.125]])


def test_a_rate_that_a_callback_sets_for_one_player_is_the_new_proportion():
    model = compiled(0.5, 0.25, 0.125)

    class Own(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.discriminator_optimizer.learning_rate = 1.0
            if epoch == 2:
                self.model.optimizer.learning_rate = 0.25

    log = Log(rates)
    fit(model, [Own(), log], 3)
    expected = [[0.5, 0.25, 0.125], [0.5, 1.0, 0.125], [0.25, 0.5, 0.0625]]
    np.testing.assert_allclose(log.batches[::2], expected)


def test_schedules_of_ones_own_are_left_alone():
    decay = keras.optimizers.schedules.ExponentialDecay(0.25, 1, 0.5)
    model = compiled(0.5, decay, 0.125)
    fit(model, keras.callbacks.LearningRateScheduler(lambda epoch: 0.25))
    assert rates(model) == [0.25, 0.0625, 0.0625]
    with_schedule = compiled(decay, 0.25, 0.125)
    fit(with_schedule, None, 2)
    assert rates(with_schedule)[1:] == [0.25, 0.125]


def test_rates_under_loss_scaling():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(0.5, 0.25, 0.125)
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    fit(model, keras.callbacks.LearningRateScheduler(lambda epoch: 0.125))
    assert rates(model) == [0.125, 0.0625, 0.03125]


def test_without_other_players():
    model = make(VAE, num_classes=None, compile_kwargs={"autoencoder_optimizer": "sgd"})
    fit(model, keras.callbacks.LearningRateScheduler(lambda epoch: 0.125))
    assert rates(model) == [0.125]


def test_it_stands_behind_the_users_callbacks():
    model = make_dense()
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.25)
    both = with_own([scheduler], model)
    assert both[0] is scheduler
    assert isinstance(both[-1], SharedLearningRate)


# Backups.


class Interrupt(keras.callbacks.Callback):
    """Stops the training as a crash does, within an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 0:
            raise KeyboardInterrupt


def test_a_backup_is_restored(tmp_path):
    """What comes after an interruption is what would have come without it."""
    whole = make_dense()
    fit(whole, None, 3)
    broken = make_dense()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(broken, [backup, Interrupt(2)], 3)
    assert not same(everything(broken), everything(whole))
    again = make_dense()
    history = fit(again, [keras.callbacks.BackupAndRestore(tmp_path / "backup")], 3)
    assert history.epoch == [2]
    assert int(again.step_counter) == 6
    assert same(everything(again), everything(whole))


def test_a_backup_restores_every_players_rate(tmp_path):
    model = compiled(0.5, 0.25, 0.125)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    halved = keras.callbacks.LearningRateScheduler(lambda epoch: 0.25)
    with pytest.raises(KeyboardInterrupt):
        fit(model, [backup, halved, Interrupt(1)], 2)
    again = compiled(0.5, 0.25, 0.125)
    fit(again, [keras.callbacks.BackupAndRestore(tmp_path / "backup")], 2)
    assert rates(again) == [0.25, 0.125, 0.0625]


# Moving averages.


def averaged(method, momentum=0.5):
    given = {
        f"{player}_optimizer": keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=momentum)
        for player in PLAYERS
    }
    if method is AMR:
        return make_dense(compile_kwargs=given)
    return make(method, "mixup", compile_kwargs=given)


def by_hand(history, momentum=0.5):
    """The average of the variables' values after each step."""
    average = history[0]
    for step in history[1:]:
        average = [momentum * old + (1 - momentum) * new for old, new in zip(average, step)]
    return average


@pytest.mark.parametrize("method", [AMR, SupervisedAMR], ids=lambda method: method.__name__)
def test_fit_ends_with_the_averages_of_every_player(method):
    """Also where a player's variables are not the first of the model."""
    model = averaged(method)
    names = list(model.players)
    log = Log(lambda one: [values(one.players[name].variables) for name in names])
    fit(model, log, 2)
    for index, name in enumerate(names):
        expected = by_hand([step[index] for step in log.batches])
        for one, other in zip(values(model.players[name].variables), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_validation_with_averages():
    """`SwapEMAWeights`: the auto-encoder is evaluated with its averages, and trains on without."""
    model = averaged(AMR)
    log = Log(lambda one: values(one.players["autoencoder"].variables))
    swap = keras.callbacks.SwapEMAWeights()
    history = fit(model, [log, swap], 2, validation_data=(X, None)).history
    twin = make_dense()
    for end in (2, 4):
        expected = by_hand(log.batches[:end])
        for variable, value in zip(twin.players["autoencoder"].variables, expected, strict=True):
            variable.assign(value)
        error = np.abs(X - twin.reconstruct(X)).mean()
        found = history["val_reconstruction_loss"][end // 2 - 1]
        assert found == pytest.approx(error, rel=1e-5)
        # Training went on with the weights themselves.
        plain = log.batches[end - 1]
        assert max(np.abs(one - other).max() for one, other in zip(plain, expected)) > 1e-5


def test_swapped_after_each_epoch(tmp_path):
    """With `swap_on_epoch` checkpoints hold the averages."""
    model = averaged(AMR)
    log = Log(lambda one: values(one.players["autoencoder"].variables))
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    path = tmp_path / "{epoch}.keras"
    fit(model, [log, swap, keras.callbacks.ModelCheckpoint(path)], 2)
    for epoch, end in ((1, 2), (2, 4)):
        saved = keras.saving.load_model(tmp_path / f"{epoch}.keras")
        expected = by_hand(log.batches[:end])
        for one, other in zip(saved.autoencoder_variables, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
