"""Number formats, loss scaling's skipped updates, and several steps at a time."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import devices, processor
from amr_tf.experiments import train
from amr_tf.runs import run as run_lib
from amr_tf.runs.build import build_model
from amr_tf.runs.callbacks import StopOnSignal
from amr_tf.runs.checkpoints import load_model, read_state
from amr_tf.runs.folder import RunFolder
from amr_tf.runs.precision import (
    PRECISIONS,
    SkippedUpdates,
    dtype_policy,
    jit_compile,
    skipped_updates,
    warn_of_precision,
)
from tests.runs.conftest import assert_same_checkpoint, read_log, tiny_config

IMAGES = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)).astype("float32")
LABELS = np.arange(4) % 3
NAMES = [f"skipped_{name}_updates" for name in ("autoencoder", "discriminator", "probe")]


def build(precision, **changes):
    config = tiny_config("unused", precision=precision, **changes)
    return build_model(config, (8, 8, 1), num_classes=3)


def set_scales(model, scale):
    for optimizer in (
        model.autoencoder_optimizer,
        model.discriminator_optimizer,
        model.probe_optimizer,
    ):
        optimizer.dynamic_scale.assign(scale)


def test_the_policy_comes_back():
    with pytest.raises(RuntimeError), dtype_policy("mixed_bfloat16"):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        raise RuntimeError
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("precision", ("mixed_bfloat16", "mixed_float16"))
def test_networks_compute_in_16_bits_on_float32_weights(precision, tmp_path):
    model = build(precision)
    assert keras.config.dtype_policy().name == "float32"
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)
    scaled = [
        isinstance(each, keras.optimizers.LossScaleOptimizer)
        for each in (
            model.autoencoder_optimizer,
            model.discriminator_optimizer,
            model.probe_optimizer,
        )
    ]
    assert scaled == [precision == "mixed_float16"] * 3
    model.save(tmp_path / "model.keras")
    for each in (model, load_model(tmp_path / "model.keras")):
        computes = {layer.compute_dtype for layer in each.encoder.layers}
        assert computes == {precision.removeprefix("mixed_"), "float32"}  # Codes are float32.
        assert type(each.probe_optimizer) is type(model.probe_optimizer)


def test_updates_that_are_skipped_are_counted():
    model = build("mixed_float16", generator_update_every=2)
    kernels = [
        network.trainable_variables[0]
        for network in (model.encoder, model.discriminator, model.probe)
    ]
    before = [kernel.numpy() for kernel in kernels]
    assert skipped_updates(model) == dict.fromkeys(NAMES, 0)
    set_scales(model, np.inf)
    model.train_on(IMAGES, LABELS)
    assert skipped_updates(model) == dict.fromkeys(NAMES, 1)
    assert all(np.array_equal(kernel, value) for kernel, value in zip(kernels, before))
    set_scales(model, 1.0)
    model.train_on(IMAGES, LABELS)  # The auto-encoder has its turn in every second step.
    assert skipped_updates(model) == dict.fromkeys(NAMES, 1)
    model.train_on(IMAGES, LABELS)
    assert skipped_updates(model) == dict.fromkeys(NAMES, 1)
    assert not any(np.array_equal(kernel, value) for kernel, value in zip(kernels, before))


def test_one_player_can_skip_alone():
    model = build("mixed_float16")
    set_scales(model, 1.0)
    model.discriminator_optimizer.dynamic_scale.assign(np.inf)
    model.train_on(IMAGES, LABELS)
    assert skipped_updates(model) == dict(zip(NAMES, (0, 1, 0)))
    logs = {"loss": 1.0}
    callback = SkippedUpdates()
    callback.set_model(model)
    callback.on_epoch_end(0, logs)
    assert logs == {"loss": 1.0, **skipped_updates(model)}


@pytest.mark.parametrize("flags", ["avx2 avx512_bf16", "avx2", None])
@pytest.mark.parametrize("name", PRECISIONS)
def test_an_emulated_format_is_warned_of(name, flags, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    if flags is not None:  # Elsewhere nothing is known of the processor.
        (tmp_path / "cpuinfo").write_text(f"flags\t: {flags}\n")
    warn_of_precision(name)
    emulated = name == "mixed_float16" or (name == "mixed_bfloat16" and flags == "avx2")
    assert (f"precision {name}: " in caplog.text) == emulated
    best = "mixed_bfloat16" if flags == "avx2 avx512_bf16" else "float32"
    assert (f"--precision=auto chooses {best}." in caplog.text) == emulated


def test_no_format_of_a_new_gpu_is_warned_of(monkeypatch, caplog):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU:0"])
    monkeypatch.setattr(devices, "computes_bfloat16", lambda: True)
    for name in PRECISIONS:
        warn_of_precision(name)
    assert not caplog.records


def test_jit_compile_is_handed_to_keras():
    assert [jit_compile(choice) for choice in ("auto", "true", "false")] == ["auto", True, False]
    # On a CPU alone Keras' auto leaves XLA out, which is the faster choice there.
    assert [build("float32", jit_compile=choice).jit_compile for choice in ("auto", "true")] == [
        False,
        True,
    ]


class Kept:
    """What `_set_steps_per_execution` sees of a model."""

    def __init__(self):
        self.steps_per_execution = 1
        self.train_function = self.test_function = "kept"


@pytest.mark.parametrize(
    "wanted, steps, expected", ((1, 7, 1), (4, 12, 4), (5, 12, 4), (8, 7, 7), (3, 7, 1), (9, 4, 4))
)
def test_steps_at_a_time_divide_an_epoch(wanted, steps, expected, caplog):
    model = Kept()
    run_lib._set_steps_per_execution(model, wanted, steps)
    assert model.steps_per_execution == expected
    assert model.train_function == model.test_function == ("kept" if expected == 1 else None)
    assert bool(caplog.records) == (wanted != expected)


@pytest.mark.slow
def test_several_steps_at_a_time_change_nothing_and_resume(tmp_path, monkeypatch, tiny):
    changes = {"architecture": tiny, "epochs": 2}
    one = tiny_config(tmp_path / "one", **changes)
    two = tiny_config(tmp_path / "two", **changes, steps_per_execution=2)
    expected = train(one)

    class Interrupting(StopOnSignal):
        def on_train_batch_end(self, batch, logs=None):
            self.received = "SIGINT"
            super().on_train_batch_end(batch, logs)

    monkeypatch.setattr(run_lib, "StopOnSignal", Interrupting)
    assert train(two) is None
    folders = RunFolder(one.run_dir), RunFolder(two.run_dir)
    assert read_state(folders[1].checkpoints)["step"] == 2
    monkeypatch.setattr(run_lib, "StopOnSignal", StopOnSignal)
    assert train(two, resume=True) == expected
    states = [read_state(folder.checkpoints) for folder in folders]
    assert states[0]["step"] == states[1]["step"] == 8
    assert_same_checkpoint(states[1]["checkpoint"], states[0]["checkpoint"])
    assert read_log(folders[0].log)[1] == read_log(folders[1].log)[1]


@pytest.mark.slow
def test_a_float16_run_logs_what_it_skipped(tmp_path):
    config = tiny_config(tmp_path / "run", epochs=1, precision="mixed_float16")
    train(config)
    (row,) = read_log(RunFolder(config.run_dir).log)
    assert set(NAMES) <= set(row)
    assert all(0 <= row[name] <= 4 for name in NAMES)
