"""What `compile` takes: losses, optimizers, metrics, Keras' own settings, and files of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import ACAI, AEGAN, AMR, GAIA, VAE, AdamL2, BetaVAE, OriginalACAI, SupervisedAMR, losses
from amr_tf.layers import SpectralNormalization
from amr_tf.models import METHODS
from amr_tf.models.compiling import consistency_loss, featured_discriminator, logit_decoder
from tests.models.helpers import (
    SHAPE,
    X,
    Y,
    everything,
    make,
    make_dense,
    make_own,
    same,
    sigmoid,
    values,
)

layers = keras.layers
PLAYERS = ("autoencoder", "discriminator", "probe")


def sentence(make_it, *args, **kwargs):
    """The one sentence with which something is refused."""
    with pytest.raises(ValueError) as error:
        make_it(*args, **kwargs)
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.fixture(scope="module")
def amr():
    """A model to compile anew."""
    return make(AMR)


# Defaults.


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (AMR, ("mean_absolute_error", "gan_binary_crossentropy", "mean_absolute_error", 10.0)),
        (AEGAN, ("mean_absolute_error", "gan_binary_crossentropy", "mean_absolute_error", 10.0)),
        (ACAI, ("mean_absolute_error", "gan_binary_crossentropy", "mean_absolute_error", 10.0)),
        (OriginalACAI, ("mean_squared_error", "gan_least_squares", "mean_absolute_error", 1.0)),
        (GAIA, ("mean_absolute_error", None, "mean_absolute_error", 10.0)),
        (VAE, ("binary_crossentropy", None, "mean_absolute_error", 1.0)),
        (BetaVAE, ("binary_crossentropy", None, "mean_absolute_error", 1.0)),
        (SupervisedAMR, ("mean_absolute_error", "gan_binary_crossentropy", None, 10.0)),
    ],
)
def test_defaults_of_each_method(method, expected):
    keras.utils.set_random_seed(0)
    model = method.convolutional(SHAPE, depth=2, num_classes=3)
    model.compile()
    found = (model.reconstruction_loss, model.gan_loss, model.consistency_loss)
    for loss, name in zip(found, expected):
        if name is not None:
            assert loss is getattr(losses, name)
    if expected[1] is None:
        assert model.gan_loss is None
    assert model.lambda_ == expected[3]
    assert model.step == "one_pass"
    for name, player in model.players.items():
        plain = method is OriginalACAI and name != "probe"
        assert type(player.optimizer) is (keras.optimizers.Adam if plain else AdamL2)


def test_weights_of_their_own():
    for method, settings in (
        (OriginalACAI, {"adversarial_weight": 0.5, "critic_blend": 0.2}),
        (GAIA, {"balance_target": 0.5, "balance_rate": 0.01}),
        (VAE, {"kl_weight": 1.0}),
        (BetaVAE, {"kl_weight": 4.0}),
        (SupervisedAMR, {"class_weight": 1.0}),
    ):
        model = make(method)
        assert {name: getattr(model, name) for name in settings} == settings


# Losses.


def test_what_measures_consistency():
    absolute, squared = losses.mean_absolute_error, losses.mean_squared_error
    assert consistency_loss(None, absolute) is absolute
    assert consistency_loss(None, squared) is squared
    assert consistency_loss(None, losses.binary_crossentropy) is absolute
    assert consistency_loss("mean_squared_error", absolute) is squared
    own = losses.reconstruction_loss(keras.losses.Huber())
    assert consistency_loss(own, absolute) is own
    assert consistency_loss(None, own) is own
    made = consistency_loss(keras.losses.Huber(), absolute)
    assert float(made(np.zeros((2, 3)), np.full((2, 3), 3.0))) == 2.5  # 3 - 1 / 2


def test_a_loss_of_logits_does_not_measure_consistency(amr):
    """Codes have no logits."""
    text = sentence(amr.compile, consistency_loss="binary_crossentropy", beta=1.0)
    assert "consistency_loss must be a distance" in text


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_gan_loss_of_keras(target):
    """Its arguments come in the other order: the value is the one by hand."""
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model = make(AMR, compile_kwargs={"gan_loss": loss})
    logits = np.array([-2.0, 0.5, 3.0], "float32")
    expected = -np.log(sigmoid(logits) if target else 1 - sigmoid(logits)).mean()
    assert float(model.gan_loss(tf.constant(logits), target)) == pytest.approx(expected, rel=1e-5)
    ours, theirs = make(AMR), model
    first, second = ours.train_on(X, Y), theirs.train_on(X, Y)
    for name in ("adversarial_loss", "discriminator_loss"):
        assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-5)


def test_a_gan_loss_of_probabilities_is_refused(amr):
    text = sentence(amr.compile, gan_loss=keras.losses.BinaryCrossentropy())
    assert text.startswith("gan_loss must take logits")


@pytest.mark.parametrize("level", [20.0, -20.0, 0.3])
def test_pixel_cross_entropy_has_its_gradient_however_large_the_logits(level):
    """A real step of a VAE whose decoder's pre-activation is `level` everywhere.

    Of tanh(20), which is rounded to 1, there is no gradient; of the logits it is
    2 (sigmoid(2 l) - t) for a pixel, and the bias in front of the tanh moves by their sum.
    """
    keras.utils.set_random_seed(0)
    last = layers.Dense(64, kernel_initializer="zeros")
    decoder = [keras.Input((5,)), last, layers.Reshape(SHAPE), layers.Activation("tanh")]
    encoder = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(10)])
    model = VAE(encoder, keras.Sequential(decoder))
    model.compile(keras.optimizers.SGD(0.01), kl_weight=0.0, lambda_=3.0, run_eagerly=True)
    last.bias.assign(np.full(64, level))
    model.train_on(X)
    images = X.reshape(12, 64).astype("float64")
    gradient = 3.0 * (2 * (1 / (1 + np.exp(-2 * level)) - (images + 1) / 2)).mean(axis=0)
    assert np.abs(gradient).max() > 1
    np.testing.assert_allclose(last.bias, level - 0.01 * gradient, rtol=1e-5, atol=1e-5)


def test_the_decoders_logits():
    model = make(VAE)
    mean = np.asarray(model.codes_of(model.encoder(X)))
    logits, images = model.decode_with_logits(mean)
    np.testing.assert_allclose(np.tanh(logits), images, atol=1e-6)
    np.testing.assert_allclose(images, model.decode(mean), atol=1e-5)
    assert logit_decoder(model.decoder, losses.mean_squared_error) is None
    model.compile(reconstruction_loss="mean_squared_error")
    assert model.decode_with_logits is None


@pytest.mark.parametrize(
    "last",
    [
        [layers.Dense(64), layers.Reshape(SHAPE)],
        [layers.Dense(64, activation="tanh"), layers.Reshape(SHAPE)],
        [layers.Reshape((4, 4, 4)), layers.UpSampling2D(), layers.Conv2D(1, 1, activation="tanh")],
        [layers.Dense(64), layers.Reshape(SHAPE), layers.Activation("sigmoid")],
        [layers.Dense(64), layers.Activation("tanh"), layers.Reshape(SHAPE)],
    ],
    ids=["none", "inside a dense layer", "inside a convolution", "sigmoid", "not last"],
)
def test_decoders_without_logits(last):
    decoder = keras.Sequential([keras.Input((64,)), *last])
    encoder = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(128)])
    text = sentence(VAE(encoder, decoder).compile)
    assert "the decoder's last layer must be keras.layers.Activation('tanh')" in text


# Settings.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lambda_": -1.0}, "lambda_ must be a finite number of at least 0; got -1.0"),
        ({"lambda_": float("nan")}, "got nan"),
        ({"beta": "1"}, "beta must be a finite number"),
        ({"generator_update_every": 0}, "positive integer; got 0"),
        ({"supervision": -1}, "supervision must be a finite number"),
        ({"reconstruction_loss": "mape"}, "Unknown reconstruction loss 'mape'"),
        ({"gan_loss": "least_square"}, "Did you mean 'least_squares'"),
        ({"consistency_loss": "mean_square_error"}, "Did you mean 'mean_squared_error'"),
        ({"autoencoder_optimizer": "adamm"}, "Unknown optimizer 'adamm'. Did you mean 'adam'"),
        ({"probe_optimizer": "adam(lr=1e-3)"}, "parameter of optimizer 'adam': 'lr'"),
    ],
)
def test_bad_settings(amr, arguments, message):
    assert message in sentence(amr.compile, **arguments)


def test_settings_that_need_what_is_not_there():
    model = make(AMR, None, num_classes=None)
    text = sentence(model.compile, beta=2.0)
    assert text.startswith("beta = 2 weighs the consistency of mixes: it needs a mixer")
    text = sentence(model.compile, look_matching=2.0)
    assert text.startswith("look_matching = 2 weighs the look of mixes: it needs a mixer")
    assert sentence(model.compile, supervision=2.0).endswith(
        "weighs the probe's loss: add a probe."
    )
    points = AMR.create((2,), architecture="mlp", mixer="mixup")
    text = sentence(points.compile, look_matching=2.0)
    assert text.endswith("which need images (H, W, C); the model's data have the shape (2,).")


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (AEGAN, {"beta": 1.0}),
        (AEGAN, {"consistency_loss": "mean_squared_error"}),
        (AEGAN, {"look_matching": 1.0}),
        (VAE, {"gan_loss": "least_squares"}),
        (VAE, {"discriminator_optimizer": "sgd"}),
        (VAE, {"beta": 1.0}),
        (VAE, {"look_matching": 1.0}),
        (GAIA, {"gan_loss": "least_squares"}),
    ],
)
def test_settings_that_a_method_has_no_use_for(method, settings):
    text = sentence(make(method).compile, **settings)
    assert text == f"{method.__name__} has no use for {next(iter(settings))}: leave it out."


def test_settings_go_by_name(amr):
    with pytest.raises(TypeError, match="positional argument"):
        amr.compile("adam", "adam", "adam", "mean_squared_error")
    with pytest.raises(TypeError, match="unexpected keyword argument 'loss'"):
        amr.compile(loss="mse")


# Optimizers.


def test_optimizers_by_name_and_by_object(amr):
    amr.compile("sgd", "adam(learning_rate=3e-3, beta_1=0.25)", keras.optimizers.Lion(2e-3))
    assert type(amr.autoencoder_optimizer) is keras.optimizers.SGD
    assert amr.optimizer is amr.autoencoder_optimizer
    assert type(amr.discriminator_optimizer) is keras.optimizers.Adam
    assert amr.discriminator_optimizer.beta_1 == 0.25
    assert float(amr.discriminator_optimizer.learning_rate) == pytest.approx(3e-3)
    assert type(amr.probe_optimizer) is keras.optimizers.Lion


def test_a_schedule_in_the_call_string():
    schedule = "cosine_decay(initial_learning_rate=1e-2, decay_steps=4)"
    model = make(AMR, compile_kwargs={"autoencoder_optimizer": f"adam(learning_rate={schedule})"})
    rates = []
    for _ in range(4):
        rates.append(float(model.autoencoder_optimizer.learning_rate))
        model.train_on(X, Y)
    expected = 1e-2 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (1, 2)])
def test_one_optimizer_for_two_players(amr, first, second):
    shared = keras.optimizers.Adam()
    given = [keras.optimizers.Adam() for _ in range(3)]
    given[first] = given[second] = shared
    text = sentence(amr.compile, *given)
    names = f"{PLAYERS[second]}_optimizer and {PLAYERS[first]}_optimizer"
    assert text == f"{names} are the same object: every player needs an optimizer of its own."


def test_an_optimizer_of_another_model(amr):
    optimizer = keras.optimizers.Adam()
    make(AMR, compile_kwargs={"discriminator_optimizer": optimizer})
    text = sentence(amr.compile, "adam", optimizer)
    assert text.startswith("discriminator_optimizer has trained another model")


def test_recompiling_with_ones_own_optimizers_keeps_their_state():
    model = make(AMR)
    model.train_on(X, Y)
    own = [player.optimizer for player in model.players.values()]
    before = everything(model)
    model.compile(*own, lambda_=2.0, run_eagerly=True)
    assert same(before, everything(model))
    assert [player.optimizer for player in model.players.values()] == own
    model.train_on(X, Y)
    assert [int(optimizer.iterations) for optimizer in own] == [2, 2, 2]


def test_an_optimizer_of_other_layers_of_the_same_model():
    """Frozen then, trained now: its state has no place for them."""
    model = make(AMR)
    model.encoder.trainable = False
    model.compile(run_eagerly=True)
    frozen = values(model.encoder.weights)
    model.train_on(X, Y)
    assert same(frozen, values(model.encoder.weights))
    own = model.autoencoder_optimizer
    model.encoder.trainable = True
    text = sentence(model.compile, own)
    assert "or this one with other layers frozen: make a new one." in text
    model.compile(run_eagerly=True)
    model.train_on(X, Y)
    assert not same(frozen, values(model.encoder.weights))


def test_a_frozen_discriminator():
    model = make(AMR)
    model.discriminator.trainable = False
    model.compile(run_eagerly=True)
    before = values(model.discriminator.trainable_weights), values(model.encoder.weights)
    kernels = [layer for layer in model.discriminator.layers if hasattr(layer, "kernel")]
    old = values(layer.kernel for layer in kernels)
    model.train_on(X, Y)
    assert not before[0]
    assert same(old, values(layer.kernel for layer in kernels))
    assert not same(before[1], values(model.encoder.weights))


# Metrics of Keras.


def test_metrics(tmp_path):
    """Of images and reconstructions; their values are NumPy's, saved and loaded as well."""
    settings = {"metrics": ["mae", keras.metrics.MeanSquaredError(name="squared")]}
    one = make_dense(compile_kwargs=settings)
    path = tmp_path / "model.keras"
    for turn in range(2):
        if turn:
            one = keras.saving.load_model(path)
        images = one.reconstruct(X)
        results = one.evaluate(X, Y, batch_size=5, verbose=0, return_dict=True)
        assert results["mae"] == pytest.approx(np.abs(X - images).mean(), rel=1e-5)
        assert results["squared"] == pytest.approx(np.square(X - images).mean(), rel=1e-5)
        assert {"loss", "reconstruction_loss", "probe_accuracy"} <= set(results)
        history = one.fit(X, Y, validation_data=(X, Y), batch_size=6, verbose=0).history
        images = one.reconstruct(X)
        expected = np.abs(X - images).mean()
        assert history["val_mae"][0] == pytest.approx(expected, rel=1e-5)
        assert np.isfinite(history["mae"]).all()
        one.save(path)


def test_the_names_are_those_of_the_values():
    model = make_dense(compile_kwargs={"metrics": ["mae"]})
    model.evaluate(X, Y, verbose=0)
    named = dict(zip(model.metrics_names, model.evaluate(X, Y, verbose=0), strict=True))
    assert named == model.evaluate(X, Y, verbose=0, return_dict=True)
    assert "mae" in named
    assert "consistency_loss" not in named


def test_metrics_start_anew_with_each_epoch():
    model = make_dense(compile_kwargs={"metrics": ["mae"]})
    first = model.evaluate(X, verbose=0, return_dict=True)["mae"]
    model.fit(X, epochs=2, verbose=0)
    second = model.evaluate(X, verbose=0, return_dict=True)["mae"]
    assert first != second
    assert second == pytest.approx(np.abs(X - model.reconstruct(X)).mean(), rel=1e-5)


# Precision, and running eagerly.


@pytest.fixture
def policy():
    """Sets Keras' global dtype policy, until the test's end."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("eager", [True, False])
def test_a_global_policy(dtype, eager, policy, tmp_path):
    """Trains, validates, saves and continues; float32 in and out."""
    policy(dtype)
    settings = {"run_eagerly": eager, "beta": 0.5, "metrics": ["mae"]}
    # To trace the convolutions takes long; eagerly they are covered.
    model = (make_own if eager else make_dense)(AMR, compile_kwargs=settings)
    kernels = [layer for layer in model.encoder.layers if hasattr(layer, "kernel")]
    assert kernels[0].compute_dtype == dtype.removeprefix("mixed_")
    half = dtype == "mixed_float16"
    for player in model.players.values():
        assert isinstance(player.optimizer, keras.optimizers.LossScaleOptimizer) == half
    networks = (model.encoder, model.decoder, model.discriminator, model.probe)
    before = [values(network.trainable_variables) for network in networks]
    history = model.fit(X, Y, batch_size=6, epochs=2, validation_data=(X, Y), verbose=0).history
    assert all(np.isfinite(numbers).all() for numbers in history.values())
    assert all(np.isfinite(value).all() for value in values(model.weights))
    for network, old in zip(networks, before):
        assert not same(old, values(network.trainable_variables)), network.name
    assert model.encode(X).dtype == model.reconstruct(X).dtype == "float32"
    model.save(tmp_path / "half.keras")
    again = keras.saving.load_model(tmp_path / "half.keras")
    np.testing.assert_array_equal(again.encode(X), model.encode(X))
    assert same(everything(model), everything(again))


def test_running_eagerly_is_the_same_as_a_graph():
    optimizers = {f"{player}_optimizer": "sgd" for player in PLAYERS}
    models = [
        make(AMR, compile_kwargs={"run_eagerly": eager, **optimizers}) for eager in (True, False)
    ]
    histories = [
        model.fit(X, Y, batch_size=6, shuffle=False, validation_data=(X, Y), verbose=0).history
        for model in models
    ]
    for name, value in histories[0].items():
        assert histories[1][name] == pytest.approx(value, rel=1e-4), name
    for one, other in zip(*(values(model.weights) for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


# Files.


@pytest.mark.parametrize("name", METHODS.names())
def test_settings_are_those_of_the_file(name, tmp_path):
    method = METHODS.get(name)
    given = {"lambda_": 3.0, "generator_update_every": 2, "supervision": 0.25, "step": "two_pass"}
    given["reconstruction_loss"] = "mean_squared_error"
    own = {
        "acai_original": {"critic_blend": 0.3, "adversarial_weight": 0.75},
        "gaia": {"balance_target": 0.25, "balance_rate": 0.5},
        "vae": {"kl_weight": 9.0},
        "beta_vae": {"kl_weight": 9.0},
        "supervised_amr": {"class_weight": 2.0},
    }.get(name, {})
    if method.trains_on_mixes and name != "supervised_amr":
        own = {**own, "beta": 0.5, "consistency_loss": "mean_squared_error"}
    model = make(method, compile_kwargs={**given, **own})
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for setting, value in {**given, **own}.items():
        if not setting.endswith("_loss"):
            assert getattr(again, setting) == value, setting
    assert again.reconstruction_loss is losses.mean_squared_error
    assert again.consistency_loss is model.consistency_loss
    assert again.gan_loss is model.gan_loss
    assert again.run_eagerly
    assert again.get_compile_config() == model.get_compile_config()


def test_a_model_that_is_not_compiled(tmp_path):
    model = AMR.convolutional(SHAPE, depth=2)
    assert model.get_compile_config() == {}
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert not again.compiled
    np.testing.assert_array_equal(again.encode(X), model.encode(X))


def test_xla_compiles_the_training_step_alone(monkeypatch):
    """A validation's batches have two shapes, and XLA would take a minute for each."""
    model = make_dense(compile_kwargs={"run_eagerly": False, "jit_compile": True})
    compiled, graph = [], tf.function

    def function(*args, **kwargs):
        if kwargs.get("jit_compile"):
            compiled.append(args[0].__name__)
        return graph(*args, **kwargs)

    monkeypatch.setattr(tf, "function", function)
    model.fit(X, Y, batch_size=6, epochs=1, validation_data=(X[:7], Y[:7]), verbose=0)
    assert compiled == ["one_step_on_data"]
    assert model.jit_compile is True


def featured(network):
    """The shapes of a network's features, for two images."""
    outputs, features = featured_discriminator(network)(np.zeros((2, 16, 16, 3), "float32"))
    assert outputs.shape == (2, 1)
    return [tuple(feature.shape[1:]) for feature in features]


def test_features_come_from_strides_and_pooling():
    """But not from pixels that are only averaged, nor from convolutions without padding."""
    images = keras.Input((16, 16, 3))
    thumbnail = layers.Flatten()(layers.AveragePooling2D(8)(images))
    strided = layers.Conv2D(4, 4, strides=2, padding="same")
    x = SpectralNormalization(strided)(images)
    x = layers.MaxPooling2D(2)(layers.Conv2D(4, 3)(x))
    x = layers.Conv2DTranspose(4, 4, strides=2)(x)
    x = layers.Concatenate()([layers.Flatten()(x), thumbnail])
    assert featured(keras.Model(images, layers.Dense(1)(x))) == [(8, 8, 4), (3, 3, 4)]


@pytest.mark.parametrize("size", [16, None])
def test_features_of_a_network_with_a_backbone(size):
    """The backbone's own maps are not those of the network."""
    inner = keras.Input((size, size, 3))
    backbone = keras.Model(inner, layers.Conv2D(4, 3, strides=2, padding="same")(inner))
    images = keras.Input((size, size, 3))
    x = layers.AveragePooling2D(2)(backbone(images))
    x = layers.Dense(1)(layers.GlobalAveragePooling2D()(x))
    assert featured(keras.Model(images, x)) == [(4, 4, 4)]
