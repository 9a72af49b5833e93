"""GAIA: its losses and its balance in NumPy."""

import numpy as np
import pytest

from amr_tf import GAIA, GaussianMixup, SupervisedBernoulliMixup
from amr_tf.networks import build_decoder, build_discriminator, build_encoder
from tests.models.helpers import (
    SHAPE,
    X,
    Y,
    blend,
    drawn,
    make,
    make_own,
    mean_error,
    same,
    save_and_continue,
    values,
)


def errors(model, permutations, coefficients, images=X):
    """All that the losses consist of, from the networks' outputs."""
    codes = np.asarray(model.encoder(images))
    reconstruction = np.asarray(model.decoder(codes))
    mixes = np.asarray(model.decoder(blend(codes, permutations, coefficients)))
    return {
        "pixel": mean_error(images, reconstruction),
        "real": mean_error(images, model.discriminator(images)),
        "completed": mean_error(images, model.discriminator(reconstruction)),
        "mix": mean_error(mixes, model.discriminator(mixes)),
    }


@pytest.mark.parametrize("balance", [0.0, 0.3, 1.0])
def test_losses(balance):
    model = make(GAIA, "gaussian", compile_kwargs={"lambda_": 7.0})
    model.balance.assign(balance)
    given = drawn(model)
    error = errors(model, *given)
    results = model.train_on(X, Y, *given)
    adversarial = error["completed"] + error["mix"]
    discriminator = error["real"] + error["completed"] - balance * error["mix"]
    expected = {
        "reconstruction_loss": error["pixel"],
        "adversarial_loss": adversarial,
        "discriminator_loss": discriminator,
        "loss": 7 * error["pixel"] + adversarial,
        "discriminator_balance": balance,
    }
    for name, value in expected.items():
        assert float(results[name]) == pytest.approx(value, rel=1e-4), name


def test_what_the_discriminator_sees():
    model = make(GAIA, "gaussian")
    step = model.forward(X)
    seen = {"real": X, "reconstruction": step.reconstructions, "mix": step.mixes}
    assert set(step.discriminator_reconstructions) == set(seen)
    assert not step.logits
    for group, images in seen.items():
        np.testing.assert_allclose(
            step.discriminator_reconstructions[group],
            model.discriminator(images),
            rtol=1e-4,
            atol=1e-5,
        )


def test_balance_starts_at_zero_and_moves_as_in_began():
    model = make_own(GAIA, "gaussian", compile_kwargs={"balance_target": 0.9, "balance_rate": 0.5})
    assert float(model.balance) == 0
    model.balance.assign(0.5)
    moved = [0.5]
    for _ in range(3):
        given = drawn(model)
        error = errors(model, *given)
        step = 0.5 * (0.9 * error["real"] - error["mix"])
        expected = moved[-1] + step
        assert 0 < expected < 1  # Or else clipping alone would pass.
        results = model.train_on(X, None, *given)
        assert float(model.balance) == pytest.approx(expected, rel=1e-3)
        moved.append(expected)
        # The step itself was made with the weight before.
        assert float(results["discriminator_balance"]) == pytest.approx(moved[-2], rel=1e-3)


def mixes_reproduced(model):
    """Gives mixes of zeros and a discriminator that returns zeros: an error of 0 on mixes."""
    for network in (model.decoder, model.discriminator.layers[-1]):
        for weight in network.layers[-1].weights:
            weight.assign(0 * weight)


@pytest.mark.parametrize(
    ("target", "start", "prepare", "expected"),
    [
        (0.0, 0.5, lambda model: None, 0.0),
        (1.0, 0.5, mixes_reproduced, 1.0),
    ],
)
def test_balance_is_clipped(target, start, prepare, expected):
    model = make(
        GAIA, "gaussian", compile_kwargs={"balance_target": target, "balance_rate": 1000.0}
    )
    prepare(model)
    model.balance.assign(start)
    given = drawn(model)
    error = errors(model, *given)
    unclipped = start + 1000 * (target * error["real"] - error["mix"])
    assert unclipped < 0 or unclipped > 1
    model.train_on(X, None, *given)
    assert float(model.balance) == expected


def test_evaluation_does_not_move_the_balance():
    model = make(GAIA, "gaussian", compile_kwargs={"balance_rate": 1.0})
    model.balance.assign(0.5)
    before = values(model.weights)
    results = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert results["discriminator_balance"] == 0.5
    assert same(before, values(model.weights))


def test_the_discriminator_learns_to_fail_on_mixes_with_the_balance_only():
    """Two steps that differ in the balance differ in the discriminator's update alone."""
    models = []
    for balance in (0.0, 1.0):
        model = make(
            GAIA,
            "gaussian",
            compile_kwargs={"autoencoder_optimizer": "sgd", "discriminator_optimizer": "sgd"},
        )
        model.balance.assign(balance)
        model.train_on(X, None, *drawn(model))
        models.append(model)
    for name in ("encoder", "decoder"):
        assert same(*(values(getattr(model, name).weights) for model in models))
    assert not same(*(values(model.discriminator.weights) for model in models))


@pytest.mark.parametrize("loss", ["least_squares", "binary_crossentropy"])
def test_a_gan_loss_is_refused(loss):
    with pytest.raises(ValueError, match="^GAIA has no use for gan_loss: leave it out.$"):
        make(GAIA, compile_kwargs={"gan_loss": loss})


def test_a_loss_of_logits_is_refused():
    settings = {"reconstruction_loss": "binary_crossentropy"}
    with pytest.raises(ValueError, match="^GAIA's discriminator returns images and no logits"):
        make(GAIA, output_activation="tanh", compile_kwargs=settings)


def test_its_own_mixer_by_default():
    """With the method's own defaults, in Python as on the command line."""
    mixer = GAIA.convolutional(SHAPE, depth=2).mixer
    assert isinstance(mixer, GaussianMixup)
    assert mixer.sigma == 0.25


def test_squared_errors():
    model = make(GAIA, compile_kwargs={"reconstruction_loss": "mean_squared_error"})
    step = model.forward(X)
    _, terms = model.autoencoder_losses(step)
    mixes, images = np.asarray(step.mixes), np.asarray(step.reconstructions)
    completed = np.mean((X - np.asarray(model.discriminator(images))) ** 2)
    mixed = np.mean((mixes - np.asarray(model.discriminator(mixes))) ** 2)
    assert float(terms["adversarial_loss"]) == pytest.approx(completed + mixed, rel=1e-4)


def test_saved_file_continues_exactly(tmp_path):
    settings = {"balance_target": 1.0, "balance_rate": 0.25, "lambda_": 0.5}
    model = make(GAIA, "gaussian", compile_kwargs=settings)
    model.balance.assign(0.5)
    again = save_and_continue(model, tmp_path / "model.keras")
    assert type(again) is GAIA
    for name, value in settings.items():
        assert getattr(again, name) == value
    assert 0 < float(again.balance) < 1
    assert float(again.balance) != 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mixer": None}, r"^GAIA needs a mixer, such as GaussianMixup\(\).$"),
        ({"mixer": SupervisedBernoulliMixup(3)}, "mixes by labels"),
        ({"compile_kwargs": {"balance_target": 1.5}}, "balance_target must lie in 0 to 1; got 1.5"),
        ({"compile_kwargs": {"balance_target": -0.1}}, "balance_target must be a finite number"),
        ({"compile_kwargs": {"balance_rate": -1.0}}, "balance_rate must be a finite number"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(GAIA, **arguments)


@pytest.mark.parametrize(
    ("critic", "message"),
    [
        (None, "^GAIA needs a discriminator, from images to images.$"),
        ("logits", r"The output of GAIA's discriminator, .* \(N, 8, 8, 1\)"),
    ],
)
def test_discriminators_that_do_not_fit(critic, message):
    discriminator = build_discriminator(SHAPE, depth=2) if critic else None
    with pytest.raises(ValueError, match=message):
        GAIA(build_encoder(SHAPE, depth=2), build_decoder(SHAPE, depth=2), discriminator)
