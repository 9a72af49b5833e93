"""A contract for methods, as a test class for pytest.

    # test_mine.py
    from amr_tf.testing import MethodContract

    class TestMine(MethodContract):
        method = "mine"  # As registered in amr_tf.models.METHODS.

A method that passes is not degenerate at the start and learns within seconds. It can be saved,
resumed, exported, and trained in mixed precision and on replicas, as Keras users expect.
"""

import functools
import multiprocessing
import pathlib
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from amr_tf.data import load, prepared
from amr_tf.models import METHODS, StepTensors
from amr_tf.models.gradients import STEPS

_L2_WEIGHT_DECAY = 1e-5  # Of AdamL2, by default.


class Digits(NamedTuple):
    """The embedded digits: images (N, size, size, 1) in [-1, 1], and class numbers (N,)."""

    images: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    held_out_labels: np.ndarray


class Learned(NamedTuple):
    """Results of a short training of a method.

    Attributes:
        spread: standard deviation of decoded images at the start, averaged over pixels.
        error: mean squared error of held-out reconstructions.
        mean_image_error: mean squared error of the mean training image on held-out images.
        probe_accuracy: held-out accuracy of a logistic regression on frozen codes.
        history: dictionary from metrics to their values by epoch.
        still: names of trainable variables that did not change.
        model: the trained model.
    """

    spread: float
    error: float
    mean_image_error: float
    probe_accuracy: float
    history: dict
    still: list
    model: Any


@functools.cache
def digits(image_size: int) -> Digits:
    """Loads the digits at a size, holding out a fifth of the training images."""
    data = load("digits", image_size=image_size, validation_fraction=0.2)
    parts = []
    for split in (data.train, data.validation):
        parts += [prepared(split, slice(None), image_size), np.asarray(split.labels)]
    return Digits(*parts)


def learn(method: str, image_size: int, epochs: int, rate: float, seed: int = 0) -> Learned:
    """Trains a method with its defaults on the digits, and measures what it has learned.

    Args:
        method: a call string of `METHODS`.
        image_size: width of the images.
        epochs: number of epochs.
        rate: factor for every player's learning rate.
        seed: seed of the weights and the order of images.
    """
    from sklearn.linear_model import LogisticRegression

    data = digits(image_size)
    keras.utils.set_random_seed(seed)
    model = make(method, image_size, seed)
    for optimizer, _ in model.players.values():
        optimizer.learning_rate = float(optimizer.learning_rate) * rate
    spread = float(model.reconstruct(data.images[:64]).std(axis=0).mean())
    before = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    history = model.fit(
        data.images,
        data.labels,
        batch_size=64,
        epochs=epochs,
        validation_data=(data.held_out, data.held_out_labels),
        verbose=0,
    ).history
    still = [
        variable.path
        for variable, old in zip(model.trainable_variables, before)
        if np.array_equal(keras.ops.convert_to_numpy(variable), old)
    ]
    codes = [model.encode(images).reshape(len(images), -1) for images in data[::2]]
    scale = codes[0].std(axis=0) + 1e-8
    probe = LogisticRegression(max_iter=1000).fit(codes[0] / scale, data.labels)
    return Learned(
        spread=spread,
        error=float(np.square(model.reconstruct(data.held_out) - data.held_out).mean()),
        mean_image_error=float(np.square(data.images.mean(axis=0) - data.held_out).mean()),
        probe_accuracy=float(probe.score(codes[1] / scale, data.held_out_labels)),
        history=history,
        still=still,
        model=model,
    )


def make(method: str, image_size: int = 8, seed: int = 0, **sizes: Any) -> Any:
    """Creates and compiles a method's model with its defaults, for the digits.

    Args:
        method: a call string of `METHODS`.
        image_size: width of the images.
        seed: seed of the random generators.
        **sizes: parameters of the architecture.
    """
    cls, created, compiled = METHODS.split(method)
    model = cls.create((image_size, image_size, 1), num_classes=10, seed=seed, **created, **sizes)
    model.compile(**compiled)
    return model


class MethodContract:
    """Tests that every method must pass: subclass it and set `method`, and pytest runs them.

    Attributes:
        method: a call string of `METHODS`.
        image_size: width of the digits to train on.
        epochs: number of epochs to train.
        rate: factor for the learning rates, since the training is short.
        least_spread: smallest allowed spread of decoded images at the start.
        most_error: largest allowed error of held-out reconstructions, as a share of the mean
            image's error.
        least_accuracy: smallest allowed held-out accuracy of a linear probe on frozen codes.
    """

    method: str
    _learned: Learned
    image_size = 8
    epochs = 8
    rate = 10.0
    least_spread = 1e-3
    most_error = 0.75
    least_accuracy = 0.8

    @classmethod
    def learned(cls) -> Learned:
        """Returns the results of the method's short training, which runs only once."""
        if "_learned" not in cls.__dict__:
            cls._learned = learn(cls.method, cls.image_size, cls.epochs, cls.rate)
        return cls._learned

    def test_is_alive_at_the_start(self) -> None:
        assert self.learned().spread > self.least_spread

    def test_reconstructs_better_than_the_mean_image(self) -> None:
        learned = self.learned()
        assert learned.error < self.most_error * learned.mean_image_error

    def test_a_probe_reads_the_codes(self) -> None:
        assert self.learned().probe_accuracy > self.least_accuracy

    def test_losses_are_finite(self) -> None:
        learned = self.learned()
        declared = learned.model.METRICS
        names = {name.removeprefix("val_") for name in learned.history}
        assert names <= set(declared)
        assert {"loss", "reconstruction_loss", "probe_loss"} <= names
        for name, values in learned.history.items():
            assert np.isfinite(values).all(), name

    def test_every_variable_moves(self) -> None:
        assert self.learned().still == []

    def test_every_kernel_learns_from_the_images(self) -> None:
        """The gradient of a kernel must outweigh weight decay, or the kernel only shrinks."""
        keras.utils.set_random_seed(0)
        model = make(self.method, self.image_size)
        data = digits(self.image_size)
        step = StepTensors(tf.constant(data.images[:64]), tf.constant(data.labels[:64]))
        gradients, _ = STEPS[model.step](model, step)
        made: dict[str, Any] = {
            "autoencoder": gradients.autoencoder(),
            "discriminator": gradients.discriminator,
            "probe": gradients.probe,
        }
        for name, (_, variables) in model.players.items():
            for variable, gradient in zip(variables, made[name]):
                if len(variable.shape) > 1:
                    size = float(tf.norm(gradient))
                    decay = _L2_WEIGHT_DECAY * float(tf.norm(variable))
                    assert size > decay, f"{variable.path}: {size} against {decay}"

    def test_a_saved_model_continues(self, tmp_path: pathlib.Path) -> None:
        # A new model: the step traced by `learned` may accept any batch size, and its kernels round
        # differently from those for a known size.
        model = make(self.method, depth=2)
        images, labels = digits(8).images[:64], digits(8).labels[:64]
        options = {"batch_size": 32, "epochs": 1, "shuffle": False, "verbose": 0}
        model.fit(images, labels, **options)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        np.testing.assert_array_equal(loaded.encode(images), model.encode(images))
        histories = [one.fit(images, labels, **options).history for one in (model, loaded)]
        assert histories[0] == histories[1]
        for ours, theirs in zip(model.weights, loaded.weights):
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), ours.path)

    def test_trains_in_mixed_precision(self) -> None:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = make(self.method, depth=2)
        finally:
            keras.config.set_dtype_policy(before)
        images, labels = digits(8).images[:32], digits(8).labels[:32]
        results = model.train_on(images, labels)
        assert all(np.isfinite(float(value)) for value in results.values())
        assert all(np.isfinite(np.asarray(variable)).all() for variable in model.weights)
        assert model.encode(images).dtype == np.float32

    def test_exports_reconstructions(self, tmp_path: pathlib.Path) -> None:
        model = self.learned().model
        model.export(tmp_path / "model", verbose=False)
        loaded = tf.saved_model.load(tmp_path / "model")
        images = digits(self.image_size).held_out[:8]
        served = loaded.serve(tf.constant(images)).numpy()
        np.testing.assert_allclose(served, model.reconstruct(images), atol=1e-5)

    def test_two_replicas_stay_the_same(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["amr_tf.testing"])
        queue = context.Queue()
        process = context.Process(target=_train_on_two_replicas, args=(self.method, queue))
        process.start()
        results, difference = queue.get(timeout=300)
        process.join()
        assert all(np.isfinite(value) for value in results.values()), results
        assert difference == 0.0


def _train_on_two_replicas(method: str, queue: Any) -> None:
    """Trains for two steps; returns the metrics and the replicas' largest weight difference."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    with strategy.scope():
        model = make(method, depth=2)
    images, labels = digits(8).images[:64], digits(8).labels[:64]
    history = model.fit(images, labels, batch_size=32, epochs=1, verbose=0).history
    difference = 0.0
    for variable in model.trainable_variables:
        one, two = (value.numpy() for value in strategy.experimental_local_results(variable.value))
        difference = max(difference, float(np.abs(one - two).max()))
    queue.put(({name: values[-1] for name, values in history.items()}, difference))
