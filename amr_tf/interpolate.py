"""Draws interpolations between test images: python -m amr_tf.interpolate --run=runs/digits

Each pair of images is joined twice: blended in pixel space, and through the model's codes.
"""

import pathlib

import numpy as np
from absl import flags

from amr_tf import commands
from amr_tf.data import preprocess
from amr_tf.evaluation.figures import interpolation_figure
from amr_tf.training.run import load_data, load_run

_RUN = flags.DEFINE_string("run", None, "Folder of a training run.", required=True)
_OUT = flags.DEFINE_string("out", None, "PNG to write; by default interpolation.png in the run.")
_PAIRS = flags.DEFINE_integer("pairs", 4, "Pairs of images.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 9, "Images between each pair, ends included.", lower_bound=2)
_SEED = flags.DEFINE_integer("seed", 0, "Seed that draws the pairs.", lower_bound=0)


def main(argv):
    del argv
    config, model = load_run(_RUN.value)
    data = load_data(config)
    if data.image_size is None:
        raise ValueError(f"Data set '{config.dataset}' holds points; only images are drawn.")
    images = (data.test or data.validation).images
    if len(images) < 2 * _PAIRS.value:
        raise ValueError(
            f"pairs = {_PAIRS.value} needs {2 * _PAIRS.value} images of the "
            f"{len(images)} there are."
        )
    chosen = np.random.default_rng(_SEED.value).choice(len(images), 2 * _PAIRS.value, replace=False)
    left, right = np.split(preprocess(np.asarray(images[chosen]), data.image_size).numpy(), 2)
    title = f"{config.dataset}, {config.method}"
    title += f", {config.mixer} k={config.k}" if model.mixer is not None else ""
    figure = interpolation_figure(model, left, right, _STEPS.value, title)
    path = pathlib.Path(_OUT.value or pathlib.Path(_RUN.value) / "interpolation.png")
    if not path.suffix:
        path = path.with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    print(f"Drew {path}")


def run():
    """Runs the command; a script of your own calls it after registering its classes."""
    commands.run(main)


if __name__ == "__main__":
    run()
