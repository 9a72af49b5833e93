"""Whether mixes made under a label bear it, as a classifier trained by itself sees them."""

import keras
import numpy as np

from amr_tf.data import evaluation_batches, training_batches
from amr_tf.data.pipeline import steps_per_epoch


def train_classifier(data, epochs=5, batch_size=64, seed=0):
    """A small convolutional classifier of real images, independent of any auto-encoder.

    Args:
        data: labelled `ImageData`.
        epochs: passes over the training images.
        batch_size: images per step.
        seed: of the weights and the order of images.

    Returns:
        A compiled `keras.Model` from images to logits (N, classes), with an "accuracy" metric.

    Raises:
        ValueError: the data have no labels, or fewer training images than a batch.
    """
    if data.num_classes is None:
        raise ValueError(f"A classifier needs labels; data set '{data.name}' has none.")
    keras.utils.set_random_seed(seed)
    layers = [keras.Input(data.image_shape)]
    for filters in (32, 64, 128):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", activation="relu"),
            # Keras' momentum of 0.99 would need hundreds of steps to know the statistics.
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.MaxPooling2D(2),
        ]
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.3)]
    layers += [keras.layers.Dense(data.num_classes)]
    classifier = keras.Sequential(layers, name="classifier")
    if data.multi_label:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        metric = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        metric = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    classifier.compile("adam", loss, metrics=[metric])
    classifier.fit(
        training_batches(data.train, batch_size, data.image_size, seed),
        steps_per_epoch=steps_per_epoch(data.train, batch_size),
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    return classifier


def label_consistency(model, classifier, split, image_size, seed=0):
    """How often mixes conditioned on y~ are classified as y~.

    Images meet in random pairs. Only what the parents disagree about says anything: for classes
    the pairs of different classes, where the mix should be of the class with the larger share in
    y~; for attributes each attribute in which the two differ, where the mix should have what y~
    has more of.

    Args:
        model: a trained `SupervisedAMR`.
        classifier: as of `train_classifier`.
        split: a labelled `Split` that neither was trained on.
        image_size: width of the images.
        seed: of pairs, labels and masks.

    Returns:
        A dictionary of shares from 0 to 1: "drawn", of mixes for y~ drawn as in training; "pure",
        for y~ that is one parent's label (for attributes, drawn for each attribute if the label
        mixer does so); "chance", what the mixes for "pure" score against labels that were drawn
        again, for they ignore these; for classes "either_parent", mixes for "pure" classified as
        one of the parents; "reconstruction_accuracy", of the classifier on reconstructions; and
        the number of "comparisons".
    """
    images = np.concatenate([batch[0] for batch in evaluation_batches(split, 256, image_size)])
    targets, known = (np.asarray(part) for part in model.label_targets(split.labels))
    order = np.random.default_rng(seed).permutation(len(images))
    partners = np.roll(order, 1)
    first, second = targets[order], targets[partners]

    def classify(mixed):
        # Masks need a seed of their own: with the labels' they would be tied to these.
        mixes = model.mix_labels(images[order], images[partners], mixed, first, second, seed + 3)
        return classifier.predict(mixes, verbose=0, batch_size=256)

    def pure(seed):
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
        name: float(_right(model.multi_label, *pair)[judged].mean()) for name, pair in hits.items()
    }
    if not model.multi_label:
        parents = [_right(False, logits, labels) for labels in (first, second)]
        results["either_parent"] = float((parents[0] | parents[1])[judged].mean())
    reconstructed = classifier.predict(model.reconstruct(images), verbose=0, batch_size=256)
    right = _right(model.multi_label, reconstructed, targets)
    results["reconstruction_accuracy"] = float(right[known > 0].mean())
    results["comparisons"] = int(judged.sum())
    return results


def _right(multi_label, logits, labels):
    """Whether the classifier sees the (larger) label: for each image, or each attribute of it."""
    if multi_label:
        return (logits > 0) == (labels > 0.5)
    return logits.argmax(axis=-1) == labels.argmax(axis=-1)
