import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from sklearn.metrics import accuracy_score, log_loss
from sklearn.preprocessing import label_binarize

from amr_tf import losses

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(-1, 1, (4, 3, 3, 2)).astype("float32")
OTHERS = RANDOM.uniform(-1, 1, (4, 3, 3, 2)).astype("float32")
LOGITS = RANDOM.normal(size=7).astype("float32")


def test_reconstruction_losses_against_numpy():
    assert float(losses.mean_absolute_error(IMAGES, OTHERS)) == pytest.approx(
        np.abs(IMAGES - OTHERS).mean(), rel=1e-6
    )
    assert float(losses.mean_squared_error(IMAGES, OTHERS)) == pytest.approx(
        ((IMAGES - OTHERS) ** 2).mean(), rel=1e-6
    )


def test_binary_crossentropy_is_summed_over_pixels():
    """On black and white images it is scikit-learn's log loss times the number of pixels."""
    images = np.sign(IMAGES)
    expected = 18 * log_loss((images.ravel() + 1) / 2, (OTHERS.ravel() + 1) / 2)
    assert float(losses.binary_crossentropy(images, OTHERS)) == pytest.approx(expected, rel=1e-5)


def test_binary_crossentropy_is_least_at_the_target_and_finite_at_the_ends():
    at_target = losses.binary_crossentropy(IMAGES, IMAGES)
    assert at_target < losses.binary_crossentropy(IMAGES, OTHERS)
    assert np.isfinite(losses.binary_crossentropy(np.ones((1, 1)), -np.ones((1, 1))))


@pytest.mark.parametrize("target", [0, 1])
def test_gan_crossentropy_against_scikit_learn(target):
    probability = 1 / (1 + np.exp(-LOGITS.astype("float64")))
    expected = log_loss([target] * 7, probability, labels=[0, 1])
    assert float(losses.gan_binary_crossentropy(LOGITS, target)) == pytest.approx(
        expected, rel=1e-5
    )


def test_gan_crossentropy_does_not_overflow():
    extreme = np.array([-1e4, 1e4], "float32")
    assert float(losses.gan_binary_crossentropy(extreme, 1.0)) == pytest.approx(5e3)
    assert float(losses.gan_binary_crossentropy(extreme, 0.0)) == pytest.approx(5e3)


def test_gan_crossentropy_does_not_saturate():
    """For the generator: the better the discriminator (low logits), the stronger the gradient."""
    logit = tf.constant([-8.0])
    with tf.GradientTape() as tape:
        tape.watch(logit)
        loss = losses.gan_binary_crossentropy(logit, 1.0)
    assert float(tape.gradient(loss, logit)[0]) == pytest.approx(-1, abs=1e-3)


def test_gan_losses_with_one_target_each():
    targets = RANDOM.uniform(size=7).astype("float32")
    assert float(losses.gan_least_squares(LOGITS, targets)) == pytest.approx(
        ((LOGITS - targets) ** 2).mean(), rel=1e-6
    )
    single = [
        float(losses.gan_binary_crossentropy(LOGITS[i : i + 1], targets[i])) for i in range(7)
    ]
    assert float(losses.gan_binary_crossentropy(LOGITS, targets)) == pytest.approx(np.mean(single))


def test_consistency():
    assert float(losses.consistency(IMAGES, OTHERS)) == pytest.approx(
        np.abs(IMAGES - OTHERS).mean(), rel=1e-6
    )
    assert float(losses.consistency(IMAGES, IMAGES)) == 0


def kl_by_hand(mean, log_variance):
    """Kingma & Welling (2013), appendix B."""
    variance = np.exp(np.asarray(log_variance, "float64"))
    return -0.5 * np.sum(1 + np.log(variance) - np.asarray(mean) ** 2 - variance)


def test_divergence_against_numpy():
    mean, log_variance = RANDOM.normal(size=(2, 5, 3, 3, 2)).astype("float32")
    expected = np.mean([kl_by_hand(*pair) for pair in zip(mean, log_variance)])
    assert float(losses.gaussian_kl(mean, log_variance)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("mean", "variance", "expected"),
    [
        (0.0, 1.0, 0.0),
        (1.0, 1.0, 0.5),
        (-2.0, 1.0, 2.0),
        (0.0, np.e, (np.e - 2) / 2),
        (0.0, 4.0, 1.5 - np.log(2)),
        (3.0, 0.25, 4.5 - 0.375 + np.log(2)),
    ],
)
def test_divergence_of_known_gaussians(mean, variance, expected):
    """Of one element, and summed over a code of six."""
    for size in (1, 6):
        shape = (4, size)
        found = losses.gaussian_kl(np.full(shape, mean), np.full(shape, np.log(variance)))
        assert float(found) == pytest.approx(size * expected, abs=1e-5)


def test_divergence_is_the_expected_log_ratio():
    """Its definition, by Monte Carlo."""
    mean, deviation = 0.7, 0.4
    samples = RANDOM.normal(mean, deviation, 200_000)
    ratio = stats.norm.logpdf(samples, mean, deviation) - stats.norm.logpdf(samples)
    found = losses.gaussian_kl(np.full((1, 1), mean), np.full((1, 1), 2 * np.log(deviation)))
    assert float(found) == pytest.approx(ratio.mean(), abs=0.01)


LABELS = np.array([0, 1, 2, 2, 1, 0])
CLASS_LOGITS = RANDOM.normal(size=(6, 3)).astype("float32")
CLASS_PROBABILITY = np.exp(CLASS_LOGITS) / np.exp(CLASS_LOGITS).sum(axis=1, keepdims=True)
ATTRIBUTES = np.array([[0, 1, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0], [1, 1, 1], [0, 0, 0]])
ATTRIBUTE_PROBABILITY = 1 / (1 + np.exp(-CLASS_LOGITS.astype("float64")))


def class_loss(labels, logits=CLASS_LOGITS):
    return float(losses.label_crossentropy(*spliced(labels, logits, False)))


def spliced(labels, logits, multi_label):
    targets, weights = losses.label_targets(labels, 3, multi_label)
    return targets, logits, weights, multi_label


def test_label_crossentropy_against_scikit_learn():
    assert class_loss(LABELS) == pytest.approx(log_loss(LABELS, CLASS_PROBABILITY), rel=1e-5)
    for known in ([0, 2, 3], [5], [1, 2, 3, 4, 5]):
        labels = np.full(6, -1)
        labels[known] = LABELS[known]
        expected = log_loss(LABELS[known], CLASS_PROBABILITY[known], labels=[0, 1, 2])
        assert class_loss(labels) == pytest.approx(expected, rel=1e-5)


def test_label_crossentropy_of_mixed_classes():
    targets = RANDOM.dirichlet(np.ones(3), 6)
    expected = -(targets * np.log(CLASS_PROBABILITY)).sum(axis=1)
    weights = np.array([1, 0, 1, 1, 0, 1])
    found = losses.label_crossentropy(targets, CLASS_LOGITS, weights)
    assert float(found) == pytest.approx(expected[weights == 1].mean(), rel=1e-5)


def test_label_crossentropy_of_attributes_against_scikit_learn():
    found = losses.label_crossentropy(*spliced(ATTRIBUTES, CLASS_LOGITS, True))
    columns = [
        log_loss(ATTRIBUTES[:, column], ATTRIBUTE_PROBABILITY[:, column]) for column in range(3)
    ]
    assert float(found) == pytest.approx(np.mean(columns), rel=1e-5)
    known = RANDOM.random((6, 3)) < 0.5
    assert 0 < known.sum() < 18
    found = losses.label_crossentropy(*spliced(np.where(known, ATTRIBUTES, -1), CLASS_LOGITS, True))
    expected = log_loss(ATTRIBUTES[known], ATTRIBUTE_PROBABILITY[known])
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_label_losses_do_not_overflow(multi_label):
    targets, logits = np.array([[1.0, 0.0]]), np.array([[-1e4, 1e4]], "float32")
    weights = np.ones((1, 2) if multi_label else 1)
    found = float(losses.label_crossentropy(targets, logits, weights, multi_label))
    assert found == pytest.approx(1e4 if multi_label else 2e4)


def test_label_accuracy_against_scikit_learn():
    predicted = CLASS_LOGITS.argmax(axis=1)
    found = float(losses.label_accuracy(*spliced(LABELS, CLASS_LOGITS, False)))
    assert found == pytest.approx(accuracy_score(LABELS, predicted))
    some = np.where(np.arange(6) < 4, LABELS, -1)
    found = float(losses.label_accuracy(*spliced(some, CLASS_LOGITS, False)))
    assert found == pytest.approx(accuracy_score(LABELS[:4], predicted[:4]))
    known = np.arange(18).reshape(6, 3) % 4 > 0
    some = np.where(known, ATTRIBUTES, -1)
    found = float(losses.label_accuracy(*spliced(some, CLASS_LOGITS, True)))
    expected = accuracy_score(ATTRIBUTES[known], (CLASS_LOGITS > 0)[known])
    assert found == pytest.approx(expected)
    assert 0 < expected < 1


@pytest.mark.parametrize("multi_label", [False, True])
def test_nothing_known_is_zero_with_no_gradient(multi_label):
    labels = np.full((6, 3) if multi_label else (6,), -1)
    logits = tf.constant(CLASS_LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.label_crossentropy(*spliced(labels, logits, multi_label))
    assert float(loss) == 0
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros((6, 3)))
    assert float(losses.label_accuracy(*spliced(labels, logits, multi_label))) == 0


def test_unknown_labels_send_no_gradient():
    logits = tf.constant(CLASS_LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.label_crossentropy(*spliced(np.array([0, -1, 2, 2, -1, 0]), logits, False))
    gradient = tape.gradient(loss, logits).numpy()
    assert not gradient[[1, 4]].any()
    expected = (CLASS_PROBABILITY - np.eye(3)[LABELS])[[0, 2, 3, 5]] / 4
    np.testing.assert_allclose(gradient[[0, 2, 3, 5]], expected, atol=1e-6)


@pytest.mark.parametrize(
    "labels",
    [
        [2, -1, 0],
        [[2], [-1], [0]],
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]],
        np.array([2, -1, 0], "int8"),
        np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], "float32"),
    ],
)
def test_label_targets_of_classes(labels):
    targets, weights = losses.label_targets(np.array(labels), 3)
    third = 1 / 3
    expected = [[0, 0, 1], [third, third, third], [1, 0, 0]]
    np.testing.assert_allclose(targets, expected, rtol=1e-6)
    np.testing.assert_array_equal(weights, [1, 0, 1])
    assert targets.dtype == weights.dtype == "float32"


def test_label_targets_against_scikit_learn():
    targets, weights = losses.label_targets(LABELS, 3)
    np.testing.assert_array_equal(targets, label_binarize(LABELS, classes=[0, 1, 2]))
    np.testing.assert_array_equal(weights, np.ones(6))


@pytest.mark.parametrize("attributes", [1, 2])
def test_label_targets_of_attributes(attributes):
    labels = np.array([[1, 0], [-1, 1], [0, -1]])[:, :attributes]
    targets, weights = losses.label_targets(labels, attributes, multi_label=True)
    np.testing.assert_array_equal(targets, np.array([[1, 0], [0.5, 1], [0, 0.5]])[:, :attributes])
    np.testing.assert_array_equal(weights, np.array([[1, 1], [0, 1], [1, 0]])[:, :attributes])
    assert targets.dtype == weights.dtype == "float32"


def test_masked_mean_against_numpy():
    numbers, mask = RANDOM.normal(size=(2, 50))
    mask = mask > 0
    found = losses.masked_mean(numbers, mask)
    assert float(found) == pytest.approx(np.ma.masked_array(numbers, ~mask).mean(), rel=1e-5)
    assert float(losses.masked_mean(numbers, np.ones(50))) == pytest.approx(
        numbers.mean(), rel=1e-5
    )
    assert float(losses.masked_mean(numbers, np.zeros(50))) == 0
    one = np.zeros(50)
    one[7] = 1
    assert float(losses.masked_mean(numbers, one)) == pytest.approx(numbers[7], rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_computed_in_float32(dtype):
    half = tf.cast(IMAGES, dtype), tf.cast(OTHERS, dtype)
    for name in losses.RECONSTRUCTION_LOSSES.names():
        assert losses.RECONSTRUCTION_LOSSES.get(name)(*half).dtype == "float32"
    for name in losses.GAN_LOSSES.names():
        assert losses.GAN_LOSSES.get(name)(tf.cast(LOGITS, dtype), 1.0).dtype == "float32"
    assert losses.gaussian_kl(*half).dtype == "float32"
    targets, weights = losses.label_targets(LABELS, 3)
    logits = tf.cast(CLASS_LOGITS, dtype)
    assert losses.label_crossentropy(targets, logits, weights).dtype == "float32"
    assert losses.label_accuracy(targets, logits, weights).dtype == "float32"


def test_unknown_names():
    with pytest.raises(ValueError, match="Did you mean 'mean_absolute_error'"):
        losses.RECONSTRUCTION_LOSSES.get("mean_abs_error")
    with pytest.raises(ValueError, match="Unknown GAN loss 'hinge'"):
        losses.GAN_LOSSES.get("hinge")
