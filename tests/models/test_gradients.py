"""The step in one pass and in two: the same updates, and where one pass is not possible."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import ACAI, AEGAN, AMR, VAE, Mixup, SpectralNormalization, SupervisedAMR
from amr_tf.models import METHODS
from amr_tf.models.gradients import STEPS, _one_float32_logit, treats_examples_alone
from amr_tf.networks import build_decoder, build_encoder
from amr_tf.networks.architectures import ARCHITECTURES
from tests.models.helpers import SHAPE, X, Y, make, make_dense, make_own, values

STEP_COUNT = 3
PLAYERS = ("autoencoder", "discriminator", "probe")
layers = keras.layers


def descent(method=AMR, rate=0.05):
    """Plain gradient descent for every player, which keeps differences in proportion."""
    players = [player for player in PLAYERS if player != "discriminator" or method.critic]
    return {f"{player}_optimizer": keras.optimizers.SGD(rate) for player in players}


def trained(method, step, architecture="light", **compile_kwargs):
    settings = {**descent(method), "step": step, **compile_kwargs}
    model = make(method, compile_kwargs=settings, architecture=architecture)
    results = [model.train_on(X, Y) for _ in range(STEP_COUNT)]
    return model, [{name: float(value) for name, value in one.items()} for one in results]


def check_agree(method, architecture="light", tolerance=2e-5, **compile_kwargs):
    (first, ours), (second, theirs) = (
        trained(method, step, architecture, **compile_kwargs) for step in STEPS
    )
    assert (first.step, second.step) == ("one_pass", "two_pass")
    for one, other in zip(first.weights, second.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance, err_msg=one.path)
    fresh = make(method, architecture=architecture)
    for name in ("encoder", "decoder", "discriminator", "probe"):
        # Updates as small as the tolerance would hide a missing gradient.
        network, before = getattr(first, name), getattr(fresh, name)
        if network is not None:
            pairs = zip(network.trainable_weights, before.trainable_weights)
            assert max(np.abs(one - other).max() for one, other in pairs) > 20 * tolerance
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert other[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("name", METHODS.names())
def test_both_steps_agree(name):
    check_agree(METHODS.get(name), "own")


@pytest.mark.parametrize(
    "settings",
    [
        {"gan_loss": "least_squares"},
        {"gan_loss": keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2)},
        {"beta": 0.5},
        {"generator_update_every": 2},
        {"supervision": 0.3},
        {"gan_loss": "hinge"},
        {"feature_matching": 30.0},
        {"look_matching": 5.0},
        {"adversarial_warmup": 2, "feature_matching": 30.0},
    ],
    ids=lambda settings: str(next(iter(settings.items())))[:30],
)
def test_both_steps_agree_on_settings(settings):
    check_agree(AMR, **settings)


def own_aegan(critic, encoder=None, decoder=None):
    """An AE+GAN whose discriminator is given, the same at each call."""
    keras.utils.set_random_seed(0)
    return AEGAN(
        encoder or build_encoder(SHAPE, depth=2), decoder or build_decoder(SHAPE, depth=2), critic
    )


def critic_of(*inner, **dense):
    """A discriminator with layers of one's own in front of its logit."""
    keras.utils.set_random_seed(1)
    stack = [keras.Input(SHAPE), *inner, layers.Flatten(), layers.Dense(1, **dense)]
    return keras.Sequential([*stack, layers.Reshape(())], name="critic")


@pytest.mark.parametrize("bias", [0.0, -30.0, 30.0])
@pytest.mark.parametrize("gan_loss", ["binary_crossentropy", "least_squares"])
def test_scaling_is_safe_where_the_discriminator_does_not_pull(gan_loss, bias):
    """A logit of exactly 0 under least squares, and a discriminator that is as sure as can be."""
    kernel = np.random.default_rng(0).normal(size=(64, 1)).astype("float32") * 1e-3
    weights = []
    for step in STEPS:
        critic = critic_of()
        model = own_aegan(critic)
        critic.layers[1].set_weights([kernel * (bias != 0), np.full(1, bias, "float32")])
        sgd = keras.optimizers.SGD
        model.compile(sgd(0.1), sgd(0.1), gan_loss=gan_loss, step=step, run_eagerly=True)
        model.train_on(X)
        weights.append(values(model.trainable_variables))
    for one, other in zip(*weights, strict=True):
        assert np.all(np.isfinite(one))
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_one_pass_asks_the_discriminator_once(monkeypatch):
    calls = {}
    for step in STEPS:
        model = make(AMR, compile_kwargs={"step": step})
        seen = calls[step] = []
        network = type(model.discriminator)
        call = network.call

        def counted(
            self, inputs, *args, _call=call, _seen=seen, _name=model.discriminator.name, **kw
        ):
            if self.name == _name:
                _seen.append(len(inputs))
            return _call(self, inputs, *args, **kw)

        with monkeypatch.context() as patch:
            patch.setattr(network, "call", counted)
            model.train_on(X, Y)
    assert calls == {"one_pass": [36], "two_pass": [36, 36]}


def test_feature_matching_moves_the_autoencoder_only():
    """Through a discriminator that is asked once, also where it has more outputs than one."""
    for method in (AMR, SupervisedAMR, ACAI):
        matched, plain = (make(method, compile_kwargs=descent()) for _ in range(2))
        matched.compile(**descent(), feature_matching=30.0, run_eagerly=True)
        assert matched.step == "one_pass"
        results = matched.train_on(X, Y)
        expected = float(plain.train_on(X, Y)["loss"]) + 30 * float(results["feature_loss"])
        assert float(results["loss"]) == pytest.approx(expected, rel=1e-5)
        weights = [values(model.discriminator.weights) for model in (matched, plain)]
        for one, other in zip(*weights, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
        moved = [values(model.autoencoder_variables) for model in (matched, plain)]
        assert max(np.abs(one - other).max() for one, other in zip(*moved)) > 1e-4


def test_half_precision_makes_a_second_backward_pass(policy):
    """Of float16 layers, and of a logit that is not float32, as a user's may be."""
    assert _one_float32_logit(make_own(AMR).discriminator)
    assert _one_float32_logit(critic_of())
    policy("mixed_bfloat16")
    assert _one_float32_logit(make_own(AMR).discriminator)
    assert not _one_float32_logit(critic_of())
    policy("mixed_float16")
    assert not _one_float32_logit(make_own(AMR).discriminator)
    assert not _one_float32_logit(make_own(SupervisedAMR).discriminator)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_both_steps_agree_on_half_precision_logits(dtype, policy):
    policy(dtype)
    weights = []
    for step in STEPS:
        model = make_dense(compile_kwargs={**descent(rate=0.01), "step": step})
        before = values(model.trainable_variables)
        for _ in range(STEP_COUNT):
            model.train_on(X, Y)
        weights.append(values(model.trainable_variables))
    moved = max(np.abs(one - other).max() for one, other in zip(before, weights[0]))
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=0.05 * moved)
    assert moved > 1e-3


@pytest.fixture
def policy():
    """Sets Keras' global dtype policy, until the test's end."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def test_vectors_of_spectral_normalisation_move_once_a_step():
    first, second = (trained(AMR, step, "own")[0].discriminator for step in STEPS)
    vectors = [
        [np.asarray(w) for w in network.weights if "vector_u" in w.path]
        for network in (first, second)
    ]
    assert len(vectors[0]) > 3
    for one, other in zip(*vectors, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


# Which form the step takes.


@keras.saving.register_keras_serializable(package="tests")
class MinibatchDeviation(layers.Layer):
    """Karras et al. (2018): how much a batch varies, as one more feature map."""

    def call(self, inputs):
        spread = keras.ops.mean(keras.ops.std(inputs, axis=0))
        return keras.ops.concatenate([inputs, keras.ops.ones_like(inputs) * spread], axis=-1)


DEPENDENT = {
    "dropout": lambda: layers.Dropout(0.1),
    "spatial dropout": lambda: layers.SpatialDropout2D(0.3),
    "noise": lambda: layers.GaussianNoise(0.1),
    "batch normalisation": layers.BatchNormalization,
    "nested": lambda: keras.Sequential([layers.Conv2D(2, 3), layers.BatchNormalization()]),
    "minibatch deviation": MinibatchDeviation,
}
ALONE = {
    "convolution": lambda: layers.Conv2D(2, 3, activation="relu"),
    "layer normalisation": layers.LayerNormalization,
    "group normalisation": lambda: layers.GroupNormalization(groups=1),
    "spectral normalisation": lambda: SpectralNormalization(layers.Conv2D(2, 3)),
    "no dropout": lambda: layers.Dropout(0.0),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_dependent_examples_need_two_passes(name):
    model = own_aegan(critic_of(DEPENDENT[name]()))
    with pytest.raises(ValueError) as error:
        model.compile(step="one_pass")
    assert "'critic' does not (batch normalisation, dropout and noise do not)" in str(error.value)
    assert "\n" not in str(error.value)
    model.compile(run_eagerly=True)
    assert model.step == "two_pass"
    results = model.train_on(X)
    assert all(np.isfinite(float(value)) for value in results.values())
    model.compile(step="two_pass")
    assert model.step == "two_pass"


@pytest.mark.parametrize("name", DEPENDENT)
@pytest.mark.parametrize("start", [{"kernel_initializer": "zeros"}, {"kernel_initializer": "ones"}])
def test_a_logit_that_starts_at_zero_hides_nothing(name, start):
    assert not treats_examples_alone(critic_of(DEPENDENT[name](), **start))


@pytest.mark.parametrize("name", ALONE)
def test_independent_examples_need_one_pass_only(name):
    critic = critic_of(ALONE[name]())
    model = own_aegan(critic)
    before = values(critic.weights)
    model.compile()
    assert model.step == "one_pass"
    for one, other in zip(values(critic.weights), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_discriminator_that_returns_nan_takes_two_passes():
    assert not treats_examples_alone(critic_of(layers.Rescaling(np.nan)))


# Architecture, image shape, kind of discriminator.
CRITICS = [
    ("convolutional", (32, 32, 3), "logits"),
    ("convolutional(depth=2)", SHAPE, "classifier"),
    ("convolutional(depth=2)", SHAPE, "autoencoder"),
    ("acai", (32, 32, 1), "logits"),
    ("acai(depth=2)", SHAPE, "classifier"),
    ("dsprites(depth=4)", (64, 64, 1), "logits"),
    ("dsprites(depth=4)", SHAPE, "classifier"),
    ("mlp", (2,), "logits"),
]


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(("architecture", "shape", "kind"), CRITICS)
def test_the_librarys_discriminators_raise_no_false_alarm(architecture, shape, kind, dtype, policy):
    """At the start, and with large weights as a long training leaves them."""
    policy(dtype)
    keras.utils.set_random_seed(0)
    critic = ARCHITECTURES.build(
        architecture, image_shape=shape, critic=kind, num_classes=4
    ).discriminator
    before = values(critic.weights)
    assert treats_examples_alone(critic)
    for one, other in zip(values(critic.weights), before, strict=True):
        np.testing.assert_array_equal(one, other)
    for variable in critic.trainable_variables:
        variable.assign(1.3 * variable + 0.01)
    assert treats_examples_alone(critic)


@pytest.mark.parametrize(
    ("method", "dtype"),
    [
        (AMR, "float32"),
        (AMR, "mixed_bfloat16"),
        (AMR, "mixed_float16"),
        (SupervisedAMR, "mixed_bfloat16"),
    ],
)
def test_no_false_alarm_after_training(method, dtype, policy):
    policy(dtype)
    model = make_own(
        method, compile_kwargs={"discriminator_optimizer": keras.optimizers.Adam(0.05)}
    )
    assert model.step == "one_pass"
    before = values(model.discriminator.trainable_variables)
    for _ in range(5):
        model.train_on(X, Y)
    after = values(model.discriminator.trainable_variables)
    assert max(np.abs(one - other).max() for one, other in zip(before, after)) > 0.1
    assert treats_examples_alone(model.discriminator)
    model.compile(step="one_pass")


def test_unknown_step():
    with pytest.raises(ValueError, match="Unknown step 'one'. Did you mean 'one_pass'"):
        make(AMR, compile_kwargs={"step": "one"})


def test_without_a_discriminator_both_steps_are_possible():
    for step in ("auto", *STEPS):
        model = make(VAE, compile_kwargs={"step": step})
        assert model.step == ("one_pass" if step == "auto" else step)


# Regularisation.

PENALTY, RATE = 10.0, 0.1


@keras.saving.register_keras_serializable(package="tests")
def mean_squares(tensor):
    """A regulariser of weights or of activities."""
    return PENALTY * keras.ops.mean(keras.ops.square(keras.ops.cast(tensor, "float32")))


OPTIONS = {
    "none": {},
    "weights": {"kernel_regularizer": mean_squares},
    "activity": {"activity_regularizer": mean_squares},
}


def regularised(kind, step="auto", **settings):
    """An AMR of dense networks, the same at each call but for the regularisers."""
    keras.utils.set_random_seed(0)
    dense = OPTIONS[kind]
    encoder = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(5, **dense)])
    decoder = [keras.Input((5,)), layers.Dense(64, **dense), layers.Reshape(SHAPE)]
    critic = critic_of(layers.Flatten(), layers.Dense(6, **dense))
    probe = keras.Sequential([keras.Input((5,)), layers.Dense(3, **dense)])
    model = AMR(encoder, keras.Sequential(decoder), critic, Mixup(seed=0), probe)
    model.compile(**descent(rate=RATE), step=step, run_eagerly=True, **settings)
    return model


GIVEN = (
    np.stack([np.arange(12), np.roll(np.arange(12), 5)]),
    np.random.default_rng(3).dirichlet((1, 1), 12).reshape(12, 2, 1).astype("float32"),
)


def penalties(model, kind):
    """What each player's networks ask for, by hand, from their dense layers."""
    if kind == "weights":
        encoder, decoder, critic, probe = (
            next(layer for layer in network.layers if isinstance(layer, layers.Dense)).kernel
            for network in (model.encoder, model.decoder, model.discriminator, model.probe)
        )
    else:
        permutations, coefficients = GIVEN
        encoder = model.encoder(X)
        mixed = sum(coefficients[:, j] * tf.gather(encoder, permutations[j]) for j in range(2))
        decoder = model.decoder(tf.concat([encoder, mixed], axis=0))
        images = tf.stop_gradient(tf.concat([X, decoder], axis=0))
        critic = model.discriminator.layers[1](tf.reshape(images, (36, 64)))
        probe = model.probe(tf.stop_gradient(encoder))

    def penalty(tensor):
        # Keras divides that of an activity by the size of the batch.
        return mean_squares(tensor) / (1 if kind == "weights" else len(tensor))

    return {
        "autoencoder": penalty(encoder) + penalty(decoder),
        "discriminator": penalty(critic),
        "probe": penalty(probe),
    }


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ["weights", "activity"])
def test_regularisation_is_added_to_each_players_loss(kind, step):
    """Its value to what is shown, and its gradient to the update of that player alone."""
    with_it, without = regularised(kind, step), regularised("none", step)
    for one, other in zip(with_it.weights, without.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    with tf.GradientTape(persistent=True) as tape:
        expected = penalties(without, kind)
    gradients = {}
    for name, player in without.players.items():
        variables = [variable.value for variable in player.variables]
        zero = tf.UnconnectedGradients.ZERO
        gradients[name] = tape.gradient(expected[name], variables, unconnected_gradients=zero)
    results, plain = (model.train_on(X, Y, *GIVEN) for model in (with_it, without))
    for name, prefix in zip(PLAYERS, ("", "discriminator_", "probe_")):
        value = float(expected[name])
        assert value > 0.01
        assert float(results[f"{prefix}regularization_loss"]) == pytest.approx(value, rel=1e-5)
        assert f"{prefix}regularization_loss" not in plain
    for name, of in (("loss", "autoencoder"), ("discriminator_loss", "discriminator")):
        expected_loss = float(plain[name]) + float(expected[of])
        assert float(results[name]) == pytest.approx(expected_loss, rel=1e-5)
    # What the probe's loss measures stays the cross-entropy.
    assert float(results["probe_loss"]) == pytest.approx(float(plain["probe_loss"]), rel=1e-5)
    for name, player in with_it.players.items():
        for one, other, gradient in zip(
            player.variables, without.players[name].variables, gradients[name], strict=True
        ):
            moved = np.asarray(one) - np.asarray(other)
            np.testing.assert_allclose(moved, -RATE * np.asarray(gradient), atol=2e-6)
    assert all(np.abs(gradients[name][0]).max() > 1e-3 for name in PLAYERS)


@pytest.mark.parametrize("step", STEPS)
def test_regularisation_under_loss_scaling(step, policy):
    """The penalty is scaled with the rest of the loss, and so is its gradient."""
    policy("mixed_float16")
    with_it, without = regularised("weights", step), regularised("none", step)
    kernel = without.discriminator.layers[1].kernel
    expected = -RATE * PENALTY * 2 * np.asarray(kernel) / kernel.shape.num_elements()
    for model in (with_it, without):
        assert isinstance(model.discriminator_optimizer, keras.optimizers.LossScaleOptimizer)
        model.discriminator_optimizer.dynamic_scale.assign(64.0)  # With which nothing overflows.
        model.train_on(X, Y, *GIVEN)
    moved = np.asarray(with_it.discriminator.layers[1].kernel) - np.asarray(kernel)
    np.testing.assert_allclose(moved, expected, atol=0.02 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e-3


def test_regularisation_is_shown_by_fit_and_evaluate():
    model = regularised("weights", beta=0.5, supervision=0.5)
    history = model.fit(X, Y, validation_data=(X, Y), batch_size=6, verbose=0).history
    for name in ("", "discriminator_", "probe_"):
        assert history[f"{name}regularization_loss"][0] > 0.01
        assert history[f"val_{name}regularization_loss"][0] > 0.01
    assert np.isfinite(history["loss"]).all()


def test_regularisation_of_a_label_mixer():
    model = make(SupervisedAMR, compile_kwargs=descent())
    plain = model.evaluate(X, Y, verbose=0, return_dict=True)
    kernel = model.label_mixer.embedding.layers[-1].kernel
    kernel.regularizer = mean_squares
    results = model.evaluate(X, Y, verbose=0, return_dict=True)
    expected = float(mean_squares(kernel))
    assert results["regularization_loss"] == pytest.approx(expected, rel=1e-5)
    assert results["loss"] == pytest.approx(plain["loss"] + expected, rel=1e-5)


def test_regularisation_of_a_decoder_whose_logits_are_used():
    """The loss then calls a model of the decoder's layers, and not the decoder."""
    keras.utils.set_random_seed(0)
    dense = layers.Dense(64, activity_regularizer=mean_squares)
    stack = [keras.Input((5,)), dense, layers.Reshape(SHAPE), layers.Activation("tanh")]
    encoder = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(10)])
    model = VAE(encoder, keras.Sequential(stack))
    model.compile(run_eagerly=True)
    results = model.test_on_batch(X, return_dict=True)
    step = model.forward(X, seed=0)
    logits = np.arctanh(np.asarray(step.reconstructions, "float64"))
    expected = PENALTY * np.mean(logits**2) / 12
    assert results["regularization_loss"] == pytest.approx(expected, rel=1e-4)
