"""Trains tiny models on one device and on two replicas; run by `test_distributed` as a process.

python -m tests.models.replicas_script FOLDER: writes one npz file a case and device, since the
number of logical devices cannot change once TensorFlow has started.
"""

import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from amr_tf import DiffAugment, PerceptualLoss, mixers
from amr_tf.models import AMR, GAIA, VAE
from amr_tf.models.updates import apply_update
from amr_tf.optimizers import AdamL2

STEPS = 20
BATCH = 8
SHAPE = (8, 8, 1)
_RANDOM = np.random.default_rng(0)
IMAGES = _RANDOM.uniform(-1, 1, (STEPS * BATCH, *SHAPE)).astype("float32")
# A third is unlabelled, unevenly spread over the halves of a batch.
LABELS = np.where(_RANDOM.random(STEPS * BATCH) < 0.33, -1, _RANDOM.integers(0, 3, STEPS * BATCH))
# Seven images: the last batch is smaller, and its halves differ.
VALIDATION = (IMAGES[:15], LABELS[:15])


@keras.saving.register_keras_serializable(package="tests")
class Halves(mixers.Mixer):
    """Mixes each example with its mirror image within its share; draws nothing."""

    share = BATCH // 2

    def draw_permutations(self, batch_size, seed=None):
        identity = ops.arange(batch_size, dtype="int32")
        mirrored = identity // self.share * self.share + self.share - 1 - identity % self.share
        return ops.stack([identity, ops.minimum(mirrored, batch_size - 1)])

    def draw_coefficients(self, code_shape, batch_size, seed=None):
        place = ops.cast(ops.arange(batch_size) % self.share + 1, "float32") / (self.share + 1)
        alpha = ops.reshape(place, (-1, 1) + (1,) * len(code_shape))
        return ops.concatenate([alpha, 1.0 - alpha], axis=1)


# Of absolute errors the gradient is a sign, which rounding errors flip where a mix is reproduced.
# Keras' own losses divide their means by the number of replicas.
GAIA_SETTINGS = {"reconstruction_loss": keras.losses.MeanSquaredError(), "balance_target": 1.0}
GAIA_SETTINGS["balance_rate"] = 0.05
# Averages and further terms of the loss; the reconstruction loss needs the folder.
LOOKS = {"ema": 0.9, "adversarial_warmup": 5, "feature_matching": 5.0, "look_matching": 5.0}
LOOKS |= {"lambda_": 2.0, "gan_loss": keras.losses.BinaryCrossentropy(from_logits=True)}
CASES = {
    "every_second": (AMR, {"generator_update_every": 2}),
    "gaia": (GAIA, GAIA_SETTINGS),
    "averages_and_looks": (AMR, LOOKS),
}


def build(case):
    """A compiled model of a case, the same at each call."""
    method, settings = CASES[case]
    keras.utils.set_random_seed(0)
    model = method.convolutional(SHAPE, depth=2, num_classes=3, seed=0, mixer=Halves(seed=0))
    if case == "every_second":  # Each replica adds its share of the penalty, too.
        for variable in model.trainable_variables:
            variable.regularizer = keras.regularizers.L2(0.05)
    model.compile(*optimizers(), **settings)
    return model


def perceptual_loss(folder):
    """The distance in the features of a small network with random weights."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input(SHAPE), keras.layers.Conv2D(4, 3, activation="tanh", name="features")]
    keras.Sequential(layers).save(folder / "network.keras")
    return PerceptualLoss(str(folder / "network.keras"), layers="features")


def optimizers():
    """Three of them, with an epsilon above rounding errors.

    The gradient of a bias before an instance normalisation is 0 but for rounding, which Adam's
    usual epsilon would make a whole step of.
    """
    return [AdamL2(1e-3, epsilon=1e-3, l2_weight_decay=0.1) for _ in range(3)]


def state(model):
    """All numbers of a model and its optimizers, named in order."""
    players = (model.autoencoder_optimizer, model.discriminator_optimizer, model.probe_optimizer)
    moments = [variable for each in players for variable in each.variables]
    return {
        f"{kind}_{number:03d}": np.asarray(variable)
        for kind, variables in (("weight", model.weights), ("moment", moments))
        for number, variable in enumerate(variables)
    }


def batches():
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(BATCH)


def train(model):
    """`fit` for 20 steps; returns weights and metrics, named."""
    validation = tf.data.Dataset.from_tensor_slices(VALIDATION).batch(BATCH)
    history = model.fit(batches(), validation_data=validation, verbose=0).history
    return {**state(model), **{f"metric_{name}": value[-1] for name, value in history.items()}}


def draws(strategy):
    """What two replicas draw in turn: permutations, coefficients, and a VAE's codes."""
    with strategy.scope():
        mixer = mixers.Mixup(seed=3)
        vae = VAE.convolutional(SHAPE, depth=2, seed=3)
        augmentation = DiffAugment(seed=3)

    def draw():
        permutations = mixer.draw_permutations(6)[1]
        coefficients = mixer.draw_coefficients((4,), 6)[:, 0, 0]
        codes = vae.sampling(tf.zeros((3,)), tf.zeros((3,)))
        return permutations, coefficients, codes, augmentation(tf.ones((3, *SHAPE)))

    alone = [np.asarray(value) for value in (mixers.Mixup(seed=3).draw_permutations(6)[1],)]
    drawn = strategy.run(tf.function(draw))
    named = zip(("permutations", "coefficients", "codes", "augmented"), drawn)
    arrays = {name: np.stack(strategy.experimental_local_results(value)) for name, value in named}
    states = strategy.experimental_local_results(mixer.seed_generator.state.value)
    return {**arrays, "alone": alone[0], "states": np.stack([state.numpy() for state in states])}


def update(strategy, optimizer, gradients):
    """A variable, 1 before, after an update with a gradient of each replica; and the optimizer."""
    with strategy.scope():
        variable = keras.Variable([1.0])
        optimizer = optimizer()
        optimizer.build([variable])
        optimizer.built = True

    @tf.function
    def run(gradients):
        strategy.run(lambda one: apply_update(optimizer, [one], [variable]), (gradients,))

    numbers = iter(gradients)
    run(
        strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant([next(numbers)])
        )
    )
    return variable.numpy(), optimizer


def updates(strategy):
    """Updates with coupled decay, a schedule, and loss scaling with a NaN on the second replica."""

    def adam():
        # So large an epsilon that the size of the gradient matters.
        return AdamL2(1.0, epsilon=1.0, l2_weight_decay=0.1)

    def scheduled():
        return AdamL2(keras.optimizers.schedules.CosineDecay(1.0, 10), epsilon=1.0)

    decayed, _ = update(strategy, adam, (0.25, 0.5))
    by_schedule, _ = update(strategy, scheduled, (0.25, 0.5))
    scaled, optimizer = update(
        strategy, lambda: keras.optimizers.LossScaleOptimizer(AdamL2()), (0.25, float("nan"))
    )
    alone = []
    for optimizer_alone in (adam(), scheduled()):
        variable = keras.Variable([1.0])
        optimizer_alone.apply([tf.constant([0.75])], [variable])
        alone.append(variable.numpy())
    return {
        "decayed": decayed,
        "decayed_alone": alone[0],
        "by_schedule": by_schedule,
        "by_schedule_alone": alone[1],
        "scaled": scaled,
        "scale": optimizer.dynamic_scale.numpy() / optimizer.initial_scale,
        "iterations": optimizer.iterations.numpy(),
    }


def main(folder):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    LOOKS["reconstruction_loss"] = perceptual_loss(pathlib.Path(folder))
    np.savez(pathlib.Path(folder, "draws.npz"), **draws(strategy))
    np.savez(pathlib.Path(folder, "updates.npz"), **updates(strategy))
    for case in CASES:
        np.savez(pathlib.Path(folder, f"{case}_one.npz"), **train(build(case)))
        with strategy.scope():
            model = build(case)
        np.savez(pathlib.Path(folder, f"{case}_two.npz"), **train(model))


if __name__ == "__main__":
    main(sys.argv[1])
