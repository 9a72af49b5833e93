"""Tests with an independent classifier whether mixes have the label they are conditioned on."""

import math
from typing import Any

import keras
import numpy as np

from amr_tf import losses
from amr_tf.data import ImageData, Split, evaluation_batches, training_batches
from amr_tf.data.pipeline import steps_per_epoch
from amr_tf.models.base import ResynthesisModel
from amr_tf.types import Tensor

_EPOCHS, _STEPS = 5, 400  # By default, the classifier is trained for at least this many.


def train_classifier(
    data: ImageData, epochs: int | None = None, batch_size: int = 64, seed: int = 0
) -> keras.Model:
    """Trains a small convolutional classifier of real images.

    Unknown labels (-1) are left out. The global random state is not changed.

    Args:
        data: labelled `ImageData`.
        epochs: number of passes over the labelled training images; None for 5 epochs and at least
            400 steps.
        batch_size: number of images per step, or all images if there are fewer.
        seed: seed of the weights and the order of images.

    Returns:
        A compiled `keras.Model` from images to logits (N, classes), with an "accuracy" metric.

    Raises:
        ValueError: the data have no labels, or none of them is known.
    """
    if data.num_classes is None or data.train.labels is None:
        raise ValueError(f"A classifier needs labels; data set '{data.name}' has none.")
    split = _labelled(data.train)
    if not len(split):
        raise ValueError(
            f"A classifier needs labels; no training image of data set '{data.name}' has one."
        )
    batch_size = min(batch_size, len(split))
    steps = steps_per_epoch(split, batch_size)
    epochs = max(_EPOCHS, math.ceil(_STEPS / steps)) if epochs is None else epochs
    classifier = _convolutional_classifier(data.image_shape, data.num_classes, seed)
    if data.multi_label:
        classifier.compile("adam", _known_crossentropy, metrics=[_KnownAccuracy()])
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        metric = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        classifier.compile("adam", loss, metrics=[metric])
    classifier.fit(
        training_batches(split, batch_size, data.image_size, seed),
        steps_per_epoch=steps,
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    return classifier


def _labelled(split: Any) -> Any:
    """Returns the images with at least one known label."""
    known = (np.reshape(split.labels, (len(split), -1)) >= 0).any(axis=1)
    return split if known.all() else split.take(np.flatnonzero(known))


def _convolutional_classifier(
    image_shape: tuple[int, ...], num_classes: int, seed: int
) -> keras.Sequential:
    # Without explicit seeds, layers would draw them from the global random state.
    seeds = iter(np.random.SeedSequence(seed).generate_state(8) // 2)

    def kernel() -> keras.Initializer:
        return keras.initializers.GlorotUniform(seed=int(next(seeds)))

    layers = [keras.Input(image_shape)]
    for filters in (32, 64, 128):
        layers += [
            keras.layers.Conv2D(
                filters, 3, padding="same", activation="relu", kernel_initializer=kernel()
            ),
            # With Keras' momentum of 0.99, statistics would take hundreds of steps to converge.
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.MaxPooling2D(2),
        ]
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.3, seed=int(next(seeds)))]
    layers += [keras.layers.Dense(num_classes, kernel_initializer=kernel())]
    return keras.Sequential(layers, name="classifier")


def _known_crossentropy(attributes: Tensor, logits: Tensor) -> Tensor:
    """Returns the mean cross-entropy of the known attributes."""
    targets, known = losses.label_targets(attributes, logits.shape[-1], multi_label=True)
    return losses.label_crossentropy(targets, logits, known, multi_label=True)


class _KnownAccuracy(keras.metrics.Mean):
    """The share of known attributes whose logit has the right sign."""

    def __init__(self, name: str = "accuracy", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)

    def update_state(self, attributes: Tensor, logits: Tensor, sample_weight: Any = None) -> None:
        right = keras.ops.equal(logits > 0, attributes > 0)
        super().update_state(right, keras.ops.cast(attributes >= 0, "float32"))


def label_consistency(
    model: ResynthesisModel,
    classifier: keras.Model,
    split: Split,
    image_size: int | None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures how often mixes conditioned on y~ are classified as y~.

    Images are paired at random. Only labels in which the parents differ are compared. For classes,
    these are the pairs of different classes, and the mix should have the class with the larger
    weight in y~. For attributes, they are all differing attributes, and the mix should have the
    value with the larger weight in y~.

    Args:
        model: a trained `SupervisedAMR`.
        classifier: see `train_classifier`.
        split: a labelled `Split` that neither model nor classifier was trained on.
        image_size: width of the images.
        seed: seed of pairs, labels and masks.

    Returns:
        A dictionary of shares from 0 to 1, and the number of "comparisons":

        - "drawn": correct mixes for y~ drawn as in training.
        - "pure": correct mixes for y~ equal to one parent's label (for attributes, chosen
          separately for each attribute if the label mixer does so).
        - "chance": the mixes of "pure" compared with labels that are drawn again.
        - "either_parent": for classes, mixes of "pure" classified as one of the parents.
        - "reconstruction_accuracy": accuracy of the classifier on reconstructions.

        A share is None if there is nothing to compare: no pair of known labels differs, or no
        label is known.
    """
    images = np.concatenate([batch[0] for batch in evaluation_batches(split, 256, image_size)])
    targets, known = (np.asarray(part) for part in model.label_targets(split.labels))
    order = np.random.default_rng(seed).permutation(len(images))
    partners = np.roll(order, 1)
    first, second = targets[order], targets[partners]

    def classify(mixed: np.ndarray) -> np.ndarray:
        # With the same seed, masks and labels would be correlated.
        mixes = model.mix_labels(images[order], images[partners], mixed, first, second, seed + 3)
        return classifier.predict(mixes, verbose=0, batch_size=256)

    def pure(seed: int) -> np.ndarray:
        columns = targets.shape[1] if model.label_mixer.alphas == "attribute" else 1
        choice = np.random.default_rng(seed).random((len(images), columns)) < 0.5
        return np.where(choice, first, second)

    permutations = np.stack([order, partners])
    drawn = np.asarray(model.label_mixer.draw_mixed_labels(targets, permutations, seed))
    one, again = pure(seed + 1), pure(seed + 2)
    logits = classify(one)
    hits = {"drawn": (classify(drawn), drawn), "pure": (logits, one), "chance": (logits, again)}
    judged = first != second if model.multi_label else first.argmax(-1) != second.argmax(-1)
    judged &= (known[order] > 0) & (known[partners] > 0)
    results = {
        name: _share(_right(model.multi_label, *pair)[judged]) for name, pair in hits.items()
    }
    if not model.multi_label:
        parents = [_right(False, logits, labels) for labels in (first, second)]
        results["either_parent"] = _share((parents[0] | parents[1])[judged])
    reconstructed = classifier.predict(model.reconstruct(images), verbose=0, batch_size=256)
    right = _right(model.multi_label, reconstructed, targets)
    results["reconstruction_accuracy"] = _share(right[known > 0])
    results["comparisons"] = int(judged.sum())
    return results


def _share(right: np.ndarray) -> float | None:
    return float(right.mean()) if right.size else None


def _right(multi_label: bool, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns whether each image or attribute is classified as the label of larger weight."""
    if multi_label:
        return (logits > 0) == (labels > 0.5)
    return logits.argmax(axis=-1) == labels.argmax(axis=-1)
