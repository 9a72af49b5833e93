"""Encoding, decoding, mixing, interpolating and exporting a model."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, VAE, Mixup, PixelMixup, SupervisedAMR
from amr_tf.models.inference import in_batches
from tests.models.helpers import SHAPE, X, blend, drawn, make, same, values

MODELS = {
    "amr": lambda: make(AMR, Mixup(3, seed=0)),
    "vae": lambda: make(VAE, Mixup(3, seed=0)),
    "pixels": lambda: make(PixelMixup, Mixup(3, seed=0)),
    "vectors": lambda: make(AMR, latent_dim=5),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.fixture(scope="module")
def amr():
    return make(AMR)


def test_encode_and_decode(model):
    """What the networks return, in any number of pieces, as float32."""
    codes = np.asarray(model.codes_of(model.encoder(X)))
    assert codes.shape[1:] == model.latent_shape
    images = np.asarray(model.decoder(codes))
    for size in (1, 5, 256):
        encoded, decoded = model.encode(X, batch_size=size), model.decode(codes, batch_size=size)
        np.testing.assert_allclose(encoded, codes, atol=1e-5)
        np.testing.assert_allclose(decoded, images, atol=1e-4)
        np.testing.assert_allclose(model.reconstruct(X, batch_size=size), images, atol=1e-4)
        assert encoded.dtype == decoded.dtype == "float32"
    np.testing.assert_allclose(model(X), images, atol=1e-4)
    np.testing.assert_allclose(model.predict(X, verbose=0), images, atol=1e-4)


def test_mix(model):
    permutations, coefficients = drawn(model)
    mixes = model.mix(X, permutations, coefficients, batch_size=5)
    mixed = blend(X if model.mixes_pixels else model.encode(X), permutations, coefficients)
    expected = model.reconstruct(mixed) if model.mixes_pixels else model.decode(mixed)
    np.testing.assert_allclose(mixes, expected, atol=1e-4)
    # A fixed seed draws the same, whatever the size of the pieces, and moves nothing.
    state = np.asarray(model.mixer.seed_generator.state)
    one, two = (model.mix(X, seed=4, batch_size=size) for size in (5, 12))
    np.testing.assert_allclose(one, two, atol=1e-5)
    np.testing.assert_array_equal(model.mixer.seed_generator.state, state)
    assert np.abs(one - model.mix(X, seed=5)).max() > 1e-3


@pytest.mark.parametrize("method", [AMR, PixelMixup])
def test_a_mix_in_one_graph_is_the_mix_in_parts(method):
    """Images that fit into one batch take another way, with the same draws."""
    whole, parts = (make(method, mixer=Mixup(3, seed=4)) for _ in range(2))
    parts.set_weights(whole.get_weights())
    for _ in range(2):
        np.testing.assert_allclose(whole.mix(X), parts.mix(X, batch_size=5), atol=1e-5)
    permutations = np.stack([np.arange(12), np.arange(12)[::-1], np.roll(np.arange(12), 1)])
    for shape in ((12, 3, *(1,) * len(whole.mixed_shape)), (1, 3, *(1,) * len(whole.mixed_shape))):
        coefficients = np.random.default_rng(0).dirichlet(np.ones(3), shape[0]).reshape(shape)
        mixes = whole.mix(X, permutations, coefficients)
        expected = parts.mix(X, permutations, coefficients, batch_size=5)
        np.testing.assert_allclose(mixes, expected, atol=1e-5)
    assert whole.inference.mix.experimental_get_tracing_count() == 1
    assert whole.inference.mix_given.experimental_get_tracing_count() == 1


def test_interpolate(model):
    lines = model.interpolate(X, X[::-1], steps=5, batch_size=7)
    assert lines.shape == (12, 5, *SHAPE)
    space = X if model.mixes_pixels else model.encode(X)
    for step, weight in enumerate(np.linspace(0, 1, 5, dtype="float32")):
        between = (1 - weight) * space + weight * space[::-1]
        expected = model.reconstruct(between) if model.mixes_pixels else model.decode(between)
        np.testing.assert_allclose(lines[:, step], expected, atol=1e-4)


def test_what_a_model_makes_it_takes(model):
    """Decoded images may leave [-1, 1]; they are welcome, and images of 0 to 255 are not."""
    bias = model.decoder.layers[-1].bias if hasattr(model.decoder.layers[-1], "bias") else None
    if bias is not None:
        bias.assign_add([1.5])
    mixes = model.mix(X, seed=0)
    if bias is not None:
        assert np.abs(mixes).max() > 1.2
    assert model.encode(mixes).shape == (12, *model.latent_shape)
    assert model.mix(model.reconstruct(mixes), seed=0).shape == X.shape
    assert model.interpolate(mixes, X, steps=2).shape == (12, 2, *SHAPE)
    with pytest.raises(ValueError, match=r"images must lie in \[-1, 1\]; its values span"):
        model.encode(127.5 * X + 127.5)
    if bias is not None:
        bias.assign_sub([1.5])


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_types_of_images(amr, dtype):
    images = tf.cast(X, dtype).numpy()
    expected = amr.encode(images.astype("float32"))
    np.testing.assert_allclose(amr.encode(images), expected, atol=1e-5)
    assert amr.encode(images).dtype == "float32"


def test_networks_are_traced_once(amr, monkeypatch):
    """Calls with other numbers of images, or other steps, do not build the graph anew."""
    traced = []
    call = amr.decoder.call
    monkeypatch.setattr(
        amr.decoder, "call", lambda *args, **kwargs: traced.append(1) or call(*args, **kwargs)
    )
    amr._inference = None
    for count, steps in ((3, 2), (5, 4), (12, 3)):
        amr.reconstruct(X[:count])
        amr.mix(X[:count], seed=0)
        amr.interpolate(X[:count], X[:count], steps=steps)
    assert len(traced) == 1
    amr._inference = None


def test_weights_of_now_are_used(amr):
    before = amr.encode(X)
    bias = amr.encoder.layers[-1].bias
    bias.assign_add([0.5, -1.0])
    np.testing.assert_allclose(amr.encode(X), before + np.array([0.5, -1.0]), atol=1e-5)
    bias.assign_sub([0.5, -1.0])


def test_in_batches(amr):
    rows = np.arange(10.0)
    np.testing.assert_array_equal(in_batches(lambda part: 2 * part, rows, 3), 2 * rows)
    sizes = []
    in_batches(lambda part: sizes.append(len(part)) or part, rows, 4)
    assert sizes == [4, 4, 2]
    for size in (0, -1, 2.5):
        with pytest.raises(ValueError, match="batch_size must be a positive integer"):
            amr.encode(X, batch_size=size)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.encode(X[:, :4]), r"images must have the shape \(N, 8, 8, 1\)"),
        (lambda model: model.encode(X[:0]), "images is empty"),
        (lambda model: model.encode((X > 0).astype("uint8")), "images / 127.5 - 1"),
        (lambda model: model.encode(np.where(X > 0.9, np.nan, X)), "images must be finite"),
        (lambda model: model.decode(np.zeros((1, 4, 4, 3))), r"codes must have .*\(N, 4, 4, 2\)"),
        (lambda model: model.decode(np.zeros((0, 4, 4, 2))), "codes is empty"),
        (lambda model: model.decode(np.full((1, 4, 4, 2), np.inf)), "codes must be finite"),
        (lambda model: model.mix(X[:1]), "A batch of 1 is too small to mix k = 2"),
        (
            lambda model: model.mix(X, np.zeros((3, 12), int)),
            r"permutations must be integers of the shape \(2, 12\); got int64 of \(3, 12\)",
        ),
        (lambda model: model.mix(X, np.zeros((2, 12))), r"\(2, 12\); got float64 of \(2, 12\)"),
        (
            lambda model: model.mix(X, np.full((2, 12), 12)),
            "permutations must lie in 0 to 11; got 12 to 12",
        ),
        (lambda model: model.interpolate(X[:2], X[:3]), "same number of images; got 2 and 3"),
        (lambda model: model.interpolate(X, X, steps=1), "steps must be an integer of at least 2"),
    ],
)
def test_errors(amr, call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(amr)
    assert "\n" not in str(error.value)


def test_without_a_mixer():
    with pytest.raises(
        ValueError, match="^'amr.*' has no mixer; build it with one to mix images.$"
    ):
        make(AMR, None).mix(X)


# Keras' export.


@pytest.mark.parametrize(
    ("method", "when", "path_type"),
    [
        (AMR, "constructed", pathlib.Path),
        (AMR, "compiled", str),
        (VAE, "constructed", pathlib.Path),
        (SupervisedAMR, "constructed", pathlib.Path),
    ],
)
def test_export(method, when, path_type, tmp_path):
    """Of fitted models, the contract of every method (amr_tf/testing.py)."""
    keras.utils.set_random_seed(0)
    model = method.convolutional(SHAPE, depth=2, num_classes=3, seed=0)
    if when == "compiled":
        model.compile(run_eagerly=True)
    before = values(model.weights)
    model.export(path_type(tmp_path / "exported"), verbose=False)
    assert same(before, values(model.weights))
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    for count in (12, 3):
        expected = model.reconstruct(X[:count])
        np.testing.assert_allclose(loaded.serve(X[:count]), expected, atol=1e-5)
