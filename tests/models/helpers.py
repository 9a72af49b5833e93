"""What the tests of methods share: small images, models, and losses in plain NumPy."""

import keras
import numpy as np

from amr_tf import AMR, Mixup

SHAPE = (8, 8, 1)
X = np.random.default_rng(0).uniform(-1, 1, (12, *SHAPE)).astype("float32")
Y = np.arange(12) % 3
ATTRIBUTES = np.random.default_rng(1).integers(0, 2, (12, 3))


def make(method, mixer="mixup", num_classes=3, compile_kwargs=None, seed=0, **kwargs):
    """A small compiled model, the same at each call; eager, since tracing takes longer.

    `mixer` is left out where a method takes none.
    """
    keras.utils.set_random_seed(0)
    mixer = mixer if method.takes_mixer else None
    model = method.convolutional(
        SHAPE, depth=2, mixer=mixer, num_classes=num_classes, seed=seed, **kwargs
    )
    model.compile(**{"run_eagerly": True, **(compile_kwargs or {})})
    return model


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

    layers = keras.layers
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
