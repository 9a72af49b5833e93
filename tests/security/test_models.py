"""`.keras` files from someone else run no code, read no other file and write none."""

import contextlib
import inspect
import json
import sys
import tempfile
import warnings

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.saving.serialization_lib import in_safe_mode

from amr_tf.runs.checkpoints import load_model, read_state, resumable_state
from amr_tf.runs.folder import load_run
from amr_tf.savedmodel.replay import read_requests
from tests.security.conftest import assert_sentence

PLANTED = "planted_by_the_security_tests"


def sequential(layer):
    """The config of a network of 8x8 images that holds a layer, given as its config."""
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(name="replaced")])
    config = keras.saving.serialize_keras_object(network)
    config["config"]["layers"][1] = layer
    return config


def named(module, name, **config):
    """What names a class, and the arguments to make it with."""
    return {"module": module, "class_name": name, "config": config, "registered_name": name}


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def lambda_layer(trap):
    code = f"lambda x: (__import__('pathlib').Path({str(trap)!r}).touch(), x)[1]"
    return keras.saving.serialize_keras_object(keras.layers.Lambda(eval(code)))


def saved_model_layer(trap):
    """The config of a layer that calls a SavedModel, which writes a file when it is called."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1))])
    def write(images):
        tf.io.write_file(str(trap), "written")
        return images

    path = str(trap.with_name("saved_model"))
    tf.saved_model.save(module, path, signatures=write)
    return named("keras.layers", "TFSMLayer", filepath=path, call_endpoint="serving_default")


def touch(trap):
    return {"args": ["touch", str(trap)]}


# What stands in the encoder's place in an archive.
NETWORKS = {
    "lambda": lambda trap: sequential(lambda_layer(trap)),
    "lambda_alone": lambda_layer,
    "saved_model": lambda trap: sequential(saved_model_layer(trap)),
    "popen": lambda trap: named("subprocess", "Popen", **touch(trap)),
    "popen_as_layer": lambda trap: sequential(named("subprocess", "Popen", **touch(trap))),
    "popen_in_keras": lambda trap: named("keras.src.utils.subprocess", "Popen", **touch(trap)),
    "system": lambda trap: named("os", "system", command=f"touch {trap}"),
    "builtins": lambda trap: named("builtins", "open", file=str(trap), mode="w"),
    "planted_module": lambda trap: named(PLANTED, "Model"),
    "get_file": lambda trap: named(
        "keras.utils", "get_file", fname=str(trap), origin=f"file://{__file__}"
    ),
    "unsafe": lambda trap: named("keras.config", "enable_unsafe_deserialization"),
}


@pytest.fixture
def planted(trap, monkeypatch):
    """A module that can be imported, as one in the working directory can, and springs the trap."""
    folder = trap.with_name("importable")
    folder.mkdir()
    text = f"import pathlib\npathlib.Path({str(trap)!r}).touch()\nclass Model: pass\n"
    (folder / f"{PLANTED}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))


def assert_refused(path):
    with pytest.raises(ValueError) as caught:
        load_model(path)
    assert_sentence(caught)
    assert f"'{path}' cannot be loaded as a model" in str(caught.value)


def test_the_archive_itself_is_loaded(archive):
    """What the other tests tamper with would be fine without them."""
    assert load_model(archive()).image_shape == (8, 8, 1)


def test_the_attack_works_without_safe_mode(archive, tmp_path):
    """Else the tests below would prove nothing."""
    ran = tmp_path / "ran_on_purpose"

    def change(config):
        config["config"]["encoder"] = sequential(lambda_layer(ran))

    with contextlib.suppress(Exception):  # The network does not fit the others.
        keras.saving.load_model(archive(change), safe_mode=False)
    assert ran.exists()


@pytest.mark.parametrize("attack", NETWORKS)
def test_a_network_that_is_code(archive, trap, planted, attack):
    def change(config):
        config["config"]["encoder"] = NETWORKS[attack](trap)

    assert_refused(archive(change))
    assert PLANTED not in sys.modules
    assert in_safe_mode() is not False


def test_the_model_itself_is_code(archive, trap, planted):
    for network in (named("subprocess", "Popen", **touch(trap)), named(PLANTED, "Model")):

        def change(config, network=network):
            config.update(network, build_config=None, compile_config=None)

        assert_refused(archive(change))
    assert PLANTED not in sys.modules


@pytest.mark.parametrize("name", ["reconstruction_loss", "gan_loss", "autoencoder_optimizer"])
def test_a_loss_or_an_optimizer_that_is_code(archive, trap, planted, name):
    attacks = [function("os", "system"), function(PLANTED, "Model"), lambda_layer(trap)]
    code = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    attacks += [code, f"mean_absolute_error(x={code})", f"adam(learning_rate={code})"]
    for attack in [*attacks, named("subprocess", "Popen", **touch(trap))]:

        def change(config, attack=attack):
            config["compile_config"][name] = attack

        path = archive(change)
        try:
            model = load_model(path)
        except ValueError as error:
            assert "cannot be loaded as a model" in str(error)
        else:  # Keras left the model as it was compiled by default.
            assert getattr(model, "_compile_arguments", {}).get(name) != attack
    assert PLANTED not in sys.modules


def test_a_mixer_that_is_code(archive, trap):
    def change(config):
        config["config"]["mixer"] = lambda_layer(trap)

    assert_refused(archive(change))


def test_a_file_that_is_not_a_model_of_this_package(tmp_path, trap):
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    network.save(tmp_path / "other.keras")
    with pytest.raises(
        ValueError, match="holds a Sequential, not a model of this package"
    ) as found:
        load_model(tmp_path / "other.keras")
    assert_sentence(found)


def test_an_h5_file_in_a_zip_archive(tmp_path, archive, trap):
    """Keras' loader of .h5 files is chosen by the name; such a file can be an archive as well."""
    code = f"lambda x: (__import__('pathlib').Path({str(trap)!r}).touch(), x)[1]"
    network = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x)])
    network.save(tmp_path / "plain.h5")
    network.layers[0].function = eval(code)
    network.save(tmp_path / "plain.h5")
    whole = (tmp_path / "plain.h5").read_bytes() + archive().read_bytes()
    for name in ("both.h5", "both.hdf5", "both", "both.KERAS"):
        (tmp_path / name).write_bytes(whole)
        assert_refused(tmp_path / name)


def test_members_with_paths(archive, tmp_path, monkeypatch, trap):
    """A member's name leads nowhere, wherever Keras unpacks."""
    inner = tmp_path / "one" / "two" / "three"
    inner.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(inner))
    names = ["../escaped", "../../escaped", "assets/../../../escaped", "assets/encoder/../escaped"]
    names.append(f"{tmp_path}/escaped")
    with warnings.catch_warnings(record=True):  # Keras says what it passes over.
        load_model(archive(members=dict.fromkeys(names, b"from the archive")))
    assert list(tmp_path.rglob("escaped")) == []


def external(weights, secret):
    """The weights with an array that lies in another file, as HDF5 allows."""
    with h5py.File(weights, "r+") as file:
        name, item = largest(file)
        shape, size = item.shape, item.size * item.dtype.itemsize
        del file[name]
        secret.write_bytes(np.arange(size, dtype="uint8").tobytes())
        file.create_dataset(name, shape, "float32", external=[(str(secret), 0, size)])
    return weights.getvalue()


def linked(weights, secret):
    """The weights with a link to another HDF5 file in place of an array."""
    with h5py.File(weights, "r+") as file:
        name, item = largest(file)
        with h5py.File(secret, "w") as other:
            other["secret"] = item[()]
        del file[name]
        file[name] = h5py.ExternalLink(str(secret), "secret")
    return weights.getvalue()


def largest(file):
    """The name and the array of the networks' largest weights."""
    arrays = []
    file.visititems(lambda name, item: arrays.append((name, item)))
    arrays = [pair for pair in arrays if isinstance(pair[1], h5py.Dataset)]
    return max((pair for pair in arrays if "optimizer" not in pair[0]), key=lambda p: p[1].size)


@pytest.mark.parametrize("attack", [external, linked])
def test_weights_that_lie_in_another_file(archive, weights, tmp_path, attack):
    path = archive(members={"model.weights.h5": attack(weights, tmp_path / "secret")})
    assert_refused(path)


def test_configs_that_are_no_configs(archive):
    deep = b'{"config": ' * 5000 + b"1" + b"}" * 5000
    contents = [b"", b"[]", b"null", b"{", b'"os.system"', b"\xff\xfe", deep]
    for content in contents:
        assert_refused(archive(members={"config.json": content}))


def test_a_state_that_names_a_file_elsewhere(archive, tmp_path, trap):
    """Only a checkpoint beside state.json is looked at, and only one that is called like one."""
    path = archive()
    outside = tmp_path / "outside" / path.name
    outside.parent.mkdir()
    path.rename(outside)
    names = [f"../outside/{path.name}", str(outside), "..", "", ".", "a\0b", "state.json", "x.h5"]
    for name in names:
        state = {"checkpoint": name, "step": 1, "best": None}
        (path.parent / "state.json").write_text(json.dumps(state))
        (path.parent / "x.h5").write_bytes(outside.read_bytes())
        for read in (read_state, resumable_state):
            with pytest.raises(ValueError, match="which is not there") as caught:
                read(path.parent)
            assert str(outside) not in str(caught.value)


def test_a_run_from_someone_else(archive, tmp_path, trap):
    """The whole way, as `evaluate`, `interpolate` and `export` go it."""

    def change(config):
        config["config"]["encoder"] = sequential(lambda_layer(trap))

    archive(change, name="best.keras")
    archive(change)
    (tmp_path / "config.json").write_text("{}")
    state = {"checkpoint": "last-00000001.keras", "step": 1, "best": None}
    (tmp_path / "checkpoints" / "state.json").write_text(json.dumps(state))
    for epoch in ("best", "last"):
        with pytest.raises(ValueError, match="cannot be loaded as a model") as caught:
            load_run(tmp_path, epoch)
        assert_sentence(caught)


def test_arrays_that_are_pickles(tmp_path, trap):
    class Attack:
        def __reduce__(self):
            return (trap.touch, ())

    pickled = np.array([Attack()], dtype=object)
    np.savez(tmp_path / "record.npz", **{"decode/input/codes": pickled})
    with pytest.raises(ValueError, match="allow_pickle"):
        read_requests(tmp_path / "record.npz")
    assert "allow_pickle=False" in inspect.getsource(read_requests)
