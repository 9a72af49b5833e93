"""Trains on a folder of your own photographs in plain Keras, and exports the decoder.

    python examples/image_folder.py --images=photos --out=runs/photos

The folder holds `CLASS/*.png` (or .jpg), or loose files without classes. The model, its losses and
optimizers are those of a flagfile of `amr_tf.train`. Everything else is plain Keras: the batches
are a `tf.data.Dataset`, and the model is trained with `fit` and callbacks.
"""

import pathlib

import amr_tf
import keras
from absl import app, flags
from amr_tf.data.pipeline import steps_per_epoch
from amr_tf.figures.grids import interpolation_figure
from amr_tf.figures.held_out import draw_sample
from amr_tf.figures.looks import looks_figure
from amr_tf.runs.build import build_model
from amr_tf.runs.flagfiles import read_flagfile
from amr_tf.savedmodel.export import export_model

_IMAGES = flags.DEFINE_string("images", None, "Folder of image files.", required=True)
_OUT = flags.DEFINE_string("out", "runs/image_folder", "Folder for the results.")
_SETTINGS = flags.DEFINE_string("settings", "configs/photos64.cfg", "Flagfile of the settings.")
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Passes over the images.")


def main(argv):
    del argv
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    config = read_flagfile(_SETTINGS.value)
    keras.utils.set_random_seed(config.seed)
    data = amr_tf.data.load("image_folder", data_dir=_IMAGES.value, image_size=config.image_size)
    model = build_model(  # Already compiled; `model.compile` changes losses and optimizers.
        config, data.image_shape, data.num_classes, preprocessor=data.preprocessor
    )
    model.fit(
        amr_tf.data.training_batches(data.train, config.batch_size, data.image_size),
        steps_per_epoch=steps_per_epoch(data.train, config.batch_size),
        epochs=_EPOCHS.value,
        validation_data=amr_tf.data.evaluation_batches(data.validation, 64, data.image_size),
        callbacks=[
            keras.callbacks.ModelCheckpoint(
                out / "best.keras",
                monitor="val_reconstruction_loss",
                save_best_only=True,
            ),
            keras.callbacks.CSVLogger(out / "log.csv"),
        ],
        shuffle=False,  # The batches are already shuffled.
        verbose=2,
    )
    best = keras.saving.load_model(out / "best.keras")
    images, _ = draw_sample(data.validation, data.image_size, 8)
    half = len(images) // 2
    looks_figure(best, images[:half], images[half:]).savefig(out / "mixes.png")
    interpolation_figure(best, images[:half], images[half : 2 * half]).savefig(out / "lines.png")
    print("Exported", export_model(best, out / "decoder"))


if __name__ == "__main__":
    app.run(main)
