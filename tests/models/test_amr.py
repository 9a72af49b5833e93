import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, AdamL2, BernoulliMixup, Mixup
from amr_tf.networks import build_decoder, build_discriminator, build_encoder
from tests.models.helpers import everything, same, values

SHAPE = (8, 8, 1)
X = np.random.default_rng(0).uniform(-1, 1, (24, *SHAPE)).astype("float32")
Y = np.arange(24) % 3


def make(mixer="mixup", k=2, num_classes=3, seed=0, compile_kwargs=None, **kwargs):
    keras.utils.set_random_seed(0)
    model = AMR.convolutional(
        SHAPE, depth=2, mixer=mixer, k=k, num_classes=num_classes, seed=seed, **kwargs
    )
    model.compile(**(compile_kwargs or {}))
    return model


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return X[index * 8 : index * 8 + 8], Y[index * 8 : index * 8 + 8]


@pytest.mark.parametrize(
    "data",
    [
        {"x": X, "y": Y, "batch_size": 8},
        {"x": X, "batch_size": 8},
        {"x": tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)},
        {"x": tf.data.Dataset.from_tensor_slices(X).batch(8)},
        {"x": Batches()},
        {"x": tf.constant(X), "y": Y[:, None], "batch_size": 8},
        {"x": X.astype("float64"), "y": Y, "batch_size": 8, "validation_split": 0.5},
        {"x": X, "y": Y, "batch_size": 10},  # The last batch is smaller.
    ],
    ids=[
        "arrays",
        "unlabelled",
        "dataset",
        "images",
        "pydataset",
        "tensor",
        "float64",
        "remainder",
    ],
)
def test_fit_takes_what_keras_takes(data):
    model = make(compile_kwargs={"run_eagerly": True})  # Tracing takes longer than three steps.
    history = model.fit(**data, epochs=1, verbose=0).history
    names = {"loss", "reconstruction_loss", "adversarial_loss", "discriminator_loss"}
    if data.get("y") is not None or isinstance(data["x"], Batches):
        names |= {"probe_loss", "probe_accuracy"}
    assert names <= set(history)
    assert all(np.isfinite(numbers).all() for numbers in history.values())
    assert int(model.step_counter) == (2 if "validation_split" in data else 3)


def test_fit_takes_positional_arguments():
    model = make()
    history = model.fit(X, Y, 8, 2, 0).history  # batch_size, epochs, verbose
    assert len(history["loss"]) == 2


def test_a_step_updates_every_network():
    model = make()
    networks = (model.encoder, model.decoder, model.discriminator, model.probe)
    before = [values(network.trainable_variables) for network in networks]
    model.train_on(X, Y)
    for network, old in zip(networks, before):
        # Every weight, so also each spectrally normalised kernel and each bias.
        changed = [
            not np.array_equal(new, value)
            for new, value in zip(values(network.trainable_variables), old)
        ]
        assert all(changed), network.name


def test_probe_sends_no_gradient_into_the_encoder():
    with_labels, without = make(), make()
    with_labels.train_on(X, Y)
    without.train_on(X)
    assert same(values(with_labels.encoder.weights), values(without.encoder.weights))
    assert not same(values(with_labels.probe.weights), values(without.probe.weights))


def test_generator_update_every():
    model = make(compile_kwargs={"generator_update_every": 3})
    step = tf.function(model.train_on)
    moved = []
    for _ in range(7):
        autoencoder, discriminator = (
            values(model.autoencoder_variables),
            values(model.discriminator.weights),
        )
        step(X, Y)
        moved.append(not same(autoencoder, values(model.autoencoder_variables)))
        assert not same(discriminator, values(model.discriminator.weights))
    assert moved == [True, False, False, True, False, False, True]
    assert int(model.autoencoder_optimizer.iterations) == 3
    assert int(model.discriminator_optimizer.iterations) == 7


def test_losses_are_the_papers():
    """Equation 3 written out from what the networks return."""
    model = make(k=3, compile_kwargs={"lambda_": 7.0, "beta": 2.0})
    permutations = np.asarray(model.mixer.draw_permutations(24))
    coefficients = np.asarray(model.mixer.draw_coefficients(model.latent_shape, 24))
    codes = np.asarray(model.encoder(X))
    reconstruction = model.decoder(codes)
    mixed = sum(coefficients[:, j] * codes[permutations[j]] for j in range(3))
    mixes = model.decoder(mixed)

    def gan(images, target):
        probability = 1 / (1 + np.exp(-np.asarray(model.discriminator(images), "float64")))
        return -np.mean(np.log(probability if target else 1 - probability))

    adversarial = gan(reconstruction, 1) + gan(mixes, 1)
    error = np.abs(X - reconstruction).mean()
    consistency = np.abs(mixed - model.encoder(mixes)).mean()
    discriminator = gan(X, 1) + gan(reconstruction, 0) + gan(mixes, 0)
    results = model.train_on(X, Y, permutations, coefficients)
    assert float(results["reconstruction_loss"]) == pytest.approx(error, rel=1e-4)
    assert float(results["adversarial_loss"]) == pytest.approx(adversarial, rel=1e-4)
    assert float(results["consistency_loss"]) == pytest.approx(consistency, rel=1e-4)
    assert float(results["discriminator_loss"]) == pytest.approx(discriminator, rel=1e-4)
    assert float(results["loss"]) == pytest.approx(
        7 * error + adversarial + 2 * consistency, rel=1e-4
    )


def test_without_a_mixer_it_is_ae_gan():
    model = make(mixer=None)
    results = model.train_on(X, Y)
    assert float(results["adversarial_loss"]) == pytest.approx(np.log(2), abs=0.1)
    assert float(results["discriminator_loss"]) == pytest.approx(2 * np.log(2), abs=0.2)
    with pytest.raises(ValueError, match="has no mixer"):
        model.mix(X)


def test_same_seed_same_training_and_replay():
    one, two = make(), make()
    for model in (one, two):
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0, shuffle=False)
    assert same(everything(one), everything(two))


def test_validation_changes_nothing_and_repeats():
    model = make()
    model.fit(X, Y, batch_size=8, verbose=0)
    before = everything(model)
    first = model.evaluate(X, Y, verbose=0, return_dict=True)
    second = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert same(before, everything(model))
    assert first == second
    predicted = model.predict(X, verbose=0)
    np.testing.assert_allclose(predicted, model.reconstruct(X), atol=1e-5)


def test_evaluate_averages_over_images():
    """A smaller last batch weighs by its images: losses that are means of images must agree."""
    model = make(mixer=None)
    whole = model.evaluate(X, Y, batch_size=24, verbose=0, return_dict=True)
    pieces = model.evaluate(X, Y, batch_size=10, verbose=0, return_dict=True)
    for name, value in whole.items():
        assert pieces[name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize("mixer", [Mixup(3, seed=1), BernoulliMixup(2, "element", seed=1)])
def test_saved_file_continues_exactly(mixer, tmp_path):
    model = make(
        mixer=mixer,
        compile_kwargs={
            "lambda_": 3.0,
            "beta": 0.5,
            "gan_loss": "least_squares",
            "generator_update_every": 2,
            "discriminator_optimizer": keras.optimizers.Adam(1e-3),
        },
    )
    model.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert same(everything(model), everything(again))
    assert again.mixer.get_config() == mixer.get_config()
    for name in ("lambda_", "beta", "generator_update_every"):
        assert getattr(again, name) == getattr(model, name)
    for one in (model, again):
        one.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
    assert same(everything(model), everything(again))


def test_keras_clone_from_config():
    model = make(k=3)
    again = AMR.from_config(model.get_config())
    assert again.mixer.k == 3
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]


def test_encode_decode_mix_interpolate():
    model = make(k=2)
    codes = model.encode(X, batch_size=10)
    assert codes.shape == (24, 4, 4, 2)
    images = model.decode(codes, batch_size=7)
    np.testing.assert_allclose(images, model.reconstruct(X), atol=1e-4)
    permutations = np.stack([np.arange(24), np.roll(np.arange(24), 1)])
    coefficients = np.full((24, 2, 1, 1, 1), 0.5, "float32")
    halfway = model.mix(X, permutations, coefficients)
    line = model.interpolate(X, np.roll(X, -1, axis=0), steps=3)
    assert line.shape == (24, 3, *SHAPE)
    np.testing.assert_allclose(line[:, 0], images, atol=1e-4)
    np.testing.assert_allclose(line[:, 1], np.roll(halfway, -1, axis=0), atol=1e-4)
    np.testing.assert_allclose(line[:, 2], np.roll(images, -1, axis=0), atol=1e-4)
    assert model.mix(X).shape == X.shape


@pytest.mark.parametrize("mixer", [Mixup(3, seed=0), BernoulliMixup(2, seed=0)])
def test_own_networks_with_vector_codes(mixer, tmp_path):
    layers = keras.layers
    encoder = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(5)])
    decoder = keras.Sequential([keras.Input((5,)), layers.Dense(64), layers.Reshape(SHAPE)])
    discriminator = keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dense(1), layers.Reshape(())]
    )
    model = AMR(encoder, decoder, discriminator, mixer)
    model.compile(beta=1.0)
    before = values(encoder.weights)
    model.fit(X, batch_size=8, verbose=0)
    assert not same(before, values(encoder.weights))
    assert model.encode(X).shape == (24, 5)
    assert model.mix(X).shape == X.shape
    assert model.interpolate(X, X[::-1], steps=4).shape == (24, 4, *SHAPE)
    model.save(tmp_path / "own.keras")
    again = keras.saving.load_model(tmp_path / "own.keras")
    np.testing.assert_array_equal(model.reconstruct(X), again.reconstruct(X))


def test_optimizers_by_keras_name_and_learning_rate_callback():
    model = make(compile_kwargs={"autoencoder_optimizer": "sgd"})
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert model.optimizer is model.autoencoder_optimizer
    assert isinstance(model.discriminator_optimizer, AdamL2)
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.125)
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[schedule])
    assert float(model.autoencoder_optimizer.learning_rate) == 0.125


def test_mixed_precision_trains():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make()
    finally:
        keras.config.set_dtype_policy("float32")
    for optimizer in (model.autoencoder_optimizer, model.discriminator_optimizer):
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    before = values(model.encoder.trainable_variables)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    assert all(np.isfinite(value).all() for value in values(model.weights))
    assert not same(before, values(model.encoder.trainable_variables))


def test_steps_per_execution():
    one, many = make(), make(compile_kwargs={"steps_per_execution": 3})
    for model in (one, many):
        model.fit(X, Y, batch_size=8, epochs=1, verbose=0, shuffle=False)
    assert int(many.step_counter) == 3
    for a, b in zip(values(one.weights), values(many.weights)):
        np.testing.assert_allclose(a, b, atol=1e-6)


def nan_images():
    images = X.copy()
    images[5, 3, 3] = np.nan
    return images


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": X[:, :4]}, r"shape \(N, 8, 8, 1\); got \(24, 4, 8, 1\)"),
        ({"x": np.repeat(X, 3, axis=-1)}, r"got \(24, 8, 8, 3\)"),
        ({"x": X[0]}, r"got \(8, 8, 1\)"),
        ({"x": X * 2}, r"lie in \[-1, 1\]; its values span -[12]"),
        ({"x": (X * 127 + 128).astype("uint8")}, "uint8.*images / 127.5 - 1"),
        ({"x": nan_images()}, "NaN or infinite"),
        ({"x": X[:0]}, "images is empty"),
        ({"x": X[:2], "batch_size": 8}, "A batch of 2 is too small to mix k = 3"),
        ({"x": X, "batch_size": 2}, "A batch of 2 is too small to mix k = 3"),
        ({"x": X, "y": Y[:5]}, r"labels must have the shape \(24,\); got \(5,\)"),
        ({"x": X, "y": Y.astype("float32")}, "labels must be integers"),
        ({"x": X, "y": Y + 1}, "labels must lie in 0 to 2, or be -1 where unlabelled; got 1 to 3"),
        ({"x": X, "validation_data": (X * 2, Y)}, r"validation images must lie in \[-1, 1\]"),
        ({"x": X, "validation_data": (X, Y + 1)}, "validation labels must lie in 0 to 2"),
        (
            {"x": X, "validation_data": tf.data.Dataset.from_tensor_slices(X[:0]).batch(4)},
            "The validation data set is empty",
        ),
        ({"x": tf.data.Dataset.from_tensor_slices(X[:0]).batch(4)}, "data set is empty"),
        ({"x": tf.data.Dataset.from_tensor_slices(2 * X).batch(4)}, r"lie in \[-1, 1\]"),
        ({"x": tf.data.Dataset.from_tensor_slices(X).batch(2)}, "A batch of 2 is too small"),
        ({"x": tf.data.Dataset.from_tensor_slices(X[:, :4]).batch(4)}, r"got \(4, 4, 8, 1\)"),
    ],
)
def test_bad_data_is_refused_before_training(data, message):
    model = make(k=3)
    before = values(model.weights)
    with pytest.raises(ValueError, match=message):
        model.fit(**data, verbose=0)
    assert same(before, values(model.weights))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lambda_": -1.0}, "lambda_ must be a finite number of at least 0; got -1.0"),
        ({"lambda_": float("nan")}, "got nan"),
        ({"beta": "1"}, "beta must be a finite number"),
        ({"generator_update_every": 0}, "positive integer; got 0"),
        ({"reconstruction_loss": "mae"}, "Unknown reconstruction loss 'mae'"),
        ({"gan_loss": "least_square"}, "Did you mean 'least_squares'"),
    ],
)
def test_bad_compile_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(compile_kwargs=arguments)


def test_more_bad_arguments():
    with pytest.raises(TypeError, match="does not take 'loss'"):
        make(compile_kwargs={"loss": "mse"})
    with pytest.raises(ValueError, match="needs a mixer"):
        make(mixer=None, compile_kwargs={"beta": 1.0})
    model = make()
    with pytest.raises(ValueError, match=r"codes must have the shape \(N, 4, 4, 2\)"):
        model.decode(np.zeros((1, 4, 4, 3)))
    with pytest.raises(ValueError, match="codes must be finite"):
        model.decode(np.full((1, 4, 4, 2), np.inf))
    with pytest.raises(ValueError, match="as many; got 2 and 3"):
        model.interpolate(X[:2], X[:3])
    with pytest.raises(ValueError, match="steps must be an integer of at least 2; got 1"):
        model.interpolate(X, X, steps=1)
    with pytest.raises(ValueError, match="A batch of 1 is too small"):
        model.mix(X[:1])


def test_networks_that_do_not_fit():
    sizes = {"depth": 2}
    with pytest.raises(ValueError, match="The decoder's input"):
        AMR(
            build_encoder(SHAPE, 2, **sizes),
            build_decoder(SHAPE, 3, **sizes),
            build_discriminator(SHAPE, **sizes),
        )
    with pytest.raises(ValueError, match="The discriminator's input"):
        AMR(
            build_encoder(SHAPE, **sizes),
            build_decoder(SHAPE, **sizes),
            build_discriminator((32, 32, 1), **sizes),
        )
