"""Balances a rare class with mixes, and measures what a classifier gains.

    python examples/rare_class.py --dataset=mnist --data_dir=../shared/tfds --rare=8 --keep=20

One class keeps only a few training images. An auto-encoder (AMR, k = 2) is trained on the
unbalanced images, and its mixes of two images of the rare class are new examples of that class. A
classifier is trained four times: on the unbalanced images alone, and with repeated rare images,
pixel-space blends of two rare images, or mixes added until the class is as large as the mean of the
others. The measures are the accuracy on held-out images of the rare class, and the mean over all
classes (balanced). Each seed draws different rare images, weights and mixes.
"""

import dataclasses
import json
import pathlib

import amr_tf
import keras
import numpy as np
from absl import app, flags
from amr_tf import data as data_lib
from amr_tf.data import Split
from amr_tf.data.pipeline import steps_per_epoch
from amr_tf.figures.grids import grid_figure
from amr_tf.figures.sheet import to_uint8
from amr_tf.metrics.label_mixing import train_classifier

_DATASET = flags.DEFINE_string("dataset", "digits", "A labelled data set of amr_tf.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As of amr_tf.train.")
_RARE = flags.DEFINE_integer("rare", 8, "Number of the class that becomes rare.", lower_bound=0)
_KEEP = flags.DEFINE_integer("keep", 10, "Training images that it keeps.", lower_bound=2)
_EPOCHS = flags.DEFINE_integer("epochs", 40, "Epochs of the auto-encoder.", lower_bound=1)
_CLASSIFIER_EPOCHS = flags.DEFINE_integer("classifier_epochs", 10, "Of each classifier.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "How many times, with seeds 0, 1, ...", lower_bound=1)
_OUT = flags.DEFINE_string("out", "runs/rare_class", "Folder for results.json and rare.png.")


def make_rare(split, rare, keep, seed):
    """Returns the split with only `keep` images of class `rare`, drawn with `seed`."""
    members = np.flatnonzero(split.labels == rare)
    if keep > len(members):
        raise ValueError(f"keep = {keep} is more than the {len(members)} images of class {rare}.")
    dropped = np.random.default_rng(seed).permutation(members)[keep:]
    return split.take(np.setdiff1d(np.arange(len(split)), dropped))


def train_autoencoder(data, epochs, seed):
    """Trains AMR on all images, including the rare ones."""
    keras.utils.set_random_seed(seed)
    model = amr_tf.AMR.convolutional(data.image_shape, latent_channels=16, k=2, seed=seed)
    model.compile(amr_tf.AdamL2(5e-4), amr_tf.AdamL2(5e-4), lambda_=10.0)
    images = dataclasses.replace(data.train, labels=None)
    model.fit(
        data_lib.training_batches(images, 64, data.image_size, seed),
        steps_per_epoch=steps_per_epoch(images, 64),
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    return model


def draw_pairs(images, count, seed):
    """Draws random pairs of different images, and the share of the first in each mix."""
    generator = np.random.default_rng(seed)
    first = generator.integers(0, len(images), count)
    second = (first + generator.integers(1, len(images), count)) % len(images)
    return images[first], images[second], generator.random((count, 1, 1, 1)).astype("float32")


def more_images(model, rare_images, count, seed):
    """Makes `count` more images of the rare class, in [-1, 1], in three ways."""
    first, second, share = draw_pairs(rare_images, count, seed)
    codes = [model.encode(images) for images in (first, second)]
    return {
        "repeated": first,
        "pixel blends": share * first + (1 - share) * second,
        "mixes": np.clip(model.decode(share * codes[0] + (1 - share) * codes[1]), -1, 1),
    }


def with_more(data, images, rare):
    """Returns the data with images of the rare class added to the training split."""
    size = data.image_size
    train = np.concatenate([data_lib.preprocess(data.train.images, size).numpy(), images])
    labels = np.concatenate([data.train.labels, np.full(len(images), rare)])
    return dataclasses.replace(data, train=Split(to_uint8(train), labels))


def score(classifier, data, rare):
    """Returns the accuracy on held-out images: of the rare class, and the mean over classes."""
    images = data_lib.preprocess(np.asarray(data.test.images), data.image_size).numpy()
    right = classifier.predict(images, verbose=0).argmax(axis=-1) == data.test.labels
    by_class = [float(right[data.test.labels == label].mean()) for label in range(data.num_classes)]
    return {"rare": by_class[rare], "balanced": float(np.mean(by_class))}


def one_seed(data, rare, seed):
    """Returns the scores of the four classifiers, and up to ten images of each kind."""
    data = dataclasses.replace(data, train=make_rare(data.train, rare, _KEEP.value, seed))
    members = data.train.labels == rare
    count = (~members).sum() // (data.num_classes - 1) - members.sum()
    model = train_autoencoder(data, _EPOCHS.value, seed)
    images = np.asarray(data.train.images[np.flatnonzero(members)])
    images = data_lib.preprocess(images, data.image_size).numpy()
    added = {"nothing": images[:0], **more_images(model, images, count, seed)}
    scores = {}
    for name, new in added.items():
        classifier = train_classifier(
            with_more(data, new, rare), epochs=_CLASSIFIER_EPOCHS.value, seed=seed
        )
        scores[name] = score(classifier, data, rare)
        print(f"seed {seed}, {name}: {scores[name]}", flush=True)
    added["rare images"] = images
    return scores, {name: new[:10] for name, new in added.items() if len(new)}


def main(argv):
    del argv
    data = data_lib.load(_DATASET.value, data_dir=_DATA_DIR.value)
    if not data.num_classes or not 0 <= _RARE.value < data.num_classes:
        raise ValueError(f"rare must be the number of a class of {_DATASET.value}.")
    runs, rows = [], {}
    for seed in range(_SEEDS.value):
        scores, rows = one_seed(data, _RARE.value, seed)
        runs.append(scores)
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(runs, indent=2) + "\n")
    grid_figure(rows, f"class {_RARE.value} of {_DATASET.value}").savefig(out / "rare.png")
    print(f"\nHeld-out accuracy in per cent, mean and deviation over {len(runs)} seeds:")
    for name in runs[0]:
        texts = []
        for kind in ("rare", "balanced"):
            values = [100 * scores[name][kind] for scores in runs]
            texts.append(
                f"{kind} {np.mean(values):5.1f} ± {np.std(values, ddof=len(runs) > 1):.1f}"
            )
        print(f"  {name:13} " + ", ".join(texts))


if __name__ == "__main__":
    app.run(main)
