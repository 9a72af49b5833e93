r"""Trains `configs/photos64.cfg` from scratch with changes, and measures its mixes at some steps.

    PYTHONPATH=benchmarks python docs/results/photos/trials/long.py \
      OUT DATA_DIR CLASSIFIER.keras SECONDS NAME [CHANGE ...]

stops after so many seconds. A CHANGE is a flag, or `recolour=0.5` (so many of the training images
get the colours of others, as in `photos_remix.py`), `jitter` (random brightness, contrast,
saturation and hue), `colours=4` (the discriminator sees differences between channels so much
larger) or `cosine=10500` (both learning rates fall to 0 over so many steps). `batch=64` changes the
size of batches. The averaged weights are left in float16 files.
"""

import json
import math
import pathlib
import sys
import time

BEGIN = time.time()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import photo_measures  # noqa: E402
import photos  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import ops  # noqa: E402

from amr_tf.augmentation import ImageAugmentation  # noqa: E402
from amr_tf.layers import DetailGain  # noqa: E402
from amr_tf.metrics.extractors import extract_features  # noqa: E402
from amr_tf.metrics.image_quality import frechet_distance  # noqa: E402
from amr_tf.runs.build import build_model  # noqa: E402

out, data_dir, classifier, seconds, name, *given = sys.argv[1:]
flags = ["--flagfile=configs/photos64.cfg", *(each for each in given if each.startswith("--"))]
changes = dict(each.partition("=")[::2] for each in given if not each.startswith("--"))
MEASURED = (1728, 3513, 7000, 10500)
LONGER = 0.9998

train_images, train_labels, held_out, _, partners = photos.pictures_of(data_dir, 64)
_, extractor = photo_measures.pooled_extractor(train_images, train_labels, classifier)
real = extract_features(held_out, extractor)
fine = photo_measures.fine_energy(held_out)


def seen_in_colours(layer, images, plain=DetailGain.call):
    grey = ops.mean(images, axis=-1, keepdims=True)
    return plain(layer, grey + float(changes["colours"]) * (images - grey))


def recoloured(images, labels):
    """Some images of a batch with the mean and the deviation of each channel of their neighbour."""
    mean, variance = tf.nn.moments(images, (1, 2), keepdims=True)
    deviation = tf.sqrt(variance + 1e-4)
    changed = (images - mean) / deviation * tf.roll(deviation, 1, 0) + tf.roll(mean, 1, 0)
    chosen = tf.random.uniform((len(images), 1, 1, 1)) < float(changes["recolour"])
    return tf.where(chosen, tf.clip_by_value(changed, -1, 1), images), labels


class Course(keras.callbacks.Callback):
    """A second average, of every eighth step, learning rates that fall, measurements."""

    longer, made = None, 0

    def on_train_begin(self, logs=None):
        self.weights = self.model.encoder.weights + self.model.decoder.weights
        self.longer = [tf.Variable(weight) for weight in self.weights]
        players = self.model.autoencoder_optimizer, self.model.discriminator_optimizer
        self.optimizers = [(each, float(each.learning_rate)) for each in players]

        @tf.function
        def average(share):
            for mean, weight in zip(self.longer, self.weights):
                mean.assign_add(share * (weight - mean))

        self.average = average

    def on_train_batch_end(self, batch, logs=None):
        self.made += 1
        made = self.made
        if made == 1:
            print(f"{name}: first step after {time.time() - BEGIN:.0f} s", flush=True)
        if made % 8 == 0:
            self.average(tf.constant(1 - min(LONGER**8, made / (made + 80))))
        if "cosine" in changes and made % 25 == 0:
            done = min(made / float(changes["cosine"]), 1.0)
            for optimizer, rate in self.optimizers:
                optimizer.learning_rate = max(rate * (1 + math.cos(math.pi * done)) / 2, 1e-7)
        late = time.time() - BEGIN > float(seconds)
        if made in MEASURED or late:
            self.measure(made, late)
        self.model.stop_training = late or made == MEASURED[-1]

    def measure(self, made, last):
        model, begin = self.model, time.time()
        seen = (("raw", False), ("averages", True))
        for caption, averages in seen if last or made == MEASURED[-1] else seen[1:]:
            model.use_averages(averages)
            self.report(made, caption)
            model.use_averages(False)
        raw = [weight.numpy() for weight in self.weights]
        for weight, mean in zip(self.weights, self.longer):
            weight.assign(mean)
        self.report(made, "longer")
        for weight, value in zip(self.weights, raw):
            weight.assign(value)
        print(f"{name}: measured in {time.time() - begin:.0f} s", flush=True)

    def report(self, made, caption):
        model = self.model
        images = photos.decoded(model, held_out, partners)
        codes = images["held_out_codes"]
        row = {"name": name, "given": given, "steps": made, "weights": caption}
        row["seconds"] = round(time.time() - BEGIN)
        row["error"] = float(np.abs(held_out - images["reconstructions"]).mean())
        for key in ("reconstructions", "mixes_k2", "mixes_k3"):
            features = extract_features(images[key], extractor)
            row[f"fd_{key}"] = frechet_distance(real, features)
            row[f"fine_{key}"] = photo_measures.fine_energy(images[key]) / fine
            if key == "mixes_k2":
                row["nearer"] = photo_measures.nearer_parent(features, real, real[partners[1]])
        if model.mixer is not None and model.mixer.mixes_looks:
            contrast, model.mixer.contrast = model.mixer.contrast, 0.1 - model.mixer.contrast
            mixes = np.clip(
                model.decode(photos.mixed_codes(model.mixer, codes, partners[:2])), -1, 1
            )
            model.mixer.contrast = contrast
            row["fd_other_contrast"] = frechet_distance(real, extract_features(mixes, extractor))
        path = pathlib.Path(out) / f"{name}_{made}_{caption}"
        pixels = tf.io.encode_jpeg(photos.grid(held_out, images, partners, 16, 1), quality=95)
        tf.io.write_file(f"{path}.jpg", pixels)
        with (pathlib.Path(out) / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        halves = [weight.numpy().astype("float16") for weight in self.weights]
        np.savez(pathlib.Path(out) / f"{name}_{caption}.npz", *halves)
        shown = {key: round(row[key], 3) for key in ("error", "fd_mixes_k2", "fd_mixes_k3")}
        shown["fine"] = round(row["fine_mixes_k2"], 2)
        print(name, made, caption, row["seconds"], shown, flush=True)


if "colours" in changes:
    DetailGain.call = seen_in_colours
config = photos.config_of(flags).replace(precision="float32")
if "batch" in changes:
    config = config.replace(batch_size=int(changes["batch"]))
keras.utils.set_random_seed(config.seed)
model = build_model(config, train_images.shape[1:], int(train_labels.max()) + 1)
data = photos.batches(train_images, train_labels, config.batch_size, config.seed)
with tf.device("CPU:0"):
    if "recolour" in changes:
        data = data.map(recoloured)
    if "jitter" in changes:
        jitter = ImageAugmentation(None, 0.0, 0.2, 0.4, 0.5, 0.1, seed=0)
        jitter.build((None, 64, 64, 3))
        data = data.map(lambda images, labels: (jitter(images, training=True), labels))
model.fit(data, epochs=1, steps_per_epoch=10**6, shuffle=False, callbacks=[Course()], verbose=0)
