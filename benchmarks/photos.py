"""Recipes and opponents on photographs: equal time, figures and grids of held-out images.

    python -m venv runs/pythae && runs/pythae/bin/pip install pythae torch
    python benchmarks/photos.py --data_dir=../shared/photos/flowers --minutes=10 \
      --pythae=runs/pythae/bin/python --out=runs/photos
    python benchmarks/photos.py --dataset=cifar10 --data_dir=../shared/tfds --image_size=32 \
      --train_subset=10000 --minutes=10 --pythae=runs/pythae/bin/python --out=runs/photos32

trains models in turn, measures all on the same held-out images, and writes a table, and a JSON file
and a grid for each. A recipe is a line of flags of `amr_tf.train`; `--flags` are added to each. On
a machine that does other work, `--clock=cpu` counts the processor time of each training, divided by
the number of threads, instead of the elapsed time.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import amr_tf
import keras
import numpy as np
import tensorflow as tf
from absl import flags as absl_flags
from amr_tf.data import prepared
from amr_tf.runs.build import build_model
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.flagfiles import config_from_flags, define_flags, expand_flagfiles

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from photo_clocks import CLOCKS
from photo_measures import measure, pooled_extractor

_ALL_MIXES = ["--method=amr(adversarial_weight=0.2, mix_weight=3.0, real_weight=4.0)"]
_NO_BLUR = [*_ALL_MIXES, "--architecture=residual(blur=False)"]
# The flags by which each recipe differs from `configs/photos64.cfg` (or photos32.cfg, ...).
_CHANGES = {
    "residual": [],
    "light_mixes": ["--method=amr(adversarial_weight=0.5, mix_weight=1.0, real_weight=2.0)"],
    "no_mixes": ["--method=ae_gan", "--mixer=none", "--look_matching=0"],
    "no_looks": ["--look_matching=0"],
    "all_mixes": _ALL_MIXES,  # Mixes stay in the adversarial losses to the end.
    "no_blur": _NO_BLUR,
    "own_scales": [*_NO_BLUR, "--mixer=style(shared_scale=False)"],
    "earlier": [
        "--batch_size=64",
        "--look_matching=0",
        "--mixer=style(contrast=0, shared_scale=False)",
        *_NO_BLUR,
    ],
    "no_features": ["--feature_matching=0"],
    "no_averages": ["--ema=0"],
    "no_augmentation": [
        "--discriminator_augmentation=diff_augment(brightness=0, "
        "saturation=0, contrast=0, translation=0, cutout=0)",
    ],
    "relativistic": ["--method=amr(adversarial_weight=0.2, mix_weight=3.0, relativistic=True)"],
    "crossentropy": ["--gan_loss=binary_crossentropy"],
    "float32": ["--precision=float32"],
    "bernoulli": ["--mixer=bernoulli(probability='element')"],
    "bernoulli_groups": ["--mixer=bernoulli(probability='element', group_size=4)"],
    "mixup": ["--mixer=mixup"],
    "spherical": ["--mixer=spherical"],
    "learned": ["--mixer=learned"],
    "attention": ["--architecture=residual(attention=8)"],
    "small_codes": ["--architecture=residual(latent_width=4, latent_channels=64)"],
}
# The paper's methods, with codes 4x4xC as large as the others: a twelfth of the image's numbers.
_PAPERS = {"convolutional": [], "ae_gan": ["--method=ae_gan"]}
_ROWS = ("recipe", "steps", "error", "ms_ssim", "fd_reconstructions", "fd_mixes_k2", "fd_mixes_k3")
_ROWS += ("precision_mixes_k2", "recall_mixes_k2", "swd_mixes_k2", "nearer_parent", "probe")


def recipe(name, image_size):
    """Returns the flags of a recipe."""
    if name in _CHANGES:
        return [f"--flagfile=configs/photos{image_size}.cfg", *_CHANGES[name]]
    architecture = f"--architecture=convolutional(latent_channels={image_size**2 // 64})"
    settings = ["--lambda=50", "--batch_size=64", "--precision=auto"]
    return [architecture, *settings, *_PAPERS[name]]


def config_of(flags):
    """Returns the `TrainingConfig` for flags of `amr_tf.train`."""
    values = absl_flags.FlagValues()
    define_flags(TrainingConfig, values)
    rest = values(["photos", *expand_flagfiles(flags)])
    if len(rest) > 1:
        raise ValueError(f"No flag: {rest[1]}")
    return config_from_flags(TrainingConfig, flag_values=values)


class Budgets(keras.callbacks.Callback):
    """Keeps results after each budget of minutes; stops after the last budget or at a step."""

    def __init__(self, minutes, steps, keep, show, clock=time.time):
        super().__init__()
        self.minutes, self.steps, self.clock = sorted(minutes), steps, clock
        self.keep, self.show = keep, show
        self.start, self.seconds = None, 0.0

    def on_train_batch_end(self, batch, logs=None):
        if self.start is None:
            self.start = self.clock()  # Does not count the first step, which traces the graph.
        self.seconds = self.clock() - self.start
        made = self.model.steps_made
        if made % 100 == 0:
            shown = {name: round(float(value), 3) for name, value in (logs or {}).items()}
            print(made, round(self.seconds), shown, flush=True)
            self._aside(self.show)
        if self.seconds > 60 * self.minutes[0] or made == self.steps:
            took = {"steps": made, "seconds": round(self.seconds)}
            self._aside(lambda model: self.keep(model, self.minutes[0], took))
            self.minutes = [] if made == self.steps else self.minutes[1:]
            self.model.stop_training = not self.minutes

    def _aside(self, function):
        """Calls a function with the model's averaged weights, without counting the time."""
        self.model.use_averages(True)
        function(self.model)
        self.model.use_averages(False)
        self.start += self.clock() - self.start - self.seconds


def batches(images, labels, batch_size, seed):
    """Returns endless shuffled batches; each image is mirrored with probability 1/2."""
    with tf.device("CPU:0"):  # Leaves the GPU's memory to the model.
        data = tf.data.Dataset.from_tensor_slices((images, labels))
    data = data.shuffle(len(images), seed).repeat()

    def mirrored(image, label):
        return tf.image.random_flip_left_right(image), label

    return data.map(mirrored).batch(batch_size, drop_remainder=True).prefetch(2)


def train(config, train_images, train_labels, *budgets):
    """Trains a model of a `TrainingConfig`; `Budgets` keeps its results."""
    keras.utils.set_random_seed(config.seed)
    model = build_model(config, train_images.shape[1:], int(train_labels.max()) + 1)
    stop = Budgets(*budgets)
    data = batches(train_images, train_labels, config.batch_size, config.seed)
    model.fit(data, epochs=1, steps_per_epoch=10**6, shuffle=False, callbacks=[stop], verbose=0)


def decoded(model, images, partners):
    """Returns reconstructions and mixes of 2 and 3 images in equal parts, clipped, and codes."""
    codes = model.encode(images)
    made = {"reconstructions": model.decode(codes), "held_out_codes": codes}
    for k in (2, 3):
        made[f"mixes_k{k}"] = model.decode(mixed_codes(model.mixer, codes, partners[:k]))
    return {key: value if "codes" in key else np.clip(value, -1, 1) for key, value in made.items()}


def all_of(model, pictures):
    """Returns everything to measure: that of `decoded`, training codes, samples and new mixes."""
    train_images, _, held_out, _, partners = pictures
    made = decoded(model, held_out, partners)
    made["train_codes"] = model.encode(train_images)
    model.fit_density(train_images)
    made["samples"] = np.clip(model.sample(len(held_out), seed=0), -1, 1)
    model.density = None
    if model.mixer is not None:  # New mixes as `amr sample` draws them.
        chosen = np.random.default_rng(2).permutation(len(train_images))[: len(held_out)]
        made["new"] = np.clip(model.mix(train_images[chosen], seed=0), -1, 1)
    return made


def mixed_codes(mixer, codes, permutations):
    """Mixes codes in equal parts with a mixer.

    `BernoulliMixup` takes equally many groups of maps from each image. `StyleMixup` takes the
    layout from the first image (or the first two in equal parts) and the look from the last. Other
    mixers, and None, weigh all codes equally.
    """
    k, count = permutations.shape
    stack = np.moveaxis(codes[permutations], 0, 1)
    if isinstance(mixer, amr_tf.BernoulliMixup):
        groups = np.arange(codes.shape[-1]) // mixer.group_size
        order = np.argsort(np.random.default_rng(0).random((count, groups[-1] + 1)), axis=1) % k
        parts = np.moveaxis(np.eye(k, dtype="float32")[order[:, groups]], 2, 1)[:, :, None, None]
    elif isinstance(mixer, amr_tf.StyleMixup):
        parts = np.zeros((count, k, 1, 1, 2), "float32")
        parts[:, :-1, ..., 0] = 1 / (k - 1)
        parts[:, -1, ..., 1] = 1
    else:
        parts = np.full((count, k) + (1,) * (codes.ndim - 1), 1 / k, "float32")
    if mixer is None:
        return (stack * parts).sum(axis=1)
    return np.asarray(mixer.combine(stack, mixer.weigh(stack, parts)))


def grid(originals, made, partners, count=10, factor=2):
    """Draws rows: originals, reconstructions, mixes of 2 and of 3, and blends of pixels of 2."""
    rows = [originals, made["reconstructions"], made["mixes_k2"], made["mixes_k3"]]
    rows.append(originals[partners[:2]].mean(axis=0))
    image = np.concatenate([np.concatenate(list(row[:count]), axis=1) for row in rows])
    pixels = np.uint8(np.clip((image + 1) * 127.5, 0, 255))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def save_png(path, pixels):
    tf.io.write_file(str(path), tf.io.encode_png(pixels))


def pictures_of(data_dir, image_size, dataset="image_folder", train_subset=None):
    """Returns training images and labels, held-out images and labels, and the mixes' partners.

    A tenth of the training images is held out; with a subset, a tenth of its number.
    """
    data = amr_tf.data.load(dataset, data_dir, image_size, 0.1, train_subset, seed=0)
    parts = [
        (prepared(split, slice(None), data.image_size), np.asarray(split.labels))
        for split in (data.train, data.validation)
    ]
    order = np.random.default_rng(0).permutation(len(parts[1][0]))
    order = order[: None if train_subset is None else train_subset // 10]
    held_out, labels = (array[order] for array in parts[1])
    partners = np.stack([np.roll(np.arange(len(order)), -shift) for shift in range(3)])
    return (*parts[0], held_out, labels, partners)


def ours(name, options, pictures, path):
    """Trains a recipe; returns a path, the images of `all_of`, and settings for each budget."""
    train_images, train_labels, held_out, _, partners = pictures
    few = held_out[:64], partners[:, :64] % 64
    flags = recipe(name, options.image_size) + list(filter(None, options.flags.split(";")))
    config = config_of(flags)
    resolved = config.resolve()  # Recorded, because defaults may change later.
    chosen = {key: getattr(resolved, key) for key in ("architecture", "method", "mixer")}
    kept = []

    def show(model):
        made = decoded(model, *few)
        save_png(f"{path}.png", grid(few[0], made, few[1]))
        error = np.abs(few[0] - made["reconstructions"]).mean()
        print(f"error of 64 held-out images {error:.4f}", flush=True)

    def keep(model, minutes, took):
        where = path.with_name(f"{path.name}_{minutes:g}min")
        kept.append((where, all_of(model, pictures), {"flags": flags, **chosen, **took}))
        model.save(f"{where}.keras")

    given = options.minutes, options.steps, keep, show, CLOCKS[options.clock]
    train(config, train_images, train_labels, *given)
    return kept


def saved(name, options, pictures, path):
    """Returns the same as `ours` for a model that is already trained."""
    model = keras.saving.load_model(name)
    where = pathlib.Path(options.out) / f"{pathlib.Path(name).stem}{options.name}"
    if where.with_name(f"{where.name}.json").exists():
        raise ValueError(f"{where}.json exists; choose another --name or --out.")
    return [(where, all_of(model, pictures), {"steps": model.steps_made})]


def theirs(name, options, pictures, path):
    """Yields the same as `ours` for one of pythae's models, which trains anew for each budget."""
    file = path.with_name("pictures.npz")
    np.savez(file, train=pictures[0], held_out=pictures[2], partners=pictures[4])
    script = pathlib.Path(__file__).with_name("photos_pythae.py")
    for minutes in options.minutes:
        where = path.with_name(f"{path.name}_{minutes:g}min")
        given = [file, name, f"{where}.npz", minutes, options.steps, options.clock]
        subprocess.run([options.pythae, script, *map(str, given)], check=True)
        made = dict(np.load(f"{where}.npz"))
        yield where, made, {key: int(made.pop(key)) for key in ("steps", "seconds")}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="image_folder")
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--train_subset", type=int)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--recipes", default="residual,convolutional,ae_gan")
    parser.add_argument("--saved", default="", help=".keras files to measure as they are")
    parser.add_argument("--flags", default="", help="added to each recipe, with ; between them")
    parser.add_argument("--name", default="", help="added to the names of results")
    parser.add_argument("--pythae", help="the Python of an environment with pythae and torch")
    parser.add_argument("--models", default="ae,vae,vaegan,rae", help="pythae's")
    minutes = lambda text: [float(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--minutes", type=minutes, default=[10.0], help="10,60 measures at both")
    parser.add_argument("--steps", type=int, default=10**6)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--out", default="runs/photos")
    return parser.parse_args()


def main():
    options = arguments()
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    pictures = pictures_of(
        options.data_dir, options.image_size, options.dataset, options.train_subset
    )
    train_images, train_labels, held_out, labels, partners = pictures
    jobs = [(name, ours) for name in filter(None, options.recipes.split(","))]
    jobs += [(name, saved) for name in filter(None, options.saved.split(","))]
    jobs += [(name, theirs) for name in options.models.split(",") if options.pythae]
    trained = {}
    for name, job in jobs:  # Trains all models first, so that measuring does not affect them.
        path = out / f"{'pythae_' if job is theirs else ''}{name}{options.name}"
        for where, made, took in job(name, options, pictures, path):
            trained[where] = made, took
            save_png(f"{where}.png", grid(held_out, made, partners))
    classifier, extractor = pooled_extractor(
        train_images, train_labels, out / f"classifier-{options.image_size}.keras"
    )
    accuracy = classifier.evaluate(held_out, labels, verbose=0)[1]
    print(f"The classifier's held-out accuracy: {accuracy:.3f}", flush=True)
    chosen = np.random.default_rng(1).permutation(len(train_images))[: len(held_out)]
    pixels = {f"mixes_k{k}": held_out[partners[:k]].mean(axis=0) for k in (2, 3)}
    trained[out / "pixels"] = {"reconstructions": train_images[chosen], **pixels}, {}
    table = []
    for path, (made, took) in trained.items():
        results = measure(held_out, made, partners, extractor, (train_labels, labels))
        results = {"recipe": path.name, **took, **results}
        path.with_name(f"{path.name}.json").write_text(json.dumps(results, indent=2) + "\n")
        table.append([_shown(results.get(name)) for name in _ROWS])
    lines = [" | ".join(row) for row in (_ROWS, ["---"] * len(_ROWS), *table)]
    text = "\n".join(f"| {line} |" for line in lines) + "\n"
    (out / "table.md").write_text(text)
    print(text)


def _shown(value):
    if isinstance(value, list):
        return f"{value[-1]:.1f}"
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
