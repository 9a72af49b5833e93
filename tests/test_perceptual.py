"""The perceptual loss: what it computes, what it is computed with, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, PerceptualLoss, losses
from amr_tf.experiments import train
from tests.runs.conftest import read_log, tiny_config

SHAPE = (16, 16, 3)
_RANDOM = np.random.default_rng(0)
IMAGES, OTHERS = _RANDOM.uniform(-1, 1, (2, 4, *SHAPE)).astype("float32")


def save_network(path, shape=SHAPE, policy="float32"):
    """A small network in a file; its layers are "one", "two" and "pooled"."""
    keras.utils.set_random_seed(1)
    layers = [
        keras.Input(shape),
        keras.layers.Conv2D(4, 3, activation="relu", name="one", dtype=policy),
        keras.layers.Conv2D(6, 3, strides=2, name="two", dtype=policy),
        keras.layers.GlobalAveragePooling2D(name="pooled", dtype=policy),
    ]
    network = keras.Sequential(layers)
    network.save(path)
    return network


@pytest.fixture
def network(tmp_path):
    return save_network(tmp_path / "network.keras"), str(tmp_path / "network.keras")


def by_hand(features, others):
    """The mean squared distance of features, each position's scaled to length 1."""
    units = [value / np.linalg.norm(value, axis=-1, keepdims=True) for value in (features, others)]
    return ((units[0] - units[1]) ** 2).sum(axis=-1).mean()


def test_the_formula(network):
    network, file = network
    loss = PerceptualLoss(file, layers=("two", "pooled"), feature_weight=0.5)
    distances = []
    for name in ("two", "pooled"):
        part = keras.Model(network.inputs, network.get_layer(name).output)
        distances.append(by_hand(part.predict(IMAGES, verbose=0), part.predict(OTHERS, verbose=0)))
    expected = np.abs(IMAGES - OTHERS).mean() + 0.5 * np.mean(distances)
    assert min(distances) > 0.01
    assert float(loss(IMAGES, OTHERS)) == pytest.approx(expected, rel=1e-4)
    assert float(tf.function(loss)(IMAGES, OTHERS)) == pytest.approx(expected, rel=1e-4)
    assert float(loss(IMAGES, IMAGES)) == 0


def test_features_have_a_gradient(network):
    loss = PerceptualLoss(network[1], layers="two")
    with tf.GradientTape() as tape:
        others = tf.Variable(OTHERS)
        value = loss(IMAGES, others) - tf.reduce_mean(tf.abs(IMAGES - others))
    assert float(tf.reduce_max(tf.abs(tape.gradient(value, others)))) > 1e-5


def test_float32_for_any_floatx(network):
    keras.config.set_floatx("float64")
    try:
        loss = PerceptualLoss(network[1], layers="two")
        assert loss(IMAGES, OTHERS).dtype == "float32"
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_float32_for_any_precision(tmp_path, dtype):
    save_network(tmp_path / "half.keras", policy=f"mixed_{dtype}")
    loss = PerceptualLoss(str(tmp_path / "half.keras"), layers=("two",))
    assert loss(tf.cast(IMAGES, dtype), tf.cast(OTHERS, dtype)).dtype == "float32"


def test_a_keras_application(tmp_path):
    """Its weights are read from a file, and it gets its own preprocessing."""
    keras.utils.set_random_seed(2)
    application = keras.applications.MobileNet(include_top=False, weights=None)
    application.save_weights(tmp_path / "mobile.weights.h5")
    name = "conv_pw_1_relu"
    weights = str(tmp_path / "mobile.weights.h5")
    loss = PerceptualLoss("MobileNet", layers=(name,), weights=weights)
    part = keras.Model(application.inputs, application.get_layer(name).output)
    features = [
        part.predict(keras.applications.mobilenet.preprocess_input((images + 1) * 127.5), verbose=0)
        for images in (IMAGES, OTHERS)
    ]
    expected = np.abs(IMAGES - OTHERS).mean() + by_hand(*features)
    assert float(loss(IMAGES, OTHERS)) == pytest.approx(expected, rel=1e-4)
    # Three copies of a single channel.
    grey, other = IMAGES[..., :1], OTHERS[..., :1]
    colour = loss(np.repeat(grey, 3, axis=-1), np.repeat(other, 3, axis=-1))
    again = PerceptualLoss("MobileNet", layers=(name,), weights=weights)
    assert float(again(grey, other)) == pytest.approx(float(colour), rel=1e-5)


@pytest.mark.parametrize("name", ["VGG16", "VGG19"])
def test_the_default_layers_are_vggs(name):
    network = getattr(keras.applications, name)(include_top=False, weights=None)
    outputs = PerceptualLoss(name)._outputs(network)
    assert [output.shape[-1] for output in outputs] == [64, 128, 256, 512]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "VGG18"}, r"network \(a Keras application, or a .keras file\) 'VGG18'.*VGG16"),
        ({"network": "vgg16"}, "'vgg16'"),  # That is the module.
        ({"network": 3}, "'3'"),
        ({"network": "VGG16", "feature_weight": -1.0}, "feature_weight"),
        ({"network": "VGG16", "layers": 3}, "layers must be names of layers; got 3"),
        ({"network": "VGG16", "layers": ()}, "layers must be names"),
        ({"network": "VGG16", "layers": (1,)}, "layers must be names"),
        ({"network": "VGG16", "weights": None}, "weights must be 'imagenet' or a weights file"),
        ({"network": "a.keras", "weights": "b.h5"}, "weights are for a Keras application"),
    ],
)
def test_what_is_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        PerceptualLoss(**arguments)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (None, "layers must be given for .*network.keras: one, two, pooled.$"),
        (("two", "three"), "layers must be names of layers of .*: one, two, pooled; got 'three'"),
    ],
)
def test_unknown_layers(network, layers, message):
    with pytest.raises(ValueError, match=message):
        PerceptualLoss(network[1], layers)(IMAGES, OTHERS)


def test_a_network_for_images_of_any_size(tmp_path):
    save_network(tmp_path / "any.keras", (None, None, 3))
    loss = PerceptualLoss(str(tmp_path / "any.keras"), "two")
    assert float(loss(IMAGES, OTHERS)) > np.abs(IMAGES - OTHERS).mean()
    assert np.isfinite(float(loss(IMAGES[:, :8], OTHERS[:, :8])))


@pytest.mark.parametrize(
    ("network", "weights", "message"),
    [
        ("{0}/none.keras", "imagenet", "/none.keras could not be read or downloaded"),
        ("{0}/broken.keras", "imagenet", "/broken.keras could not be read"),
        ("MobileNet", "{0}/none.h5", "weights .*/none.h5 could not be read or downloaded"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, network, weights, message):
    (tmp_path / "broken.keras").write_text("no archive")
    loss = PerceptualLoss(network.format(tmp_path), "one", weights=weights.format(tmp_path))
    with pytest.raises(ValueError, match=f"^The network of the perceptual loss .*{message}"):
        loss(IMAGES, OTHERS)


def test_files_of_other_models(tmp_path):
    AMR.create(SHAPE, architecture="convolutional(depth=2)").save(tmp_path / "amr.keras")
    with pytest.raises(ValueError, match="must be a functional or sequential model with one input"):
        PerceptualLoss(str(tmp_path / "amr.keras"), "one")(IMAGES, OTHERS)
    inner = save_network(tmp_path / "inner.keras")
    outer = keras.Sequential([keras.Input(SHAPE), inner, keras.layers.Dense(3, name="classes")])
    outer.save(tmp_path / "outer.keras")
    with pytest.raises(ValueError, match=r"outer.keras: classes; got 'sequential.*'\.$"):
        PerceptualLoss(str(tmp_path / "outer.keras"), inner.name)(IMAGES, OTHERS)


def test_images_that_the_network_does_not_take(network):
    with pytest.raises(ValueError, match=r"takes images of shape \(16, 16, 3\); got \(8, 8, 3\)"):
        PerceptualLoss(network[1], ("two",))(IMAGES[:, :8, :8], OTHERS[:, :8, :8])
    with pytest.raises(ValueError, match=r"takes images of shape \(16, 16, 3\); got \(16, 16, 2\)"):
        PerceptualLoss(network[1], ("two",))(IMAGES[..., :2], OTHERS[..., :2])


def test_it_does_not_compare_codes(network):
    call = f"perceptual(network={network[1]!r}, layers=('two',))"
    loss = losses.reconstruction_loss(call)
    assert not losses.compares_codes(loss)
    model = AMR.create(SHAPE, mixer="mixup")
    model.compile(reconstruction_loss=call, beta=1.0)
    assert model.consistency_loss is losses.mean_absolute_error
    with pytest.raises(ValueError, match=r"a distance between codes.*takes images\.$"):
        model.compile(reconstruction_loss=call, consistency_loss=call, beta=1.0)


def test_a_model_is_used_without_the_network(network, tmp_path):
    """It is not in the model's file, and is needed for the loss alone."""
    model = AMR.create(SHAPE, architecture="convolutional(depth=2)", mixer="mixup")
    model.compile(reconstruction_loss=PerceptualLoss(network[1], layers=("two",)))
    model.fit(IMAGES, batch_size=4, verbose=0)
    untrained = AMR.create(SHAPE, architecture="convolutional(depth=2)", mixer="mixup")
    count = len(model.weights)
    model.save(tmp_path / "model.keras")
    (tmp_path / "network.keras").unlink()
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == count == len(untrained.weights)
    assert loaded.reconstruction_loss.get_config() == model.reconstruction_loss.get_config()
    np.testing.assert_allclose(loaded.reconstruct(IMAGES), model.reconstruct(IMAGES), atol=1e-6)
    with pytest.raises(ValueError, match="network.keras"):
        loaded.fit(IMAGES, batch_size=4, verbose=0)


def test_a_run_loads_the_network_before_it_writes_anything(tmp_path):
    loss = f"perceptual(network={str(tmp_path / 'none.keras')!r}, layers='one')"
    with pytest.raises(ValueError, match=r"none.keras could not be read or downloaded"):
        train(tiny_config(tmp_path / "run", reconstruction_loss=loss))
    assert not (tmp_path / "run").exists()


def test_a_run_with_a_perceptual_loss(tmp_path):
    save_network(tmp_path / "network.keras", (8, 8, 1))
    loss = f"perceptual(network={str(tmp_path / 'network.keras')!r}, layers=('one', 'two'))"
    train(tiny_config(tmp_path / "plain"))
    train(tiny_config(tmp_path / "run", reconstruction_loss=loss))
    plain, run = (read_log(tmp_path / name / "log.csv")[-1] for name in ("plain", "run"))
    assert run["val_reconstruction_loss"] > 1.01 * plain["val_reconstruction_loss"]
