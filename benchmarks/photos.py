"""Recipes and opponents on photographs: equal time or steps, figures and grids of held-out images.

    python benchmarks/photos.py --data_dir=../shared/photos/flowers --minutes=10 --out=runs/photos
    python benchmarks/photos.py --data_dir=... --steps=700 --recipes=residual --flags="--seed=1"

Every recipe is a line of flags of `amr_tf.train`. Results are written after each as JSON and PNG.
"""

import argparse
import json
import pathlib
import shlex
import sys
import time

import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from photo_measures import measure, pooled_extractor

import amr_tf
from amr_tf.data import prepared
from amr_tf.training.build import build_model
from amr_tf.training.config import TrainingConfig
from amr_tf.training.flagfiles import config_from_flags, define_flags, expand_flagfiles

RECIPES = {
    "residual": "--flagfile=configs/photos64.cfg",
    "bernoulli": "--flagfile=configs/photos64.cfg --mixer=bernoulli(probability='element')",
    "convolutional": "--image_size=64 --architecture=convolutional(latent_channels=64) "
    "--lambda=50 --precision=mixed_bfloat16",
    "ae_gan": "--image_size=64 --architecture=convolutional(latent_channels=64) --method=ae_gan "
    "--lambda=50 --precision=mixed_bfloat16",
}


def config_of(flags):
    """The `TrainingConfig` of flags of `amr_tf.train`."""
    from absl import flags as absl_flags

    values = absl_flags.FlagValues()
    define_flags(TrainingConfig, values)
    rest = values(["photos", *expand_flagfiles(flags)])
    if len(rest) > 1:
        raise ValueError(f"No flag: {rest[1]}")
    return config_from_flags(TrainingConfig, flag_values=values)


class StopAfter(keras.callbacks.Callback):
    """Stops after so many minutes or steps, whichever comes first, and shows how it goes."""

    def __init__(self, minutes, steps, show):
        super().__init__()
        self.minutes, self.steps, self.show, self.start, self.seconds = (
            minutes,
            steps,
            show,
            None,
            0.0,
        )

    def on_train_batch_end(self, batch, logs=None):
        if self.start is None:
            self.start = time.time()  # Behind the first step, in which the graph is traced.
        self.seconds = time.time() - self.start
        made = self.model.steps_made
        if made % 100 == 0:
            shown = {name: round(float(value), 3) for name, value in (logs or {}).items()}
            print(made, round(self.seconds), shown, flush=True)
            self.model.use_averages(True)
            self.show(self.model)
            self.model.use_averages(False)
            self.start += time.time() - self.start - self.seconds  # Showing costs no time.
        late = self.minutes is not None and self.seconds > 60 * self.minutes
        if late or made == self.steps:
            self.model.stop_training = True


def batches(images, labels, batch_size, seed):
    """Endless shuffled batches, of which half of the images are mirrored."""
    data = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed).repeat()

    def mirrored(image, label):
        return tf.image.random_flip_left_right(image), label

    return data.map(mirrored).batch(batch_size, drop_remainder=True).prefetch(2)


def train(flags, train_images, train_labels, minutes, steps, show):
    """A model trained by a recipe, and what its training took."""
    config = config_of(flags)
    keras.utils.set_random_seed(config.seed)
    model = build_model(config, train_images.shape[1:], int(train_labels.max()) + 1)
    stop = StopAfter(minutes, steps, show)
    data = batches(train_images, train_labels, config.batch_size, config.seed)
    model.fit(data, epochs=1, steps_per_epoch=10**6, callbacks=[stop], verbose=0)
    return model, {"steps": model.steps_made, "seconds": round(stop.seconds)}


def decoded(model, images, partners):
    """Reconstructions, and mixes of k = 2 and 3 images in equal parts."""
    codes = model.encode(images)
    mixes = {}
    for k in (2, 3):
        mixes[k] = model.decode(mixed_codes(model, codes[partners[:k]]))
    made = model.decode(codes), mixes
    return np.clip(made[0], -1, 1), {k: np.clip(each, -1, 1) for k, each in mixes.items()}


def mixed_codes(model, parents):
    """Equal parts of parents (k, N, ...) as the model's mixer makes them."""
    k, count = parents.shape[:2]
    mixer = model.mixer
    if isinstance(mixer, amr_tf.BernoulliMixup):  # Each map from a parent, all equally often.
        rng = np.random.default_rng(0)
        maps = parents.shape[-1]
        order = np.argsort(rng.random((count, maps)), axis=1) % k
        one_hot = (order[None] == np.arange(k)[:, None, None]).astype("float32")
        return (parents * one_hot[:, :, None, None]).sum(axis=0)
    if hasattr(mixer, "mix_equally"):
        return mixer.mix_equally(parents)
    return parents.mean(axis=0)


def grid(originals, reconstructions, mixes, partners, count=10, factor=2):
    """Rows: originals, reconstructions, mixes with the next image, pixel blends."""
    chosen = np.arange(count)
    blends = originals[partners[:2]].mean(axis=0)
    rows = [originals[chosen], reconstructions[chosen], mixes[2][chosen], blends[chosen]]
    rows.insert(3, mixes[3][chosen])
    image = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    pixels = np.uint8(np.clip((image + 1) * 127.5, 0, 255))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def save_png(path, pixels):
    tf.io.write_file(str(path), tf.io.encode_png(pixels))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--flags", default="", help="added to each recipe")
    parser.add_argument("--name", default="", help="added to the names of results")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--out", default="runs/photos")
    return parser.parse_args()


def main():
    options = arguments()
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    data = amr_tf.data.load(
        "image_folder",
        data_dir=options.data_dir,
        image_size=options.image_size,
        validation_fraction=0.1,
        seed=0,
    )
    pictures, labels = (
        [prepared(split, slice(None), data.image_size) for split in (data.train, data.validation)],
        [np.asarray(split.labels) for split in (data.train, data.validation)],
    )
    held_out = pictures[1][np.random.default_rng(0).permutation(len(pictures[1]))]
    partners = np.stack([np.roll(np.arange(len(held_out)), -shift) for shift in range(3)])
    trained = {}
    for name in filter(None, options.recipes.split(",")):
        path = out / f"{name}{options.name}"

        def show(model, path=path):
            made = decoded(model, held_out[:64], partners[:, :64] % 64)
            save_png(f"{path}.png", grid(held_out[:64], *made, partners[:, :64] % 64))
            print("error", np.abs(held_out[:64] - made[0]).mean(), flush=True)

        flags = shlex.split(RECIPES[name].replace("'", "\\'")) + shlex.split(options.flags)
        model, took = train(flags, pictures[0], labels[0], options.minutes, options.steps, show)
        show(model)
        model.save(f"{path}.keras")
        trained[path] = model, {"recipe": name, "flags": flags, **took}
    classifier, extractor = pooled_extractor(
        pictures[0], labels[0], out / f"classifier-{options.image_size}.keras"
    )
    accuracy = classifier.evaluate(pictures[1], labels[1], verbose=0)[1]
    print(f"classifier's held-out accuracy {accuracy:.3f}", flush=True)
    others = pictures[0][np.random.default_rng(1).permutation(len(pictures[0]))[: len(held_out)]]
    blends = {k: held_out[partners[:k]].mean(axis=0) for k in (2, 3)}
    floor = measure(held_out, others, blends, partners, extractor)
    report(out / "pixels.json", {"recipe": "other pictures; blends of pixels", **floor})
    for path, (model, took) in trained.items():
        results = measure(held_out, *decoded(model, held_out, partners), partners, extractor)
        report(path.with_name(f"{path.name}.json"), {**took, **results})


def report(path, results):
    path.write_text(json.dumps(results, indent=2) + "\n")
    print({k: round(v, 3) if isinstance(v, float) else v for k, v in results.items()}, flush=True)


if __name__ == "__main__":
    main()
