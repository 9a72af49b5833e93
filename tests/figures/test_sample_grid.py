"""Grids of samples: when they are drawn, what they show, and where they go."""

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from amr_tf.figures.sample_grid import SampleGrid
from amr_tf.figures.sheet import label_inches


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


def test_a_training_that_ends_early_draws_its_last_epoch(tmp_path, model, images):
    callback = SampleGrid(images, tmp_path / "samples", every=2)
    callback.set_model(model)
    callback.set_params({"epochs": 9})
    for stopped_after, names in [
        (2, ["epoch_00002.png"]),
        (3, ["epoch_00002.png", "epoch_00003.png"]),
    ]:
        for epoch in range(stopped_after):
            callback.on_epoch_end(epoch, {})
        callback.on_train_end()  # A piece of a run ends: others follow.
        model.stop_training = True
        callback.on_train_end()
        model.stop_training = False
        assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == names


def test_the_grid_holds_three_rows_of_all_images(tmp_path, model, images):
    run_epochs(SampleGrid(images, tmp_path), model, 0, 1)
    with Image.open(tmp_path / "epoch_00001.png") as picture:
        # In inches of 120 pixels: captions, a title 0.4, an image 0.75.
        labels = label_inches([f"mix of {model.mixer.k} neighbours"])
        size = 120 * (labels + 5 * 0.75), 120 * (0.4 + 3 * 0.75)
        np.testing.assert_allclose(picture.size, size, atol=1)
        drawn = np.asarray(picture.convert("L"), dtype="float64")
    # The first row shows the images themselves: compare the middle of each one's pixels.
    for column, image in enumerate(images):
        size = 0.75 * 0.96 * 120 / 8
        left, top = 120 * (labels + 0.75 * column), 120 * (0.4 + 0.75 * 0.04)
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
