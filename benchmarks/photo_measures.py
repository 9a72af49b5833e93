"""Measures of reconstructions and mixes of held-out photographs, for `photos.py`."""

import math
import pathlib

import keras
import numpy as np
import tensorflow as tf
from amr_tf.metrics.extractors import extract_features
from amr_tf.metrics.image_quality import frechet_distance, precision_recall
from amr_tf.runs.precision import dtype_policy, resolved_precision
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_SSIM_WEIGHTS = np.array([0.0448, 0.2856, 0.3001])  # Wang et al. 2003, the finest three scales.
_PATCHES, _PATCH_WIDTH, _DIRECTIONS, _SMALLEST_LEVEL = 128, 7, 512, 16


def pooled_extractor(images, labels, path, epochs=12):
    """Returns a small classifier and a model of its 128 pooled features.

    The classifier is trained once and kept in a file.

    Args:
        images: training images, float32 (N, H, W, C) in [-1, 1].
        labels: class numbers (N,).
        path: path of the `.keras` file.
        epochs: number of epochs to train.
    """
    path = pathlib.Path(path)
    if not path.exists():
        with dtype_policy(resolved_precision("auto")):
            steps = epochs * math.ceil(len(images) / 64)
            classifier = _classifier(images.shape[1:], int(labels.max()) + 1, steps)
        classifier.fit(images, labels, batch_size=64, epochs=epochs, verbose=2)
        path.parent.mkdir(parents=True, exist_ok=True)
        classifier.save(path)
    classifier = keras.saving.load_model(path)
    features = classifier.get_layer("pooled").output
    return classifier, keras.Model(classifier.inputs, features, name=path.stem)


def _classifier(image_shape, classes, steps_in_all):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    steps = [
        keras.Input(image_shape),
        layers.RandomFlip("horizontal"),
        layers.RandomTranslation(0.1, 0.1, fill_mode="reflect"),
    ]
    for channels, stride in ((32, 2), (64, 1), (96, 1), (128, 1)):
        steps.append(layers.Conv2D(channels, 3, stride, padding="same", use_bias=False))
        steps += [layers.BatchNormalization(), layers.ReLU()]
        steps += [layers.MaxPooling2D(2)] if stride == 1 else []
    steps += [layers.GlobalAveragePooling2D(name="pooled", dtype="float32"), layers.Dropout(0.3)]
    last = layers.Dense(classes, dtype="float32")
    model = keras.Sequential([*steps, last], name="classifier")
    steps_made = keras.optimizers.schedules.CosineDecay(2e-3, steps_in_all)
    model.compile(
        keras.optimizers.Adam(steps_made),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def measure(originals, made, partners, extractor, labels):
    """Computes all measures of one model's images; returns a dictionary.

    Args:
        originals: held-out images (N, H, W, C) in [-1, 1].
        made: dictionary of their "reconstructions" and their mixes with their partners in equal
            parts, "mixes_k2" and "mixes_k3"; optionally "samples" of a density, "new" mixes of
            training images, and "train_codes" and "held_out_codes" for a probe.
        partners: (3, N), the indices of each image and of those that it is mixed with.
        extractor: a model of features, from `pooled_extractor`.
        labels: the labels of the training images and of the held-out images.
    """
    real = extract_features(originals, extractor)
    results = {"error": float(np.abs(originals - made["reconstructions"]).mean())}
    results["ms_ssim"] = ms_ssim(originals, made["reconstructions"])
    results["variance_held_out"] = float(real.var(axis=0).sum())  # Of features over images.
    for name in ("reconstructions", "mixes_k2", "mixes_k3", "samples", "new"):
        if name in made:
            fake = extract_features(made[name], extractor)
            results[f"fd_{name}"] = frechet_distance(real, fake)
            shares = precision_recall(real, fake)
            results |= {f"{key}_{name}": value for key, value in shares.items()}
            results[f"swd_{name}"] = sliced_distances(originals, made[name])
            results[f"fine_{name}"] = fine_energy(made[name]) / fine_energy(originals)
            results[f"variance_{name}"] = float(fake.var(axis=0).sum())
    others = originals[partners[1]]
    results["smooth_mixes_k2"] = smooth_energy(originals, made["mixes_k2"], others)
    mixed = extract_features(made["mixes_k2"], extractor)
    results["nearer_parent"] = nearer_parent(mixed, real, real[partners[1]])
    if "train_codes" in made:
        results["probe"] = probe(made["train_codes"], made["held_out_codes"], *labels)
    return results


def probe(train_codes, held_out_codes, train_labels, held_out_labels):
    """Returns the held-out accuracy of a logistic regression on standardised codes."""
    codes = [each.reshape(len(each), -1) for each in (train_codes, held_out_codes)]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return float(model.fit(codes[0], train_labels).score(codes[1], held_out_labels))


def nearer_parent(mixed, one, other):
    """Mean distance of mixes to their nearer parents, relative to the parents' distance.

    0 means that mixes are copies of a parent.
    """
    apart = np.linalg.norm(one - other, axis=1)
    near = np.minimum(*(np.linalg.norm(mixed - parent, axis=1) for parent in (one, other)))
    kept = apart > 1e-6
    return float(np.mean(near[kept] / apart[kept]))


def ms_ssim(originals, others):
    """Multi-scale structural similarity over the scales that fit: three at 64 pixels, two at 32.

    Each scale is half as wide as the previous one, and its window is 11 pixels wide.
    """
    pair = [tf.constant((images + 1) / 2, "float32") for images in (originals, others)]
    scales = int(math.log2(originals.shape[1] / 11)) + 1
    weights = _SSIM_WEIGHTS[:scales] / _SSIM_WEIGHTS[:scales].sum()
    return float(tf.reduce_mean(tf.image.ssim_multiscale(*pair, 1.0, tuple(weights))))


def sliced_distances(real, fake, seed=0):
    """Sliced Wasserstein distances of patches, times 1000, by level of a Laplacian pyramid.

    As in Karras et al. 2018, 7x7 patches at random positions of each level are normalised per
    channel and projected onto random directions.

    Returns:
        A list of floats: the distance of each level, the finest first, and their mean.
    """
    distances = []
    for ours, theirs in zip(_pyramid(real), _pyramid(fake)):
        rng = np.random.default_rng(seed)
        patches = [_patches(level, np.random.default_rng(seed + 1)) for level in (ours, theirs)]
        directions = rng.normal(size=(patches[0].shape[1], _DIRECTIONS)).astype("float32")
        directions /= np.linalg.norm(directions, axis=0)
        one, other = (np.sort(each @ directions, axis=0) for each in patches)
        distances.append(1000 * float(np.abs(one - other).mean()))
    return [*distances, float(np.mean(distances))]


def fine_energy(images):
    """Mean energy of frequencies above 3/8 of a cycle per pixel in the finest Laplacian level."""
    finest = _pyramid(images)[0]
    frequencies = np.abs(np.fft.fftfreq(finest.shape[1]))
    high = np.hypot(*np.meshgrid(frequencies, frequencies)) > 3 / 8
    return float((np.abs(np.fft.fft2(finest, axes=(1, 2))[:, high]) ** 2).mean())


def smooth_energy(layouts, images, others, kept=slice(None)):
    """Relative energy of the finest details of mixes where their layouts are smooth.

    This is the mean energy of the finest Laplacian level in the smoothest three tenths of the
    layouts' 8x8 squares, relative to that of the layouts in the colours of the others. Dots and
    lattices raise it. It is meaningful for mixes with the layout of one image and the look of
    another. `kept` are the indices of the mixes to compare.
    """
    energy = _energy_of_squares(layouts)
    smooth = (energy <= np.quantile(energy, 0.3))[kept]
    expected = np.clip(recoloured(layouts, others), -1, 1)
    mixed, usual = (_energy_of_squares(each)[kept][smooth].mean() for each in (images, expected))
    return float(mixed / usual)


def _energy_of_squares(images):
    finest = _pyramid(images)[0]
    count, height, width, _ = finest.shape
    squares = finest.reshape(count, height // 8, 8, width // 8, 8, -1)
    return (squares**2).mean(axis=(2, 4, 5))


def recoloured(images, others):
    """Gives images the mean and the standard deviation of each channel of `others`."""
    (mean, deviation), (wanted, spread) = (
        (each.mean(axis=(1, 2), keepdims=True), each.std(axis=(1, 2), keepdims=True))
        for each in (images, others)
    )
    return (images - mean) / np.maximum(deviation, 1e-6) * spread + wanted


_BLUR = np.outer(*2 * [np.array([1, 4, 6, 4, 1], "float32") / 16])


def _blur(images, gain=1.0):
    channels = images.shape[-1]
    kernel = np.repeat(gain * _BLUR[:, :, None, None], channels, axis=2)
    padded = tf.pad(images, [[0, 0], [2, 2], [2, 2], [0, 0]], "REFLECT")
    return tf.nn.depthwise_conv2d(padded, kernel, [1, 1, 1, 1], "VALID").numpy()


def _pyramid(images):
    """Returns the Laplacian levels of images, the finest first and the remaining image last."""
    levels, current = [], np.asarray(images, "float32")
    while current.shape[1] > _SMALLEST_LEVEL:
        smaller = _blur(current)[:, ::2, ::2]
        enlarged = np.zeros_like(current)
        enlarged[:, ::2, ::2] = smaller
        levels.append(current - _blur(enlarged, 4.0))
        current = smaller
    return [*levels, current]


def _patches(images, rng):
    """Draws normalised patches, (patches, values); the positions depend only on `rng` and shape."""
    count, height, width, channels = images.shape
    which = np.repeat(np.arange(count), _PATCHES)
    rows = rng.integers(0, height - _PATCH_WIDTH + 1, len(which))[:, None, None]
    columns = rng.integers(0, width - _PATCH_WIDTH + 1, len(which))[:, None, None]
    steps = np.arange(_PATCH_WIDTH)
    patches = images[which[:, None, None], rows + steps[None, :, None], columns + steps]
    flat = patches.reshape(-1, channels)
    patches = (patches - flat.mean(axis=0)) / flat.std(axis=0)
    return patches.reshape(len(which), -1)
