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


@pytest.mark.parametrize("ema", [-0.1, 1.0, "often"])
def test_bad_momentum(ema):
    with pytest.raises(ValueError, match="^ema must be a"):
        make(AMR, compile_kwargs={"ema": ema})
