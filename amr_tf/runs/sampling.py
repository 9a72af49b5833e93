"""New images from a run: mixes of training images, or draws from a density that is fitted once."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from amr_tf.data import ImageData, prepared
from amr_tf.models.density import CodeDensity
from amr_tf.models.inference import can_sample

_FITTED = 5_000
_DENSITY = "density-{}.npz"


def some_images(data: ImageData, count: int = _FITTED, seed: int = 0) -> np.ndarray:
    """Returns up to `count` training images, float32 (N, H, W, C) in [-1, 1], drawn at random."""
    chosen = np.random.default_rng(seed).permutation(len(data.train))[:count]
    return prepared(data.train, np.sort(chosen), data.image_size)


def mixes_of(model: Any, data: ImageData, count: int, seed: int = 0) -> np.ndarray:
    """Mixes randomly drawn training images, with coefficients drawn as in training.

    Args:
        model: a model with a mixer.
        data: its `ImageData`.
        count: number of mixes. If it exceeds the number of images, images are used several times.
        seed: seed of the images, their partners and the coefficients.

    Returns:
        float32 (count, H, W, C).
    """
    rounds = range(-(-count // len(data.train)))
    made = []
    for number in rounds:
        wanted = min(count - number * len(data.train), len(data.train))
        images = some_images(data, max(wanted, model.mixer.k), seed + number)
        made.append(model.mix(images, seed=seed + number)[:wanted])
    return np.concatenate(made)


def forget_densities(path: str | pathlib.Path) -> None:
    """Deletes the files of `add_density`: after a rollback, a step has other weights."""
    for file in pathlib.Path(path).glob(_DENSITY.format("*")):
        file.unlink(missing_ok=True)


def add_density(
    path: str | pathlib.Path, model: Any, data: ImageData, notify: Callable[[str], Any] = print
) -> None:
    """Sets the density that a model's `sample` draws from, unless the model is a VAE.

    The density is read from the run's folder, or fitted on training images and written there.

    Args:
        path: the run's folder.
        model: a model of the run.
        data: the run's data.
        notify: called with a message if the folder cannot be written to.

    Raises:
        ValueError: the file in the folder is damaged.
    """
    if can_sample(model):
        return
    file = pathlib.Path(path) / _DENSITY.format(f"{model.steps_made:08d}")
    if file.is_file():
        model.density = CodeDensity.load(file)
        return
    model.density = CodeDensity.fit(model.encode(some_images(data)))
    try:
        model.density.save(file)
    except OSError as error:
        notify(f"The density of codes is not kept: {error.strerror or error}.")
