"""What the tests of methods share: small images, models, and losses in plain NumPy."""

import functools
from unittest import mock

import keras
import numpy as np

from amr_tf import AMR, Mixup
from amr_tf.fused import InstanceNormalization, LeakyReLU
from amr_tf.layers import SpectralNormalization
from amr_tf.networks.architectures import ARCHITECTURES, Networks
from amr_tf.networks.blocks import activate
from amr_tf.networks.blocks import critic as make_critic

layers = keras.layers

SHAPE = (8, 8, 1)
X = np.random.default_rng(0).uniform(-1, 1, (12, *SHAPE)).astype("float32")
Y = np.arange(12) % 3
ATTRIBUTES = np.random.default_rng(1).integers(0, 2, (12, 3))


def _encoder(latent_channels, latent_dim):
    """A third of the layers of `build_encoder`."""
    if latent_dim is None:
        last = [layers.Conv2D(latent_channels, 1, dtype="float32")]
    else:
        last = [layers.Flatten(), layers.Dense(latent_dim, dtype="float32")]
    block = [layers.Conv2D(4, 3, padding="same"), InstanceNormalization(), LeakyReLU(0.01)]
    pool = layers.AveragePooling2D(2)
    return keras.Sequential([keras.Input(SHAPE), *block, pool, *last], name="encoder")


def _decoder(latent_channels, latent_dim, output_activation=None):
    codes = x = keras.Input((4, 4, latent_channels) if latent_dim is None else (latent_dim,))
    if latent_dim is not None:
        x = layers.Reshape((4, 4, 4))(layers.Dense(64)(x))
    x = LeakyReLU(0.01)(InstanceNormalization()(layers.Conv2D(4, 3, padding="same")(x)))
    images = layers.Conv2D(1, 3, padding="same", dtype="float32")(layers.UpSampling2D(2)(x))
    return keras.Model(codes, activate(images, output_activation), name="decoder")


def _critic(critic, num_classes):
    if critic is None:
        return None
    images = keras.Input(SHAPE)
    if critic == "autoencoder":
        copies = _decoder(2, None)(_encoder(2, None)(images))
        return keras.Model(images, copies, name="discriminator")
    x = SpectralNormalization(layers.Conv2D(4, 3, padding="same"))(images)
    features = layers.AveragePooling2D(2)(LeakyReLU(0.01)(x))
    logits = layers.Dense(1, dtype="float32")(layers.Flatten()(features))
    num_classes = num_classes if critic == "classifier" else None
    return make_critic(
        images, layers.Reshape((), dtype="float32")(logits), features, num_classes, "discriminator"
    )


def light(
    image_shape,
    latent_channels=2,
    latent_dim=None,
    output_activation=None,
    *,
    encoder_outputs=1,
    critic="logits",
    num_classes=None,
):
    """An architecture for the images of `SHAPE`, with one layer of each kind that matters."""
    assert image_shape == SHAPE
    numbers = [number and number * encoder_outputs for number in (latent_channels, latent_dim)]
    return Networks(
        _encoder(*numbers),
        _decoder(latent_channels, latent_dim, output_activation),
        _critic(critic, num_classes),
    )


def make(
    method,
    mixer="mixup",
    num_classes=3,
    compile_kwargs=None,
    seed=0,
    architecture="light",
    **kwargs,
):
    """A small compiled model, the same at each call; eager, since tracing takes longer.

    `mixer` is left out where a method takes none. The architecture is `light`, for what does not
    depend on the layers, or "own", the method's.
    """
    keras.utils.set_random_seed(0)
    mixer = mixer if method.takes_mixer else None
    arguments = {"mixer": mixer, "num_classes": num_classes, "seed": seed, **kwargs}
    if architecture == "own":
        model = method.convolutional(SHAPE, depth=2, **arguments)
    else:
        # Registered for this call alone: other tests look at all architectures.
        with mock.patch.dict(ARCHITECTURES._entries, {"light": light}):
            model = method.create(SHAPE, "light", **arguments)
    model.compile(**{"run_eagerly": True, **(compile_kwargs or {})})
    return model


make_own = functools.partial(make, architecture="own")


def make_dense(method=AMR, compile_kwargs=None, mixer=None, **parts):
    """A model of dense layers, the same at each call: its steps take a tenth of `make`'s time.

    Args:
        method: a method whose discriminator returns logits.
        compile_kwargs: arguments of `compile`.
        mixer: a mixer for codes (N, 5), or None for `Mixup`.
        **parts: layers in front of a network's last: encoder, decoder, discriminator or probe.
    """
    keras.utils.set_random_seed(0)

    def network(name, shape, *last):
        return keras.Sequential([keras.Input(shape), *parts.get(name, ()), *last], name=name)

    model = method(
        network("encoder", SHAPE, layers.Flatten(), layers.Dense(5)),
        network("decoder", (5,), layers.Dense(64), layers.Reshape(SHAPE)),
        network("discriminator", SHAPE, layers.Flatten(), layers.Dense(1), layers.Reshape(())),
        Mixup(seed=0) if mixer is None else mixer,
        network("probe", (5,), layers.Dense(3)),
    )
    model.compile(**{"run_eagerly": True, **(compile_kwargs or {})})
    return model


def values(variables):
    return [np.asarray(variable) for variable in variables]


def same(before, after):
    pairs = list(zip(before, after, strict=True))
    assert pairs, "nothing to compare"
    return all(np.array_equal(one, two) for one, two in pairs)


_RANDOM_LAYERS = ("mixer", "label_mixer", "sampling", "discriminator_augmentation")


def generators(model):
    """The random generators of a model, by the layer that has one."""
    layers = {name: getattr(model, name, None) for name in _RANDOM_LAYERS}
    return {name: layer.seed_generator for name, layer in layers.items() if layer is not None}


def everything(model):
    """All state that a resumed training needs."""
    optimizers = (
        model.autoencoder_optimizer,
        model.discriminator_optimizer,
        model.probe_optimizer,
    )
    state = values(model.weights)
    for optimizer in optimizers:
        state += [] if optimizer is None else values(optimizer.variables)
    return state + values(generator.state for generator in generators(model).values())


def save_and_continue(model, path, labels=Y):
    """Trains, saves and loads a model, checks that both train on alike, and returns the second."""
    fresh = everything(model)
    model.train_on(X, labels)
    model.save(path)
    again = keras.saving.load_model(path)
    saved = everything(model)
    assert not same(fresh, saved)
    assert same(saved, everything(again))
    assert again.get_compile_config() == model.get_compile_config()
    assert generators(again).keys() == generators(model).keys()
    first, second = model.train_on(X, labels), again.train_on(X, labels)
    assert {name: float(value) for name, value in first.items()} == {
        name: float(value) for name, value in second.items()
    }
    assert not same(saved, everything(model))
    assert same(everything(model), everything(again))
    return again


def drawn(model):
    """Permutations and coefficients to give to a step."""
    permutations = np.asarray(model.mixer.draw_permutations(len(X)))
    return permutations, np.asarray(model.mixer.draw_coefficients(model.mixed_shape, len(X)))


def blend(stack, permutations, coefficients):
    """Equation 6."""
    return sum(
        coefficients[:, j] * stack[permutation] for j, permutation in enumerate(permutations)
    )


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, "float64")))


def crossentropy(logits, target):
    """Mean binary cross-entropy of logits."""
    probability = sigmoid(logits)
    return -np.mean(target * np.log(probability) + (1 - target) * np.log(1 - probability))


def softmax(logits):
    exponentials = np.exp(np.asarray(logits, "float64"))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def mean_error(one, two):
    return np.abs(np.asarray(one, "float64") - np.asarray(two, "float64")).mean()
