"""Every method and mixer, at full and mixed precision, replayed where there is no amr_tf."""

import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, BernoulliMixup, Mixup, StyleMixup
from amr_tf.savedmodel import verify
from amr_tf.savedmodel.export import write_saved_model
from amr_tf.savedmodel.signatures import endpoints
from amr_tf.savedmodel.verify import example_requests, policy_of, tolerance_of
from tests.savedmodel.conftest import make_images, make_model

pytestmark = pytest.mark.slow

BATCHES = (1, 7)
SMALL = {"architecture": "convolutional", "image_shape": (8, 8, 1), "depth": 2}
TANH = {"output_activation": "tanh"}


class OwnPixels(AMR):
    """A user's method that declares what PixelMixup does."""

    mixes_pixels = True


class OwnVariational(AMR):
    """A user's method with the codes of a VAE, by a class that is none, and a discriminator."""

    encoder_outputs = 2
    unit_prior = True

    @property
    def latent_shape(self):
        return (*self.encoder.output_shape[1:-1], self.encoder.output_shape[-1] // 2)

    def codes_of(self, encoded):
        return encoded[..., : self.latent_shape[-1]]


FAMILIES = {
    "amr": {"method": "amr", **SMALL, "image_shape": (8, 8, 3), "mixer": "bernoulli", "k": 3},
    "ae_gan": {"method": "ae_gan", **SMALL},
    "pixel_mixup": {"method": "pixel_mixup", **SMALL, "mixer": "mixup", "k": 3},
    "supervised_amr": {
        "method": "supervised_amr",
        **SMALL,
        "mixer": "composite",
        "num_classes": 3,
    },
    "acai": {"method": "acai", **SMALL, "mixer": "mixup"},
    "acai_original": {"method": "acai_original", **SMALL, "mixer": "folded"},
    "gaia": {"method": "gaia", **SMALL, "mixer": "gaussian"},
    "vae": {"method": "vae", **SMALL, **TANH, "mixer": "mixup", "latent_dim": 3},
    "beta_vae": {"method": "beta_vae", **SMALL, **TANH, "mixer": "spatial"},
    "points": {
        "method": "amr",
        "image_shape": (2,),
        "architecture": "mlp",
        "latent_dim": 5,
    },
    "dsprites": {"method": "amr", "image_shape": (8, 8, 1), "architecture": "dsprites"},
    "two_channels": {"method": "amr", **SMALL, "image_shape": (8, 8, 2), "mixer": "channelwise"},
    "bfloat16": {"method": "amr", **SMALL, "policy": "mixed_bfloat16", "mixer": "learned"},
    "float16": {"method": "amr", **SMALL, "policy": "mixed_float16", "mixer": "spherical"},
    "vae_bfloat16": {"method": "vae", **SMALL, **TANH, "policy": "mixed_bfloat16"},
    "looks": {
        "method": "amr",
        "image_shape": (16, 16, 3),
        "architecture": "residual(width=4, latent_width=4, stem=4)",  # Blurs.
        "mixer": "style",
    },
    "own_pixels": {"method": OwnPixels, **SMALL},
    "own_variational": {"method": OwnVariational, **SMALL, "mixer": "bernoulli"},
}
PNG = {"decode_png", "encode_png"}
PIXELS = {"decode_uint8", "encode_uint8"}
FLOATS = {"serving_default", "decode", "encode", "reconstruct", "mix", "mix_maps", "interpolate"}
# Of methods whose codes have a prior to draw from.
SAMPLED = ("vae", "beta_vae", "vae_bfloat16", "own_variational")
OTHERS = {
    **dict.fromkeys(SAMPLED, FLOATS | PIXELS | PNG | {"sample"}),
    "looks": FLOATS | PIXELS | PNG | {"mix_looks"},
    "points": FLOATS,
    "two_channels": FLOATS | PIXELS,
    "supervised_amr": FLOATS | PIXELS | PNG | {"mix_labels"},
}


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """For each family and batch the policy, requests, and differences found in one process."""
    folder = tmp_path_factory.mktemp("families")
    given, pairs = {}, []
    for name, arguments in FAMILIES.items():
        model = make_model(**arguments)
        write_saved_model(model, folder / name)
        for count in BATCHES:
            requests = example_requests(model, make_images(model, count, count))
            given[name, count] = policy_of(model), requests
            pairs.append((folder / name, folder / f"{name}-{count}.npz"))
            verify.write_record(pairs[-1][1], requests)
    differences = verify.replay_in_fresh_process(pairs)
    return {key: (*given[key], found) for key, found in zip(given, differences, strict=True)}


@pytest.mark.parametrize("count", BATCHES)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_signature_is_the_models(replayed, name, count):
    policy, requests, differences = replayed[name, count]
    assert policy == FAMILIES[name].get("policy", "float32")
    assert set(differences) == OTHERS.get(name, FLOATS | PIXELS | PNG)
    for signature, found in differences.items():
        assert found <= tolerance_of(signature, requests, policy), signature
        # The outputs do not vanish beside the tolerance of 1e-5.
        for value in requests[signature][1].values():
            assert np.abs(value.astype("float32")).max() > 1e-3


def same(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    (
        *("amr", "vae", "pixel_mixup", "points", "supervised_amr"),
        *("own_pixels", "own_variational"),
    ),
)
def test_what_is_replayed_is_what_the_model_answers_in_python(name):
    model = make_model(**FAMILIES[name])
    images = make_images(model, 5)
    answers = {key: (pair[0], list(pair[1].values())[0]) for key, pair in _answers(model, images)}
    codes = model.encode(images)
    same(answers["encode"][1], codes)
    same(answers["decode"][1], model.decode(codes))
    same(answers["reconstruct"][1], model.reconstruct(images))
    same(answers["interpolate"][1], model.interpolate(images, images[::-1], 3))
    given = answers["mix"][0]
    wide = given["coefficients"].reshape(5, 3, *(1,) * (codes.ndim - 1))
    same(answers["mix"][1], model.decode(np.asarray(Mixup(k=3).mix(given["codes"], wide))))
    given = answers["mix_maps"][0]
    wide = given["coefficients"].reshape(5, 3, *(1,) * (codes.ndim - 2), -1)
    mixed = BernoulliMixup(k=3).mix(given["codes"], wide)
    same(answers["mix_maps"][1], model.decode(np.asarray(mixed)))


@pytest.mark.parametrize("mixer", ["learned", "spherical"])
def test_a_mix_is_weighed_by_the_mixer(mixer):
    """The exported mix is the model's own, and not a plain sum of the codes."""
    small = {"architecture": "residual(width=4, latent_width=4)", "image_shape": (16, 16, 3)}
    model = make_model("amr", **small, mixer=mixer)
    if mixer == "learned":
        rng = np.random.default_rng(0)
        network = model.mixer.network
        network.set_weights([rng.normal(0, 1, w.shape) for w in network.get_weights()])
    images = make_images(model, 5)
    permutations = np.stack([np.arange(5), np.roll(np.arange(5), 1)])
    shares = np.tile(np.array([[0.3, 0.7]], "float32"), (5, 1))
    stack = np.moveaxis(model.encode(images)[permutations], 0, 1)
    found = endpoints(model)["mix"][0](tf.constant(stack), tf.constant(shares))["images"]
    wide = shares[:, :, None, None, None]
    same(found, model.mix(images, permutations, wide))
    assert np.abs(found - model.decode((wide * stack).sum(axis=1))).max() > 1e-3


class Sharper(StyleMixup):
    """A user's mixer of layouts and looks, with a weigh of its own."""

    def weigh(self, stack, coefficients):
        squares = tf.square(coefficients)
        return squares / tf.reduce_sum(squares, axis=1, keepdims=True)


@pytest.mark.parametrize("mixer", ["style", Sharper()], ids=["style", "own"])
def test_layout_and_look_are_mixed_apart(mixer):
    model = make_model(**{**FAMILIES["looks"], "mixer": mixer})
    images = make_images(model, 4)
    permutations = np.stack([np.arange(4), np.roll(np.arange(4), 1)])
    codes = tf.constant(np.moveaxis(model.encode(images)[permutations], 0, 1))
    layouts, looks = (np.float32([[1, 0]] * 4), np.float32([[0.2, 0.8]] * 4))
    found = endpoints(model)["mix_looks"][0](codes, tf.constant(layouts), tf.constant(looks))
    both = np.stack([layouts, looks], axis=-1)[:, :, None, None]
    same(found["images"], model.mix(images, permutations, both))
    with pytest.raises(tf.errors.InvalidArgumentError, match="must agree in N and K"):
        endpoints(model)["mix_looks"][0](codes, tf.constant(layouts), tf.constant(looks[:, :1]))


def _answers(model, images):
    return example_requests(model, images).items()


@pytest.mark.parametrize(
    ("name", "in_pixels"), [("own_pixels", True), ("own_variational", False), ("amr", False)]
)
def test_what_an_exported_line_blends(name, in_pixels, replayed):
    """Pixels where a method declares so, else codes."""
    model = make_model(**FAMILIES[name])
    _, requests, _ = replayed[name, BATCHES[-1]]
    inputs, outputs = requests["interpolate"]
    a, b = inputs["images_a"], inputs["images_b"]
    blended, mean = model.encode((a + b) / 2), (model.encode(a) + model.encode(b)) / 2
    right, wrong = (blended, mean) if in_pixels else (mean, blended)
    same(outputs["images"][:, 1], model.decode(right))
    assert abs(outputs["images"][:, 1] - model.decode(wrong)).max() > 1e-3
