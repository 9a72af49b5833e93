import keras
import numpy as np
import pytest

from amr_tf.networks import ACAINormal


def test_initialiser():
    values = np.asarray(ACAINormal(seed=0)((3, 3, 64, 128)))
    assert values.std() == pytest.approx(1 / np.sqrt(1.04 * 128 * 64 * 3), rel=0.02)
    assert values.mean() == pytest.approx(0, abs=1e-4)
    again = keras.initializers.deserialize(keras.initializers.serialize(ACAINormal(seed=4)))
    assert again.get_config() == {"seed": 4}
    unseeded = ACAINormal()
    assert not np.array_equal(unseeded((3, 3, 2, 2)), unseeded((3, 3, 2, 2)))
