"""Averages of the auto-encoder's weights: what they are, and where they are in place."""

import keras
import numpy as np
import pytest

from amr_tf import AMR
from tests.models.helpers import X, Y, everything, make, make_dense, same, values

EMA = 0.6  # From the 14th update on; the warm-up's momentum is t / (t + 9).


def averaged(**settings):
    return make_dense(compile_kwargs={"ema": EMA, **settings})


def weights_of(model):
    return values(model.autoencoder_variables)


class Log(keras.callbacks.Callback):
    """Notes the auto-encoder's weights after each step and at each epoch's end."""

    def __init__(self):
        super().__init__()
        self.steps, self.epochs = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(weights_of(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(weights_of(self.model))


def fit(model, epochs, callbacks=(), **kwargs):
    return model.fit(
        *(X, Y),
        batch_size=6,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[*callbacks],
        **kwargs,
    )


def by_hand(steps):
    """The averages after so many steps."""
    averages = [np.zeros_like(value) for value in steps[0]]
    for number, weights in enumerate(steps):
        momentum = min(number / (number + 9), EMA)
        averages = [momentum * old + (1 - momentum) * new for old, new in zip(averages, weights)]
    return averages


def check_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_averages_by_hand_and_where_they_are_in_place():
    """Steps change the weights; epochs end, are validated, and the training ends with averages."""
    model, log = averaged(autoencoder_optimizer="sgd"), Log()
    history = fit(model, 10, [log], validation_data=(X, Y)).history
    for epoch, found in enumerate(log.epochs):
        check_close(found, by_hand(log.steps[: 2 * epoch + 2]))
    check_close(weights_of(model), by_hand(log.steps))
    error = np.abs(X - model.reconstruct(X)).mean()
    assert history["val_reconstruction_loss"][-1] == pytest.approx(error, rel=1e-5)
    assert model.holds_averages
    model.use_averages(False)
    assert same(weights_of(model), log.steps[-1])
    # Nobody else's weights are averaged.
    plain = make_dense(compile_kwargs={"autoencoder_optimizer": "sgd"})
    fit(plain, 10)
    assert same(weights_of(model), weights_of(plain))
    assert same(values(model.discriminator.weights), values(plain.discriminator.weights))


def test_the_training_goes_on_from_the_weights(tmp_path):
    """As if it had never stopped, also from a file, and after an evaluation."""
    whole, model = averaged(), averaged()
    fit(whole, 3)
    fit(model, 1)
    model.evaluate(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.holds_averages
    assert same(everything(again), everything(model))
    assert again.ema == EMA
    for each in (model, again):
        fit(each, 2)
        assert same(everything(each), everything(whole))


def test_single_steps():
    model = averaged()
    model.train_on(X, Y)
    model.use_averages()
    with pytest.raises(ValueError, match=r"^The model holds the averages .* use_averages\(False\)"):
        model.train_on(X, Y)
    held = weights_of(model)
    model.train_on_batch(X, Y)
    assert not model.holds_averages
    twin = averaged()
    twin.train_on(X, Y)
    check_close(held, weights_of(twin))  # Of a single step the average is its result.


def test_before_the_first_update_the_averages_are_the_weights():
    model = averaged()
    before = weights_of(model)
    model.use_averages()
    assert same(weights_of(model), before)


def test_a_new_compile_goes_on_from_what_the_model_is():
    """A new optimizer does not know the weights that the old one held back."""
    model = averaged()
    fit(model, 1)
    held = weights_of(model)
    model.compile(ema=EMA)
    assert not model.holds_averages
    model.use_averages(False)
    assert same(weights_of(model), held)
    # The same optimizer knows them.
    fit(model, 1)
    model.compile(model.autoencoder_optimizer, ema=EMA)
    assert model.holds_averages


def test_an_optimizer_that_was_used_without_averages():
    model = make_dense()
    with pytest.raises(ValueError, match=r"^ema = 0.6 needs a new autoencoder_optimizer: "):
        model.compile(model.autoencoder_optimizer, ema=EMA)


def test_without_averages_nothing_is_exchanged():
    model = make_dense()
    before = everything(model)
    model.use_averages()
    assert not model.holds_averages
    assert same(before, everything(model))


@pytest.mark.parametrize("fitted", [False, True])
def test_weights_that_are_set_are_what_is_trained_on(fitted):
    model = averaged()
    if fitted:
        fit(model, 1)
    wanted = [2 * value for value in model.get_weights()]
    model.set_weights(wanted)
    assert same(model.get_weights(), wanted)
    model.use_averages(not model.holds_averages)
    assert same(model.get_weights(), wanted)


def test_the_best_epoch_that_early_stopping_restores_is_trained_on():
    model, log = averaged(), Log()
    stop = keras.callbacks.EarlyStopping("loss", mode="max", patience=1, restore_best_weights=True)
    fit(model, 5, [log, stop])
    assert stop.best_epoch < len(log.epochs) - 1
    for _ in range(2):
        assert same(weights_of(model), log.epochs[stop.best_epoch])
        model.use_averages(not model.holds_averages)


@pytest.mark.parametrize("saved_held", [False, True])
def test_a_file_of_weights(tmp_path, saved_held):
    """The model has what was saved, averages too; where they do not fit, they start from it."""
    model = averaged()
    fit(model, 2)
    model.use_averages(saved_held)
    model.save_weights(tmp_path / "model.weights.h5")
    again = averaged()
    again.load_weights(tmp_path / "model.weights.h5")
    assert same(everything(again), everything(model))
    assert again.holds_averages is saved_held
    without = make_dense()
    frozen = make_dense()
    frozen.decoder.trainable = False
    frozen.compile(ema=EMA, run_eagerly=True)
    for other in (without, frozen):
        with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
            other.load_weights(tmp_path / "model.weights.h5")
        for _ in range(2):
            assert not other.holds_averages
            assert same(weights_of(other), weights_of(model)[: len(weights_of(other))])
            other.use_averages(True)
            other.use_averages(False)
        other.train_on(X, Y)


def test_a_file_that_is_not_there_changes_nothing(tmp_path):
    model = averaged()
    fit(model, 1)
    before = everything(model)
    with pytest.raises((ValueError, OSError)):
        model.load_weights(tmp_path / "missing.weights.h5")
    assert same(everything(model), before)


def test_compiled_again_without_averages():
    model = averaged()
    fit(model, 1)
    held = weights_of(model)
    model.compile(model.autoencoder_optimizer, run_eagerly=True)
    assert same(weights_of(model), held)
    model.train_on(X, Y)  # It no longer holds averages.


def test_callbacks_of_keras_that_swap_averages_are_refused():
    with pytest.raises(ValueError, match=r"already uses the averages .*leave out SwapEMAWeights"):
        fit(averaged(), 1, [keras.callbacks.SwapEMAWeights()])


@pytest.mark.parametrize("ema", [-0.1, 1.0, "often"])
def test_bad_momentum(ema):
    with pytest.raises(ValueError, match="^ema must be a"):
        make(AMR, compile_kwargs={"ema": ema})
