import inspect

import keras
import pytest

from amr_tf.networks import PROBES, build_linear_probe, build_mlp_probe
from tests.networks.common import check_files, inputs_of, policy, without_gradient

every = pytest.mark.parametrize("build", [build_linear_probe, build_mlp_probe])


def test_names():
    assert PROBES.names() == ["linear", "mlp"]
    assert PROBES.get("linear") is build_linear_probe
    assert PROBES.get("mlp") is build_mlp_probe


def test_linear_probe():
    probe = build_linear_probe((4, 4, 2), 10)
    assert probe.output_shape == (None, 10)
    assert probe.count_params() == 330


def test_mlp_probe():
    probe = build_mlp_probe((4, 4, 2), 10, hidden=(8, 6))
    assert probe.output_shape == (None, 10)
    assert probe.count_params() == 33 * 8 + 9 * 6 + 7 * 10
    dense = [layer for layer in probe.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.activation.__name__ for layer in dense] == ["relu", "relu", "linear"]
    assert build_mlp_probe((7,), 3).get_layer("dense0").units == 256


@every
def test_options_are_keywords(build):
    options = list(inspect.signature(build).parameters.values())[2:]
    assert {option.kind for option in options} == {inspect.Parameter.KEYWORD_ONLY}


@every
def test_attributes(build):
    assert build((4, 4, 2), 1, multi_label=True).output_shape == (None, 1)
    assert build((5,), 4, multi_label=True).output_shape == (None, 4)


@every
def test_all_in_float32(build):
    with policy("mixed_bfloat16"):
        probe = build((4, 4, 2), 3)
    assert probe(inputs_of(probe)).dtype == "float32"
    dense = [layer for layer in probe.layers if isinstance(layer, keras.layers.Dense)]
    assert {layer.compute_dtype for layer in dense} == {"float32"}


@every
def test_files_and_learning(build, tmp_path):
    check_files(build((4, 4, 2), 3), tmp_path)
    assert without_gradient(build((4, 4, 2), 3)) == []


@every
def test_errors(build):
    with pytest.raises(ValueError, match="num_classes must be at least 2; got 1"):
        build((4, 4, 2), 1)
    with pytest.raises(ValueError, match="num_classes must be a positive integer; got 0"):
        build((4, 4, 2), 0, multi_label=True)


def test_bad_hidden_layers():
    with pytest.raises(ValueError, match=r"hidden must list .* at least one layer; got \(\)"):
        build_mlp_probe((4, 4, 2), 3, hidden=())
    with pytest.raises(ValueError, match="Each width in hidden must be a positive integer; got 0"):
        build_mlp_probe((4, 4, 2), 3, hidden=(8, 0))
