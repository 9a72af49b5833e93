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
    """
    if data.num_classes is None:
        raise ValueError(f"A classifier needs labels; data set '{data.name}' has none.")
    keras.utils.set_random_seed(seed)
    layers = [keras.Input(data.image_shape)]
    for filters in (32, 64, 128):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(),
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
    has more of. A mix that ignores y~ is right for half of the attributes, and for classes at most
    for half of the pairs.

    Args:
        model: a trained `SupervisedAMR`.
        classifier: as of `train_classifier`.
        split: a labelled `Split` that neither was trained on.
        image_size: width of the images.
        seed: of pairs, labels and masks.

    Returns:
        A dictionary of shares from 0 to 1: "consistency" as above; "ignoring_label", the same for
        mixes whose y~ was that of another pair drawn at random (what chance gives); for classes
        "either_parent", mixes classified as one of the parents; "reconstruction_accuracy", of the
        classifier on reconstructions; and the number of "comparisons".
    """
    images = np.concatenate([b[0] for b in evaluation_batches(split, 256, image_size)])
    targets = np.asarray(model.label_targets(split.labels)[0])
    order = np.random.default_rng(seed).permutation(len(images))
    partners = np.roll(order, 1)
    first, second = targets[order], targets[partners]
    permutations = np.stack([order, partners])
    mixed = np.asarray(model.label_mixer.draw_mixed_labels(targets, permutations, seed))
    # Shares drawn independently of those that the pair is judged by.
    other = np.asarray(model.label_mixer.draw_mixed_labels(targets, permutations, seed + 1))
    results = {}
    for name, condition in (("consistency", mixed), ("ignoring_label", other)):
        mixes = model.mix_labels(images[order], images[partners], condition, first, second, seed)
        logits = classifier.predict(mixes, verbose=0, batch_size=256)
        hits, judged = _judge(model.multi_label, logits, mixed, first, second)
        results[name] = float(hits[judged].mean())
        if name == "consistency" and not model.multi_label:
            predicted = logits.argmax(axis=-1)
            either = (predicted == first.argmax(-1)) | (predicted == second.argmax(-1))
            results["either_parent"] = float(either[judged].mean())
    logits = classifier.predict(model.reconstruct(images), verbose=0, batch_size=256)
    right = (
        (logits > 0) == (targets > 0.5)
        if model.multi_label
        else (logits.argmax(-1) == targets.argmax(-1))
    )
    results["reconstruction_accuracy"] = float(np.mean(right))
    results["comparisons"] = int(judged.sum())
    return results


def _judge(multi_label, logits, mixed, first, second):
    """Whether each mix is what `mixed` says, and whether it was in question at all."""
    if multi_label:
        return (logits > 0) == (mixed > 0.5), first != second
    judged = first.argmax(-1) != second.argmax(-1)
    return logits.argmax(-1) == mixed.argmax(-1), judged
