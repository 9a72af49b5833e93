import keras
import numpy as np
import pytest

import amr_tf.networks
from amr_tf.networks import PortNormal
from amr_tf.networks.blocks import make_initializer

VARIANCE_SCALING = {"class_name": "VarianceScaling", "config": {"seed": 3}}


def test_initialiser():
    values = np.asarray(PortNormal(seed=0)((3, 3, 64, 128)))
    assert values.std() == pytest.approx(1 / np.sqrt(1.04 * 128 * 64 * 3), rel=0.02)
    assert values.mean() == pytest.approx(0, abs=1e-4)
    again = keras.initializers.deserialize(keras.initializers.serialize(PortNormal(seed=4)))
    assert type(again) is PortNormal
    assert again.get_config() == {"seed": 4}
    unseeded = PortNormal()
    assert not np.array_equal(unseeded((3, 3, 2, 2)), unseeded((3, 3, 2, 2)))


def test_files_that_name_the_initialiser_as_before():
    config = {
        "module": "amr_tf.networks.blocks",
        "class_name": "ACAINormal",
        "config": {"seed": 5},
        "registered_name": "amr_tf>ACAINormal",
    }
    loaded = keras.saving.deserialize_keras_object(config)
    assert type(loaded) is PortNormal
    assert loaded.seed == 5
    assert keras.initializers.serialize(loaded)["registered_name"] == "amr_tf>ACAINormal"
    assert not hasattr(amr_tf.networks, "ACAINormal")


@pytest.mark.parametrize(
    "initializer",
    ["he_normal", PortNormal, PortNormal(), keras.initializers.HeNormal()],
    ids=["name", "class", "ours", "keras"],
)
def test_each_layer_gets_an_initializer_of_its_own(initializer):
    one, two = make_initializer(initializer), make_initializer(initializer)
    assert type(one) is type(two)
    assert one is not two
    assert initializer not in (one, two)
    assert not np.array_equal(one((3, 3, 2, 2)), two((3, 3, 2, 2)))


def test_initializers_that_are_functions():
    def zeros(shape, dtype=None):
        return keras.ops.zeros(shape, dtype)

    assert make_initializer(zeros) is zeros


@pytest.mark.parametrize(
    "initializer",
    [
        PortNormal(seed=0),
        keras.initializers.HeNormal(seed=keras.random.SeedGenerator(1)),
        VARIANCE_SCALING,
    ],
)
def test_initializers_with_a_seed(initializer):
    with pytest.raises(ValueError, match="^kernel_initializer must not have a seed, "):
        make_initializer(initializer)
