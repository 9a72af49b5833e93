"""AMR: its losses in NumPy, which networks a step updates, and files that continue exactly."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import (
    ACAI,
    AEGAN,
    AMR,
    GAIA,
    VAE,
    BernoulliMixup,
    DiffAugment,
    Mixup,
    PixelMixup,
    StyleMixup,
)
from amr_tf.fused import InstanceNormalization, LeakyReLU
from tests.models.helpers import (
    SHAPE,
    X,
    Y,
    blend,
    crossentropy,
    drawn,
    everything,
    make,
    make_dense,
    make_own,
    mean_error,
    same,
    save_and_continue,
    values,
)


@pytest.mark.parametrize(
    ("settings", "error_of", "distance"),
    [
        ({}, np.abs, np.abs),
        ({"reconstruction_loss": "mean_squared_error"}, np.square, np.square),
        ({"consistency_loss": "mean_squared_error"}, np.abs, np.square),
        (
            {
                "reconstruction_loss": "mean_squared_error",
                "consistency_loss": "mean_absolute_error",
            },
            np.square,
            np.abs,
        ),
    ],
    ids=["absolute", "squared", "squared consistency", "absolute consistency"],
)
def test_losses_are_the_papers(settings, error_of, distance):
    """Equation 3 from what the networks return; consistency by the reconstruction loss."""
    model = make(AMR, Mixup(3, seed=0), compile_kwargs={"lambda_": 7.0, "beta": 2.0, **settings})
    permutations, coefficients = drawn(model)
    codes = np.asarray(model.encoder(X))
    reconstruction = np.asarray(model.decoder(codes))
    mixed = blend(codes, permutations, coefficients)
    mixes = np.asarray(model.decoder(mixed))
    real, fake, fake_mix = (model.discriminator(images) for images in (X, reconstruction, mixes))
    error = error_of(X - reconstruction).mean()
    consistency = distance(mixed - np.asarray(model.encoder(mixes))).mean()
    adversarial = crossentropy(fake, 1) + crossentropy(fake_mix, 1)
    expected = {
        "reconstruction_loss": error,
        "adversarial_loss": adversarial,
        "consistency_loss": consistency,
        "loss": 7 * error + adversarial + 2 * consistency,
        "discriminator_loss": (
            crossentropy(real, 1) + crossentropy(fake, 0) + crossentropy(fake_mix, 0)
        ),
    }
    results = model.train_on(X, Y, permutations, coefficients)
    for name, value in expected.items():
        assert float(results[name]) == pytest.approx(value, rel=1e-4), name
    assert abs(np.abs(mixed).mean() - np.square(mixed).mean()) > 1e-2  # The two would differ.


def test_weights_of_the_adversarial_terms():
    """The warm-up starts at nothing; mixes count more for both players."""
    settings = {"adversarial_weight": 0.5, "mix_weight": 3.0, "adversarial_warmup": 4}
    settings["real_weight"] = 2.0
    model, plain = (
        make_own(AMR, compile_kwargs={**settings, "feature_matching": 2.0}),
        make_own(AMR),
    )
    for step in range(6):
        permutations, coefficients = drawn(model)
        ours = model.forward(X, Y, True, permutations, coefficients)
        fake, mix = (crossentropy(ours.logits[name], 1) for name in ("reconstruction", "mix"))
        adversarial = fake + 3 * mix
        real, decoded = ours.features["real"], ours.features["reconstruction"]
        feature = np.mean([mean_error(one, other) for one, other in zip(real, decoded)])
        results = model.train_on(X, Y, permutations, coefficients)
        assert float(results["adversarial_loss"]) == pytest.approx(adversarial, rel=2e-3)
        ramp = min(step / 4, 1)
        loss = 10 * float(results["reconstruction_loss"]) + ramp * (0.5 * adversarial + 2 * feature)
        assert float(results["loss"]) == pytest.approx(loss, rel=2e-3)
        if step == 0:
            real, mix = crossentropy(ours.logits["real"], 1), crossentropy(ours.logits["mix"], 0)
            weighted = float(results["discriminator_loss"]) - real - 2 * mix
            plain.forward(X, Y, True, permutations, coefficients)  # It moves vectors.
            theirs = plain.train_on(X, Y, permutations, coefficients)
            assert weighted == pytest.approx(float(theirs["discriminator_loss"]), rel=2e-3)


def test_mixes_leave_the_adversarial_losses():
    """After `mix_steps`, and the real images' weight falls with that of the fakes."""
    weights = {"mix_weight": 3.0, "real_weight": 2.0, "mix_steps": 2}
    model = make_own(AMR, compile_kwargs=weights)
    for step in range(4):
        permutations, coefficients = drawn(model)
        logits = model.forward(X, Y, True, permutations, coefficients).logits
        mix_weight, real_weight = (3.0, 2.0) if step < 2 else (0.0, 0.5)
        fakes = [
            crossentropy(logits["reconstruction"], target)
            + mix_weight * crossentropy(logits["mix"], target)
            for target in (1, 0)
        ]
        results = model.train_on(X, Y, permutations, coefficients)
        assert float(results["adversarial_loss"]) == pytest.approx(fakes[0], rel=2e-3)
        expected = real_weight * crossentropy(logits["real"], 1) + fakes[1]
        assert float(results["discriminator_loss"]) == pytest.approx(expected, rel=2e-3)


def test_without_a_mixer_mix_steps_change_nothing():
    losses = []
    for mix_steps in (0, 1):
        keras.utils.set_random_seed(0)
        model = make(AMR, None, compile_kwargs={"mix_steps": mix_steps})
        losses.append([float(model.train_on(X, Y)["discriminator_loss"]) for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def looks_of(images):
    """The channels' means and deviations of squares of 4x4 pixels, (2, N, C)."""
    squares = images.reshape(-1, 2, 4, 2, 4, 1).mean(axis=(2, 4))
    return np.stack([squares.mean(axis=(1, 2)), squares.std(axis=(1, 2))])


def look_apart(images, others):
    return np.abs(looks_of(images) - looks_of(others)).mean()


def test_mixes_are_asked_for_the_look_of_the_parent_that_gives_it():
    """With the layout of the first parent and the look of the second."""
    model = make(AMR, StyleMixup(2, seed=0), latent_channels=4)
    model.compile(look_matching=5.0, adversarial_warmup=2, run_eagerly=True)
    permutations, _ = drawn(model)
    swap = np.zeros((len(X), 2, 1, 1, 2), "float32")
    swap[:, 0, ..., 0] = swap[:, 1, ..., 1] = 1
    for ramp in (0.0, 0.5, 1.0):
        mixes = np.asarray(model.forward(X, Y, True, permutations, swap).mixes)
        expected = look_apart(mixes, X[permutations[1]])
        results = {
            key: float(value) for key, value in model.train_on(X, Y, permutations, swap).items()
        }
        assert results["look_loss"] == pytest.approx(expected, rel=1e-3)
        loss = 10 * results["reconstruction_loss"] + ramp * results["adversarial_loss"]
        assert results["loss"] == pytest.approx(loss + ramp * 5 * expected, rel=1e-3)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_looks_are_compared_in_float32(policy):
    """Whatever the precision of codes and images."""
    keras.config.set_dtype_policy(policy)
    try:
        model = make(AMR, StyleMixup(2, seed=0), latent_channels=4)
        model.compile(look_matching=5.0, run_eagerly=True)
        permutations, coefficients = drawn(model)
        mixes = np.asarray(model.forward(X, Y, True, permutations, coefficients).mixes, "float32")
        results = model.train_on(X, Y, permutations, coefficients)
    finally:
        keras.config.set_dtype_policy("float32")
    shares = np.asarray(coefficients)[:, :, 0, 0, 1:]  # Of each parent in the look.
    wanted = (shares * looks_of(X)[:, permutations.T]).sum(axis=2)
    apart = np.abs(wanted - looks_of(mixes)).mean()
    # The square root has a small constant in it.
    assert float(results["look_loss"]) == pytest.approx(apart, rel=1e-3)


@pytest.mark.parametrize("method", [PixelMixup, GAIA, ACAI])
def test_other_methods_ask_for_looks(method):
    """With the shares of the whole mix, here the second parent alone."""
    model = make(method, compile_kwargs={"look_matching": 5.0})
    permutations, coefficients = drawn(model)
    coefficients = np.zeros_like(coefficients)
    coefficients[:, 1] = 1
    mixes = np.asarray(model.forward(X, Y, True, permutations, coefficients).mixes)
    results = model.train_on(X, Y, permutations, coefficients)
    assert float(results["look_loss"]) == pytest.approx(
        look_apart(mixes, X[permutations[1]]), rel=1e-3
    )


def test_looks_are_learnt():
    """In as many steps, mixes come nearer to the looks that they should have."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (8, 16, 16, 1)).astype("float32")
    images = noise + np.linspace(-0.7, 0.7, 8, dtype="float32")[:, None, None, None]
    found = []
    for weight in (0.0, 20.0):
        keras.utils.set_random_seed(0)
        mixer = StyleMixup(2, seed=0)  # The networks have no normalisation, which removes looks.
        model = AMR.create((16, 16, 1), "residual(width=8, latent_width=4)", mixer, seed=0)
        model.compile("adam(learning_rate=3e-3)", look_matching=weight)
        model.fit(images, batch_size=8, epochs=20, verbose=0)
        model.compile(look_matching=1.0)
        found.append(model.evaluate(images, verbose=0, return_dict=True)["look_loss"])
    assert found[1] < 0.7 * found[0], found


@pytest.mark.parametrize("gan_loss", ["binary_crossentropy", "hinge", "least_squares"])
@pytest.mark.parametrize("step", ["one_pass", "two_pass"])
def test_relativistic_losses(gan_loss, step):
    """Each fake is compared with the real image of its place in the batch."""
    settings = {"relativistic": True, "mix_weight": 3.0, "gan_loss": gan_loss, "step": step}
    model = make_dense(compile_kwargs=settings)
    permutations, coefficients = drawn(model)
    ours = model.forward(X, Y, True, permutations, coefficients)
    real, fake, mix = (
        np.asarray(ours.logits[name], "float64") for name in ("real", "reconstruction", "mix")
    )
    of_discriminator, of_autoencoder = {
        "binary_crossentropy": 2 * (lambda apart: np.log1p(np.exp(-apart)),),
        "hinge": (lambda apart: np.maximum(0, 1 - apart), lambda apart: -apart),
        "least_squares": 2 * (lambda apart: (apart - 1) ** 2,),
    }[gan_loss]
    results = model.train_on(X, Y, permutations, coefficients)
    wanted = np.mean(of_discriminator(real - fake) + 3 * of_discriminator(real - mix))
    assert float(results["discriminator_loss"]) == pytest.approx(wanted, rel=1e-5)
    wanted = np.mean(of_autoencoder(fake - real) + 3 * of_autoencoder(mix - real))
    assert float(results["adversarial_loss"]) == pytest.approx(wanted, rel=1e-5)


def test_a_relativistic_discriminator_learns():
    """It sets real images apart from fakes that no longer change, without a weight to balance."""
    settings = {"relativistic": True, "lambda_": 0.0, "adversarial_weight": 0.0}
    settings["discriminator_optimizer"] = keras.optimizers.Adam(0.01)
    model = make_dense(compile_kwargs={**settings, "gan_loss": "hinge"})
    found = [float(model.train_on(X, Y)["discriminator_loss"]) for _ in range(30)]
    assert found[-1] < 0.5 * found[0]


@pytest.mark.parametrize("step", ["one_pass", "two_pass"])
def test_r1_is_the_slope_at_real_images(step):
    """Of logits w x + b the slope is w wherever it is measured, and its gradient r1 w."""
    kernels = {}
    for r1 in (0.0, 6.0):
        optimizer = keras.optimizers.SGD(0.1)
        settings = {"discriminator_optimizer": optimizer, "r1": r1, "step": step}
        model = make_dense(compile_kwargs=settings)
        (kernel, _) = values(model.discriminator.trainable_variables)
        results = model.train_on(X, Y, *drawn(model))
        kernels[r1] = values(model.discriminator.trainable_variables)[0]
    penalty = float(results["discriminator_regularization_loss"])
    assert penalty == pytest.approx(3.0 * np.square(kernel).sum(), rel=1e-5)
    np.testing.assert_allclose(kernels[6.0] - kernels[0.0], -0.1 * 6.0 * kernel, atol=1e-5)


def test_r1_flattens_a_network_of_our_own_layers():
    """Through their second derivatives, in a graph."""
    slopes = []
    for r1 in (0.0, 10.0):
        layers = keras.layers.Conv2D(4, 3, padding="same"), InstanceNormalization(), LeakyReLU()
        settings = {"r1": r1, "run_eagerly": False}
        settings["discriminator_optimizer"] = "adam(learning_rate=0.01)"
        model = make_dense(compile_kwargs=settings, discriminator=layers)
        for _ in range(10):
            results = model.train_on_batch(X, return_dict=True)
        assert np.isfinite(float(results["discriminator_loss"]))
        slopes.append(float(model._squared_slope(X)))
    assert slopes[1] < 0.5 * slopes[0]


def test_feature_matching_needs_maps_that_become_smaller():
    with pytest.raises(ValueError, match="^feature_matching compares what .* pooling layers or"):
        make_dense(compile_kwargs={"feature_matching": 1.0})


def test_settings_of_the_warm_up_and_the_weights_are_checked():
    for name in ("adversarial_weight", "mix_weight", "real_weight", "r1", "feature_matching"):
        with pytest.raises(ValueError, match=f"^{name} must be a finite number of at least 0"):
            make(AMR, compile_kwargs={name: -1.0})
    with pytest.raises(ValueError, match="^adversarial_warmup must be an integer of at least 0"):
        make(AMR, compile_kwargs={"adversarial_warmup": 2.5})
    with pytest.raises(ValueError, match="^mix_steps must be an integer of at least 0"):
        make(AMR, compile_kwargs={"mix_steps": -1})
    with pytest.raises(ValueError, match="^relativistic must be True or False; got 1"):
        make(AMR, compile_kwargs={"relativistic": 1})
    for name, value in (("mix_weight", 2.0), ("mix_steps", 3)):
        with pytest.raises(ValueError, match=f"^AEGAN has no use for {name}: leave it out"):
            make(AEGAN, None, compile_kwargs={name: value})


def test_the_discriminators_augmentation(tmp_path):
    """It draws anew in each step and goes on where it was; what is measured is not changed."""
    model = make(AMR, discriminator_augmentation="diff_augment(cutout=0.25)", seed=3)
    assert model.discriminator_augmentation.cutout == 0.25
    seen = [np.asarray(model.forward(X, training=True).discriminator_inputs) for _ in range(2)]
    assert not np.array_equal(*seen)
    steady = [np.asarray(model.forward(X, seed=0).discriminator_inputs) for _ in range(2)]
    np.testing.assert_array_equal(*steady)
    np.testing.assert_array_equal(steady[0][: len(X)], X)
    save_and_continue(model, tmp_path / "model.keras")
    # The auto-encoder's gradient passes through it.
    step = {}
    for weight in (0.0, 1.0):
        model = make(AMR, discriminator_augmentation="diff_augment", seed=3, num_classes=None)
        model.compile("sgd", "sgd", lambda_=0.0, adversarial_weight=weight, run_eagerly=True)
        before = values(model.decoder.trainable_variables)
        model.train_on(X)
        step[weight] = not same(before, values(model.decoder.trainable_variables))
    assert step == {0.0: False, 1.0: True}


@pytest.mark.parametrize("method", [VAE, GAIA])
@pytest.mark.parametrize("augmentation", ["diff_augment", DiffAugment()])
def test_only_a_discriminator_of_logits_is_augmented_for(method, augmentation):
    """GAIA's would be compared with images that were not changed."""
    message = f"^{method.__name__} has no use for discriminator_augmentation: leave it out"
    with pytest.raises(ValueError, match=message):
        method.convolutional(SHAPE, depth=2, discriminator_augmentation=augmentation)


def test_no_discriminator_augmentation():
    model = make(AMR, discriminator_augmentation="none", num_classes=None)
    assert model.discriminator_augmentation is None


@pytest.mark.parametrize("method", [AMR, AEGAN])
def test_without_a_mixer_it_is_ae_gan(method):
    """Equation 2: no terms of mixes."""
    model = make(method, None)
    reconstruction = np.asarray(model.reconstruct(X))
    real, fake = model.discriminator(X), model.discriminator(reconstruction)
    adversarial = crossentropy(fake, 1)
    discriminator = crossentropy(real, 1) + crossentropy(fake, 0)
    results = model.train_on(X, Y)
    assert float(results["adversarial_loss"]) == pytest.approx(adversarial, rel=1e-4)
    assert float(results["discriminator_loss"]) == pytest.approx(discriminator, rel=1e-4)
    error = float(results["reconstruction_loss"])
    assert float(results["loss"]) == pytest.approx(10 * error + adversarial, rel=1e-4)


def test_a_step_updates_every_network():
    model = make(AMR)
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
    with_labels, without = make(AMR), make(AMR)
    with_labels.train_on(X, Y)
    without.train_on(X)
    assert same(values(with_labels.encoder.weights), values(without.encoder.weights))
    assert not same(values(with_labels.probe.weights), values(without.probe.weights))


def test_generator_update_every():
    model = make(AMR, compile_kwargs={"generator_update_every": 3})
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


def test_same_seed_same_training():
    one, two = make(AMR), make(AMR)
    for model in (one, two):
        model.fit(X, Y, batch_size=6, epochs=2, verbose=0, shuffle=False)
    assert same(everything(one), everything(two))


def test_validation_changes_nothing_and_repeats():
    model = make(AMR)
    model.fit(X, Y, batch_size=6, verbose=0)
    before = everything(model)
    first = model.evaluate(X, Y, verbose=0, return_dict=True)
    second = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert same(before, everything(model))
    assert first == second


def test_evaluate_averages_over_images():
    """A smaller last batch weighs by its images: losses that are means of images must agree."""
    model = make(AMR, None)
    whole = model.evaluate(X, Y, batch_size=12, verbose=0, return_dict=True)
    pieces = model.evaluate(X, Y, batch_size=5, verbose=0, return_dict=True)
    for name, value in whole.items():
        assert pieces[name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize("mixer", [Mixup(3, seed=1), BernoulliMixup(2, "element", seed=1)])
def test_saved_file_continues_exactly(mixer, tmp_path):
    settings = {
        "lambda_": 3.0,
        "beta": 0.5,
        "gan_loss": "least_squares",
        "consistency_loss": "mean_squared_error",
        "generator_update_every": 2,
        "discriminator_optimizer": keras.optimizers.Adam(1e-3),
    }
    model = make(AMR, mixer, compile_kwargs=settings)
    model.fit(X, Y, batch_size=6, verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert same(everything(model), everything(again))
    assert again.mixer.get_config() == mixer.get_config()
    for name in ("lambda_", "beta", "generator_update_every", "consistency_loss"):
        assert getattr(again, name) == getattr(model, name)
    for one in (model, again):
        one.fit(X, Y, batch_size=6, verbose=0, shuffle=False)
    assert same(everything(model), everything(again))


def test_keras_clone_from_config():
    model = make(AMR, Mixup(3, seed=0))
    again = AMR.from_config(model.get_config())
    assert again.mixer.k == 3
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]


@pytest.mark.parametrize("mixer", [Mixup(3, seed=0), BernoulliMixup(2, seed=0)])
def test_own_networks_with_vector_codes(mixer, tmp_path):
    layers = keras.layers
    encoder = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(5)])
    decoder = keras.Sequential([keras.Input((5,)), layers.Dense(64), layers.Reshape(SHAPE)])
    discriminator = keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dense(1), layers.Reshape(())]
    )
    model = AMR(encoder, decoder, discriminator, mixer)
    model.compile(beta=1.0, run_eagerly=True)
    before = values(encoder.weights)
    model.fit(X, batch_size=6, verbose=0)
    assert not same(before, values(encoder.weights))
    assert model.encode(X).shape == (12, 5)
    assert model.mix(X).shape == X.shape
    assert model.interpolate(X, X[::-1], steps=4).shape == (12, 4, *SHAPE)
    model.save(tmp_path / "own.keras")
    again = keras.saving.load_model(tmp_path / "own.keras")
    np.testing.assert_array_equal(model.reconstruct(X), again.reconstruct(X))


def test_steps_per_execution():
    one, many = (
        make(AMR, compile_kwargs={"run_eagerly": False, "steps_per_execution": steps})
        for steps in (1, 3)
    )
    for model in (one, many):
        model.fit(X, Y, batch_size=4, epochs=1, verbose=0, shuffle=False)
    assert int(many.step_counter) == 3
    for a, b in zip(values(one.weights), values(many.weights)):
        np.testing.assert_allclose(a, b, atol=1e-6)
