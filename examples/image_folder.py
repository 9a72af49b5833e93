"""Trains on a folder of your own images, looks at the mixes, and exports the decoder.

    python examples/image_folder.py --images=photos --out=runs/photos

The folder holds `CLASS/*.png` (or .jpg), or loose files without classes. Everything here is plain
Keras: the batches are a tf.data.Dataset, the model takes `compile`, `fit` and callbacks.
"""

import pathlib

import amr_tf
import keras
import numpy as np
from absl import app, flags
from amr_tf import data as data_lib
from amr_tf.data.pipeline import steps_per_epoch
from amr_tf.figures.grids import interpolation_figure, sample_figure
from amr_tf.savedmodel.export import export_model

_IMAGES = flags.DEFINE_string("images", None, "Folder of image files.", required=True)
_OUT = flags.DEFINE_string("out", "runs/image_folder", "Folder for the results.")
_SIZE = flags.DEFINE_integer("size", 32, "Width in pixels to which images are resized.")
_EPOCHS = flags.DEFINE_integer("epochs", 20, "Passes over the images.")
_BATCH = flags.DEFINE_integer("batch_size", 32, "Images per step.")


def main(argv):
    del argv
    keras.utils.set_random_seed(0)
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    data = data_lib.load("image_folder", data_dir=_IMAGES.value, image_size=_SIZE.value)
    model = amr_tf.AMR.convolutional(
        data.image_shape, latent_channels=8, num_classes=data.num_classes, k=2, seed=0
    )
    model.preprocessor = data.preprocessor  # Saved with it, for files later.
    model.compile(lambda_=20.0)
    model.fit(
        data_lib.training_batches(data.train, _BATCH.value, data.image_size, seed=0),
        steps_per_epoch=steps_per_epoch(data.train, _BATCH.value),
        epochs=_EPOCHS.value,
        validation_data=data_lib.evaluation_batches(data.validation, 64, data.image_size),
        callbacks=[
            keras.callbacks.ModelCheckpoint(
                out / "best.keras",
                monitor="val_reconstruction_loss",
                mode="min",
                save_best_only=True,
            ),
            keras.callbacks.CSVLogger(out / "log.csv"),
        ],
        shuffle=False,  # The batches are shuffled already.
        verbose=2,
    )
    best = keras.saving.load_model(out / "best.keras")
    held_out = data.validation.images[:8]
    images = data_lib.preprocess(np.asarray(held_out), data.image_size).numpy()
    sample_figure(best, images).savefig(out / "mixes.png")
    half = len(images) // 2
    interpolation_figure(best, images[:half], images[half : 2 * half]).savefig(out / "lines.png")
    print("Exported", export_model(best, out / "decoder"))


if __name__ == "__main__":
    app.run(main)
