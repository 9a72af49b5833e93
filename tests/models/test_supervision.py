"""What the base class makes of labels: probes, supervision, and labels that are not known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, GAIA, VAE
from amr_tf.networks import build_linear_probe
from tests.models.helpers import ATTRIBUTES, X, Y, make, same, save_and_continue, sigmoid, values

RATE = 0.5
PARTLY = np.where(np.arange(12) % 4 == 1, -1, Y)
NOTHING = np.full(12, -1)
METHODS = [AMR, VAE, GAIA]


def descending(method, supervision=0.0, **kwargs):
    """A model under plain gradient descent, whose updates show the gradients."""
    settings = {
        "autoencoder_optimizer": keras.optimizers.SGD(RATE),
        "probe_optimizer": keras.optimizers.SGD(RATE),
        "supervision": supervision,
    }
    return make(method, compile_kwargs=settings, **kwargs)


def probe_gradients(model, images, labels, training=True):
    """Gradients of Keras' own cross-entropy of labelled images: encoder's and probe's."""
    variables = model.encoder.trainable_variables, model.probe.trainable_variables
    with tf.GradientTape() as tape:
        codes = model.codes_of(model.encoder(images, training=training))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(
            labels, model.probe(codes)
        )
    return [values(gradients) for gradients in tape.gradient(loss, variables)]


@pytest.mark.parametrize("method", METHODS)
def test_without_supervision_labels_do_not_touch_the_encoder(method):
    with_labels, without = descending(method), descending(method)
    with_labels.train_on(X, Y)
    without.train_on(X)
    assert same(values(with_labels.encoder.weights), values(without.encoder.weights))
    assert not same(values(with_labels.probe.weights), values(without.probe.weights))


@pytest.mark.parametrize("labels", [Y, PARTLY], ids=["all", "some"])
@pytest.mark.parametrize("method", METHODS)
def test_supervision_adds_the_gradient_of_the_labelled_images(method, labels):
    """Images of label -1 have no part: the gradient is that of a batch of the others."""
    known = labels >= 0
    supervised, without = descending(method, 3.0), descending(method)
    encoder, probe = probe_gradients(without, X[known], labels[known])
    probe_before = values(without.probe.trainable_variables)
    supervised.train_on(X, labels)
    without.train_on(X)
    pairs = zip(
        values(supervised.encoder.trainable_variables),
        values(without.encoder.trainable_variables),
        encoder,
        strict=True,
    )
    assert max(np.abs(gradient).max() for gradient in encoder) > 0.01
    for one, two, gradient in pairs:
        np.testing.assert_allclose(one - two, -RATE * 3.0 * gradient, atol=2e-5)
    for new, old, gradient in zip(
        values(supervised.probe.trainable_variables), probe_before, probe, strict=True
    ):
        # The probe's own update does not weigh by the supervision.
        np.testing.assert_allclose(new - old, -RATE * gradient, atol=1e-5)


def test_what_stands_beside_minus_one_does_not_matter():
    """Other unlabelled images, same probe update and same metrics."""
    other = X.copy()
    other[PARTLY < 0] = -X[PARTLY < 0]
    one, two = descending(AMR), descending(AMR)
    first, second = one.train_on(X, PARTLY), two.train_on(other, PARTLY)
    for new, old in zip(values(one.probe.weights), values(two.probe.weights)):
        np.testing.assert_allclose(new, old, atol=1e-6)
    for name in ("probe_loss", "probe_accuracy"):
        assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-6)
    assert float(first["reconstruction_loss"]) != float(second["reconstruction_loss"])


@pytest.mark.parametrize("supervision", [0.0, 1.0])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_labelled(method, supervision):
    model, without = descending(method, supervision), descending(method)
    before = values(model.probe.weights)
    results = model.train_on(X, NOTHING)
    without.train_on(X)
    assert float(results["probe_loss"]) == 0
    assert float(results["probe_accuracy"]) == 0
    assert all(np.isfinite(float(value)) for value in results.values())
    assert same(before, values(model.probe.weights))
    for one, two in zip(values(model.encoder.weights), values(without.encoder.weights)):
        np.testing.assert_allclose(one, two, atol=1e-7)


def test_metrics_are_means_over_labelled_images():
    """Batches with 4, 1 and no labelled images."""
    labels = np.where(np.arange(12) < 5, Y, -1)
    model = make(AMR)
    logits = np.asarray(model.probe(model.encoder(X[:5])), "float64")
    entropy = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(5), Y[:5]]
    results = model.evaluate(X, labels, batch_size=4, verbose=0, return_dict=True)
    assert results["probe_loss"] == pytest.approx(entropy.mean(), rel=1e-4)
    assert results["probe_accuracy"] == pytest.approx((logits.argmax(1) == Y[:5]).mean(), abs=1e-6)
    # The others stay means over all images.
    error = np.abs(X - model.reconstruct(X)).mean()
    assert results["reconstruction_loss"] == pytest.approx(error, rel=1e-4)
    nothing = model.evaluate(X, NOTHING, batch_size=4, verbose=0, return_dict=True)
    assert nothing["probe_loss"] == 0


@pytest.mark.parametrize("attributes", [1, 3])
def test_attributes(attributes, tmp_path):
    labels = ATTRIBUTES[:, :attributes].copy()
    labels[2, 0] = labels[5, -1] = labels[8] = -1
    known = labels >= 0
    model = descending(AMR, 1.0, num_classes=attributes, multi_label=True)
    logits = np.asarray(model.probe(model.encoder(X)), "float64")
    probability = np.where(labels == 1, sigmoid(logits), 1 - sigmoid(logits))
    results = model.train_on(X, labels)
    error = -np.log(probability)[known].mean()
    assert float(results["probe_loss"]) == pytest.approx(error, rel=1e-4)
    accuracy = ((logits > 0) == (labels == 1))[known].mean()
    assert float(results["probe_accuracy"]) == pytest.approx(accuracy, abs=1e-6)
    # Over batches that know differently many entries, too.
    logits = np.asarray(model.probe(model.encoder(X)), "float64")
    probability = np.where(labels == 1, sigmoid(logits), 1 - sigmoid(logits))
    pieces = model.evaluate(X, labels, batch_size=5, verbose=0, return_dict=True)
    assert pieces["probe_loss"] == pytest.approx(-np.log(probability)[known].mean(), rel=1e-4)
    again = save_and_continue(model, tmp_path / "model.keras", labels)
    assert again.multi_label
    assert again.supervision == 1.0


def test_attributes_of_other_shapes_are_refused():
    model = make(AMR, multi_label=True)
    for labels, message in (
        (Y, "a column for each attribute"),
        (ATTRIBUTES[:, :2], r"got \(12, 2\)"),
        (ATTRIBUTES * 2, "must be 0 or 1, or -1 where unknown"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(X, labels, verbose=0)


def test_one_hot_labels_equal_class_numbers():
    one, two = descending(AMR, 1.0), descending(AMR, 1.0)
    one_hot = np.where(PARTLY[:, None] < 0, 0, np.eye(3)[np.maximum(PARTLY, 0)])
    one.train_on(X, PARTLY)
    two.train_on(X, one_hot)
    assert same(values(one.weights), values(two.weights))


@pytest.mark.parametrize("supervision", [0.0, 1.0])
def test_mlp_probe(supervision):
    model = descending(AMR, supervision, probe="mlp")
    without = descending(AMR)
    variables = model.probe.trainable_variables
    assert len(variables) > 2
    before = values(variables)
    model.train_on(X, Y)
    without.train_on(X)
    assert all(not np.array_equal(*pair) for pair in zip(before, values(variables)))
    encoders = values(model.encoder.weights), values(without.encoder.weights)
    assert same(*encoders) == (supervision == 0)


def test_supervision_learns_the_labels():
    """The encoder bends to the probe: labels of noise are learnt by heart."""
    model = make(
        AMR,
        None,
        compile_kwargs={
            "supervision": 20.0,
            "autoencoder_optimizer": keras.optimizers.Adam(0.01),
            "probe_optimizer": keras.optimizers.Adam(0.01),
        },
    )
    first = float(model.train_on(X, Y)["probe_loss"])
    for _ in range(25):
        results = model.train_on(X, Y)
    assert float(results["probe_loss"]) < 0.5 * first


def test_errors():
    with pytest.raises(ValueError, match="supervision must be a finite number of at least 0"):
        make(AMR, compile_kwargs={"supervision": -1.0})
    with pytest.raises(ValueError, match="supervision = 2 weighs the probe's loss: add a probe"):
        make(AMR, num_classes=None, compile_kwargs={"supervision": 2.0})
    model = make(AMR)
    with pytest.raises(ValueError, match="The probe's input must have the shape"):
        AMR(model.encoder, model.decoder, model.discriminator, None, build_linear_probe((5,), 3))
    # Without a probe labels are left alone, whatever they are.
    make(AMR, num_classes=None).fit(X, Y + 100, verbose=0)
