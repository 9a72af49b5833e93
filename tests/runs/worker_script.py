"""`amr_tf.train` with a mixer that draws nothing, and the architecture of `tests.runs.tiny`.

The tests of strategies run it as a process.

The mixer stays within halves of a batch, so that two replicas mix as one device does.
AMR_TF_TEST_DEVICES=2 makes two logical devices of the CPU.
"""

import os

import keras
import tensorflow as tf
from keras import ops

from amr_tf import mixers, train
from tests.runs import tiny

SHARE = 16


@mixers.MIXERS.register("halves")
@keras.saving.register_keras_serializable(package="tests")
class Halves(mixers.Mixer):
    """Mixes each example with its mirror image within its share of 16 examples."""

    def draw_permutations(self, batch_size, seed=None):
        identity = ops.arange(batch_size, dtype="int32")
        mirrored = identity // SHARE * SHARE + SHARE - 1 - identity % SHARE
        return ops.stack([identity, ops.minimum(mirrored, batch_size - 1)])

    def draw_coefficients(self, code_shape, batch_size, seed=None):
        place = ops.cast(ops.arange(batch_size) % SHARE + 1, "float32") / (SHARE + 1)
        alpha = ops.reshape(place, (-1, 1) + (1,) * len(code_shape))
        return ops.concatenate([alpha, 1.0 - alpha], axis=1)


if __name__ == "__main__":
    tiny.register()
    devices = int(os.environ.get("AMR_TF_TEST_DEVICES", "1"))
    cpu = tf.config.list_physical_devices("CPU")[0]
    if devices > 1:
        parts = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(cpu, parts)
    train.run()
