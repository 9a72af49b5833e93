"""The losses against NumPy, SciPy and scikit-learn, and what `compile` takes as one."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from sklearn.metrics import accuracy_score, log_loss
from sklearn.preprocessing import label_binarize

from amr_tf import losses
from amr_tf.runs.config import TrainingConfig

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
    images, decoded = np.sign(IMAGES), np.tanh(OTHERS.astype("float64"))
    expected = 18 * log_loss((images.ravel() + 1) / 2, (decoded.ravel() + 1) / 2)
    assert float(losses.binary_crossentropy(images, OTHERS)) == pytest.approx(expected, rel=1e-5)


def test_binary_crossentropy_is_least_at_the_target_and_finite_at_the_ends():
    at_target = losses.binary_crossentropy(IMAGES, np.arctanh(IMAGES))
    assert at_target < losses.binary_crossentropy(IMAGES, np.arctanh(OTHERS))
    for pixel, logit in ((1, -1e4), (-1, 1e4)):
        found = losses.binary_crossentropy(np.full((1, 1), pixel), np.full((1, 1), logit))
        assert float(found) == pytest.approx(2e4)


@pytest.mark.parametrize("logit", [-20.0, -3.0, 0.0, 3.0, 20.0])
@pytest.mark.parametrize("pixel", [-1.0, 0.5, 1.0])
def test_gradient_of_binary_crossentropy(pixel, logit):
    """2 (sigmoid(2 l) - t), also where tanh(l) is rounded to 1 and has no gradient."""
    logits = tf.constant([[logit]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.binary_crossentropy([[pixel]], logits)
    expected = 2 * (1 / (1 + np.exp(-2 * logit)) - (pixel + 1) / 2)
    assert float(tape.gradient(loss, logits)[0, 0]) == pytest.approx(expected, abs=1e-6)


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


def kl_by_hand(mean, log_variance):
    """Kingma & Welling (2013), appendix B."""
    variance = np.exp(np.asarray(log_variance, "float64"))
    return -0.5 * np.sum(1 + np.log(variance) - np.asarray(mean) ** 2 - variance)


@pytest.mark.parametrize(("target", "sign"), [(1.0, 1), (0.0, -1)])
def test_hinge_against_numpy(target, sign):
    found = losses.gan_hinge(LOGITS, target)
    assert float(found) == pytest.approx(np.maximum(0, 1 - sign * LOGITS).mean(), rel=1e-6)
    theirs = losses.generator_loss(losses.gan_loss("hinge"))(LOGITS, target)
    assert float(theirs) == pytest.approx(-sign * LOGITS.mean(), rel=1e-5)


def test_the_autoencoder_minimises_the_gan_loss_unless_it_has_another():
    for loss in (losses.gan_least_squares, functools.partial(losses.gan_binary_crossentropy)):
        assert losses.generator_loss(loss) is loss


def test_feature_distance_against_numpy():
    maps = [IMAGES, RANDOM.normal(size=(4, 7)).astype("float32")]
    others = [OTHERS, RANDOM.normal(size=(4, 7)).astype("float32")]
    expected = np.mean([np.abs(one - other).mean() for one, other in zip(maps, others)])
    assert float(losses.feature_distance(maps, others)) == pytest.approx(expected, rel=1e-5)


def test_look_distance_against_numpy():
    images, mixes = RANDOM.normal(size=(2, 3, 8, 12, 2)).astype("float32") * [1.0, 3.0]
    permutations = np.array([[0, 1, 2], [2, 0, 1]])
    shares = np.array([[0.0, 1.0], [0.3, 0.7], [1.0, 0.0]], "float32")

    def look(images):
        squares = images.reshape(3, 2, 4, 3, 4, 2).mean(axis=(2, 4))
        return np.stack([squares.mean(axis=(1, 2)), squares.std(axis=(1, 2))])

    wanted = np.einsum("nk,sknc->snc", shares, look(images)[:, permutations])
    apart = np.abs(look(mixes) - wanted).mean(axis=(1, 2))
    assert min(apart) > 0.05
    found = float(losses.look_distance(mixes, images, permutations, shares))
    assert found == pytest.approx(apart.mean(), rel=1e-3)
    half = losses.look_distance(
        tf.cast(mixes, "bfloat16"), images, permutations, tf.cast(shares, "float16")
    )
    assert half.dtype == "float32"
    assert float(half) == pytest.approx(found, rel=1e-2)


@pytest.mark.parametrize("size", [2, 4, 7])
def test_uniform_and_small_images_have_a_look_with_a_gradient(size):
    mixes = tf.zeros((2, size, size, 3))
    images = RANDOM.normal(size=(2, size, size, 3)).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(mixes)
        distance = losses.look_distance(mixes, images, [[0, 1]], tf.ones((2, 1)))
    assert np.isfinite(tape.gradient(distance, mixes)).all()


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


def test_label_targets_of_a_data_set_that_does_not_name_its_classes():
    one_hot = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], "float32")
    expected = losses.label_targets(one_hot, 3)
    unnamed = tf.function(
        lambda labels: losses.label_targets(labels, 3),
        input_signature=[tf.TensorSpec((None, None), "float32")],
    )
    for found, wanted in zip(unnamed(one_hot), expected):
        np.testing.assert_array_equal(found, wanted)


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
    for loss in map(losses.RECONSTRUCTION_LOSSES.get, losses.RECONSTRUCTION_LOSSES.names()):
        if not isinstance(loss, type):  # Classes have tests of their own.
            assert loss(*half).dtype == "float32"
    for name in losses.GAN_LOSSES.names():
        assert losses.GAN_LOSSES.get(name)(tf.cast(LOGITS, dtype), 1.0).dtype == "float32"
    assert losses.gaussian_kl(*half).dtype == "float32"
    targets, weights = losses.label_targets(LABELS, 3)
    logits = tf.cast(CLASS_LOGITS, dtype)
    assert losses.label_crossentropy(targets, logits, weights).dtype == "float32"
    assert losses.label_accuracy(targets, logits, weights).dtype == "float32"


# What `compile` takes.


def error(make, given):
    with pytest.raises(ValueError) as raised:
        make(given)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_unknown_names():
    make = losses.reconstruction_loss
    assert "Did you mean 'mean_absolute_error'" in error(make, "mean_abs_error")
    assert "Unknown GAN loss 'wasserstein'" in error(losses.gan_loss, "wasserstein")
    assert "parameter of GAN loss 'least_squares'" in error(losses.gan_loss, "least_squares(a=1)")
    for make in (losses.reconstruction_loss, losses.gan_loss):
        for given in (None, 3, {}):
            assert "must be a name (" in error(make, given)


@pytest.mark.parametrize(
    ("name", "short"), [("mean_absolute_error", "mae"), ("mean_squared_error", "mse")]
)
def test_reconstruction_losses_by_name(name, short):
    assert losses.reconstruction_loss(name) is getattr(losses, name)
    assert losses.reconstruction_loss(short) is getattr(losses, name)
    config = TrainingConfig(reconstruction_loss=short, consistency_loss=short, beta=1.0).resolve()
    assert (config.reconstruction_loss, config.consistency_loss) == (name, name)  # Flags, too.
    with pytest.raises(ValueError, match=f"^Unknown GAN loss '{short}'"):
        losses.gan_loss(short)
    own = losses.reconstruction_loss(lambda images, others: 3.0)
    assert own(IMAGES, OTHERS) == 3.0


def test_a_registered_loss_has_its_parameters_in_the_call_string():
    @losses.GAN_LOSSES.register("shifted")
    def shifted(logits, target, by=1.0):
        return by * 100 + 10 * target + logits

    @losses.RECONSTRUCTION_LOSSES.register("huber")
    class Huber(keras.losses.Huber):
        def __init__(self, delta=1.0):
            super().__init__(delta=delta)

    try:
        assert losses.gan_loss("shifted")(3.0, 2.0) == 123.0
        assert losses.gan_loss("shifted(by=2.5)")(3.0, 2.0) == 273.0
        # Tensors are not parameters.
        assert "'target'. Allowed: by." in error(losses.gan_loss, "shifted(target=1.0)")
        found = losses.reconstruction_loss("huber(delta=0.1)")(IMAGES, OTHERS)
        apart = np.abs(IMAGES - OTHERS)
        expected = np.where(apart <= 0.1, apart**2 / 2, 0.1 * (apart - 0.05)).mean()
        assert float(found) == pytest.approx(expected, rel=1e-5)
    finally:
        del losses.GAN_LOSSES._entries["shifted"]
        del losses.RECONSTRUCTION_LOSSES._entries["huber"]


def keras_order(y_true, y_pred):
    return y_true - 2 * y_pred


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        (
            keras.losses.BinaryCrossentropy(from_logits=True),
            lambda logits, target: np.log1p(np.exp(logits)) - target * logits,
        ),
        (
            functools.partial(keras.losses.binary_crossentropy, from_logits=True),
            lambda logits, target: np.log1p(np.exp(logits)) - target * logits,
        ),
        (
            keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2),
            lambda logits, target: np.log1p(np.exp(logits)) - (0.8 * target + 0.1) * logits,
        ),
        (keras.losses.MeanSquaredError(), lambda logits, target: (logits - target) ** 2),
        (
            keras.losses.Hinge(),
            lambda logits, target: np.maximum(1 - (2 * target - 1) * logits, 0),
        ),
        (keras_order, lambda logits, target: target - 2 * logits),
    ],
    ids=["class", "function", "smoothed", "squares", "hinge", "own"],
)
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_losses_of_keras_have_their_arguments_in_keras_order(loss, by_hand, target):
    found = losses.gan_loss(loss)(tf.constant(LOGITS), target)
    expected = by_hand(LOGITS.astype("float64"), target).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("first", ["y_true", "target", "targets"])
def test_the_name_of_the_first_parameter_tells_the_order(first):
    source = f"lambda {first}, logits: tf.reduce_mean({first} + 10.0 * logits)"
    loss = losses.gan_loss(eval(source, {"tf": tf}))
    assert float(loss(tf.constant([3.0, 5.0]), 1.0)) == pytest.approx(41.0)


@pytest.mark.parametrize(
    "loss",
    [
        *(losses.mean_absolute_error, losses.mean_squared_error, losses.binary_crossentropy),
        *(losses.gan_binary_crossentropy, losses.gan_least_squares, losses.gan_hinge),
    ],
)
def test_a_function_of_the_library_comes_back_from_a_file(loss):
    serialized = keras.saving.serialize_keras_object(loss)
    assert keras.saving.deserialize_keras_object(serialized) is loss


@pytest.mark.parametrize("make", [losses.reconstruction_loss, losses.gan_loss])
def test_a_class_instead_of_a_loss(make):
    with pytest.raises(ValueError, match=r"must be a name \(.*\) or a function; got <class"):
        make(keras.losses.MeanSquaredError)


def test_a_loss_of_logits_and_target_keeps_its_order():
    def wasserstein(logits, target):
        return tf.reduce_mean((1.0 - 2.0 * target) * logits)

    assert losses.gan_loss(wasserstein) is wasserstein


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.BinaryCrossentropy(),
        keras.losses.BinaryFocalCrossentropy(),
        keras.losses.binary_crossentropy,
        keras.losses.binary_focal_crossentropy,
        functools.partial(keras.losses.binary_crossentropy, label_smoothing=0.1),
    ],
    ids=["class", "focal", "function", "focal function", "partial"],
)
def test_losses_of_probabilities_are_refused(loss):
    message = error(losses.gan_loss, loss)
    assert "gan_loss must take logits" in message
    assert "BinaryCrossentropy(from_logits=True)" in message


def test_which_losses_take_logits():
    found = [
        name
        for name in losses.RECONSTRUCTION_LOSSES.names()
        if losses.takes_logits(losses.RECONSTRUCTION_LOSSES.get(name))
    ]
    assert found == ["binary_crossentropy"]
    assert losses.takes_logits(functools.partial(losses.binary_crossentropy))
    assert not losses.takes_logits(lambda images, others: 0.0)


@pytest.mark.parametrize("from_logits", [True, False])
def test_cross_entropies_of_keras_do_not_measure_images(from_logits):
    for loss in (
        keras.losses.BinaryCrossentropy(from_logits=from_logits),
        functools.partial(keras.losses.binary_crossentropy, from_logits=from_logits),
    ):
        message = error(losses.reconstruction_loss, loss)
        assert "in [-1, 1], but a cross-entropy of Keras takes probabilities" in message
    found = losses.reconstruction_loss(keras.losses.MeanSquaredError())(IMAGES, OTHERS)
    assert float(found) == pytest.approx(((IMAGES - OTHERS) ** 2).mean(), rel=1e-5)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", "sum", "none"])
def test_a_loss_of_keras_says_what_it_compares(reduction):
    class OfImages(keras.losses.Loss):
        only_images = True

        def call(self, images, others):
            return keras.ops.sum(keras.ops.abs(images - others), axis=(1, 2, 3))

    loss = losses.reconstruction_loss(OfImages(reduction=reduction))
    assert not losses.compares_codes(loss)
    each = np.abs(IMAGES - OTHERS).sum(axis=(1, 2, 3))
    expected = {"sum": each.sum(), "none": each}.get(reduction, each.mean())
    np.testing.assert_allclose(loss(IMAGES, OTHERS), expected, rtol=1e-5)
    assert losses.compares_codes(losses.reconstruction_loss(keras.losses.MeanSquaredError()))
