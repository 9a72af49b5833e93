"""Callbacks: sample grids, and stopping between two steps."""

import os
import signal

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from amr_tf.training.callbacks import EpochTensorBoard, Interrupted, SampleGrid, StopOnSignal


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 1)).astype("float32")


def run_epochs(callback, model, first, last):
    callback.set_model(model)
    callback.set_params({"epochs": last})
    for epoch in range(first, last):
        callback.on_epoch_end(epoch, {})


@pytest.mark.parametrize(
    ("every", "epochs", "numbers"), [(1, 3, (1, 2, 3)), (2, 5, (2, 4, 5)), (10, 3, (3,))]
)
def test_when_grids_are_drawn(tmp_path, model, images, every, epochs, numbers):
    run_epochs(SampleGrid(images, tmp_path / "samples", every=every), model, 0, epochs)
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == [f"epoch_{number:05d}.png" for number in numbers]


def test_the_grid_holds_three_rows_of_all_images(tmp_path, model, images):
    run_epochs(SampleGrid(images, tmp_path), model, 0, 1)
    with Image.open(tmp_path / "epoch_00001.png") as picture:
        # In inches of 120 pixels: captions 1.7, a title 0.4, an image 0.75.
        assert picture.size == (round(120 * (1.7 + 5 * 0.75)), round(120 * (0.4 + 3 * 0.75)))
        drawn = np.asarray(picture.convert("L"), dtype="float64")
    # The first row shows the images themselves: compare the middle of each one's pixels.
    for column, image in enumerate(images):
        size = 0.75 * 0.96 * 120 / 8
        left, top = 120 * (1.7 + 0.75 * column), 120 * (0.4 + 0.75 * 0.04)
        centres = (np.arange(8) + 0.5) * size
        shown = drawn[np.ix_((top + centres).astype(int), (left + centres).astype(int))]
        np.testing.assert_allclose(shown, (image[..., 0] + 1) * 127.5, atol=2.0)


def test_grids_show_the_model_change_and_nothing_else(tmp_path, model, images):
    draw = SampleGrid(images, tmp_path, every=1)
    state = model.mixer.seed_generator.state.numpy().tolist()
    draw.set_model(model)
    draw.set_params({"epochs": 1})

    def pixels():
        draw.on_epoch_end(0, {})
        with Image.open(tmp_path / "epoch_00001.png") as picture:
            return np.asarray(picture).copy()

    first = pixels()
    assert (pixels() == first).all()
    assert model.mixer.seed_generator.state.numpy().tolist() == state
    kernel = model.decoder.trainable_variables[0]
    before = kernel.numpy()
    kernel.assign(before + np.random.default_rng(0).normal(size=before.shape))
    changed = pixels()
    kernel.assign(before)
    assert (changed != first).any()
    assert (pixels() == first).all()


def test_grids_go_to_tensorboard(tmp_path, model, images):
    callback = SampleGrid(images, tmp_path / "samples", tmp_path / "log", every=2)
    run_epochs(callback, model, 0, 3)
    events = EventAccumulator(str(tmp_path / "log"), size_guidance={"tensors": 0}).Reload()
    assert events.Tags()["tensors"] == ["samples"]
    assert [event.step for event in events.Tensors("samples")] == [2, 3]


@pytest.fixture
def default_handlers():
    """Python's own handlers, whatever a test does to them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", ("SIGINT", "SIGTERM"))
@pytest.mark.parametrize("place", ("on_train_batch_end", "on_epoch_end"))
def test_a_signal_stops_between_two_steps(default_handlers, name, place):
    with StopOnSignal() as stop:
        stop.set_params({"epochs": 9, "steps": 9})
        getattr(stop, place)(0)  # Nothing has come yet.
        os.kill(os.getpid(), getattr(signal, name))
        assert stop.received == name
        with pytest.raises(Interrupted, match=name):
            getattr(stop, place)(1)


def test_a_second_signal_acts_at_once(default_handlers):
    with StopOnSignal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_come_back(default_handlers):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(RuntimeError), StopOnSignal():
        inside = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        raise RuntimeError
    assert all(handler not in before for handler in inside)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_batches_are_not_summarised(tmp_path, model, monkeypatch):
    """Keras' own callback would, to no effect, and memory would grow with each step."""
    callback = EpochTensorBoard(tmp_path, write_graph=False)
    callback.set_model(model)
    callback.on_train_begin()
    made = []
    monkeypatch.setattr(tf.summary, "scalar", lambda *args, **kwargs: made.append(args))
    callback.on_train_batch_end(0, {"loss": 1.0})
    assert made == []
    callback.on_epoch_end(0, {"loss": 1.0})
    assert made
