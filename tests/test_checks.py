"""Checks of what users hand in: what passes, what does not, and the one sentence it gets."""

import ml_dtypes
import numpy as np
import pytest

from amr_tf import checks

Y = np.array([0, 2, 1, -1])
ONE_HOT = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]])
ATTRIBUTES = np.array([[1, 0], [-1, 1], [0, 0], [-1, -1]])


@pytest.mark.parametrize(
    "labels",
    [
        Y,
        Y[:, None],
        Y.astype("int8"),
        Y.tolist(),
        np.array([0, 1, 2, 2], "uint8"),
        np.full(4, -1),
        ONE_HOT,
        ONE_HOT.astype("float32"),
        ONE_HOT.astype(bool),
        ONE_HOT.tolist(),
        np.zeros((4, 3)),
    ],
)
def test_labels_that_pass(labels):
    checks.check_labels(labels, 4, 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (Y[:3], r"must have the shape \(4,\); got \(3,\)"),
        (Y[None, :], r"must have the shape \(4,\) or, one-hot, \(4, 3\); got \(1, 4\)"),
        (np.array(1), r"must have the shape \(4,\); got \(\)"),
        (ONE_HOT[..., None], r"must have the shape \(4,\); got \(4, 3, 1\)"),
        (Y.astype("float32"), r"must be integers \(class numbers\); got float32"),
        (np.array(["a", "b", "c", "d"]), "must be integers"),
        (np.array([True, False, True, False]), "must be integers.*got bool"),
        (Y + 1, "must lie in 0 to 2, or be -1 where unlabelled; got 0 to 3"),
        (Y - 1, "must lie in 0 to 2, or be -1 where unlabelled; got -2 to 1"),
        (ONE_HOT[:, :2], r"must have the shape \(4,\) or, one-hot, \(4, 3\); got \(4, 2\)"),
        (ONE_HOT[:3], r"must have the shape .* got \(3, 3\)"),
        (np.ones((4, 3)), "must be one-hot: at most a single 1 in a row of zeros"),
        (2 * ONE_HOT, "must be one-hot"),
        (-ONE_HOT, "must be one-hot"),
        (ONE_HOT / 2, "must be one-hot"),
        (np.full((4, 3), np.nan), "must be one-hot"),
    ],
)
def test_labels_that_do_not(labels, message):
    with pytest.raises(ValueError, match=f"^these {message}") as error:
        checks.check_labels(labels, 4, 3, "these")
    assert str(error.value).count("\n") == 0


def test_two_classes_in_two_columns_are_one_hot():
    checks.check_labels(np.eye(2), 2, 2)
    with pytest.raises(ValueError, match="must be one-hot"):
        checks.check_labels(np.array([[0, 2], [1, 0]]), 2, 2)


@pytest.mark.parametrize(
    "labels", [ATTRIBUTES, ATTRIBUTES.astype("float32"), ATTRIBUTES.tolist(), ATTRIBUTES > 0]
)
def test_attributes_that_pass(labels):
    checks.check_attributes(labels, 4, 2)


def test_a_single_attribute():
    checks.check_attributes(ATTRIBUTES[:, :1], 4, 1)
    with pytest.raises(ValueError, match=r"\(4, 1\), a column for each attribute; got \(4,\)"):
        checks.check_attributes(ATTRIBUTES[:, 0], 4, 1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (ATTRIBUTES[:3], r"must have the shape \(4, 2\), a column for each.*; got \(3, 2\)"),
        (np.repeat(ATTRIBUTES, 2, axis=1), r"got \(4, 4\)"),
        (Y, r"got \(4,\)"),
        (ATTRIBUTES * 2, "must be 0 or 1, or -1 where unknown, for attributes; got 2"),
        (ATTRIBUTES - 1, "must be 0 or 1.*; got -2"),
        (ATTRIBUTES / 2, "must be 0 or 1.*; got 0.5"),
        (np.full((4, 2), np.nan), "must be 0 or 1.*; got nan"),
    ],
)
def test_attributes_that_do_not(labels, message):
    with pytest.raises(ValueError, match=f"^labels .*{message}"):
        checks.check_attributes(labels, 4, 2)


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1, 1.0, np.float32(0.25), np.int64(1)])
def test_shares_that_pass(value):
    checks.check_share("gamma", value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.001, "gamma must lie in 0 to 1; got 1.001"),
        (2, "gamma must lie in 0 to 1; got 2"),
        (-0.1, "gamma must be a finite number of at least 0; got -0.1"),
        (float("nan"), "gamma must be a finite number"),
        (float("inf"), "gamma must be a finite number"),
        ("0.5", "gamma must be a finite number of at least 0; got '0.5'"),
        (None, "got None"),
    ],
)
def test_shares_that_do_not(value, message):
    with pytest.raises(ValueError, match=message):
        checks.check_share("gamma", value)


@pytest.mark.parametrize("value", [0, 1, 2.5, np.float64(1e9), np.int32(3)])
def test_not_negative(value):
    checks.check_not_negative("beta", value)
    if value:
        with pytest.raises(ValueError, match="beta must be a finite number of at least 0; got"):
            checks.check_not_negative("beta", -value)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize(
    "check", [checks.check_not_negative, checks.check_positive, checks.check_share]
)
def test_truth_values_are_no_weights(check, value):
    with pytest.raises(ValueError, match=f"beta must be a finite number .*; got {value}"):
        check("beta", value)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None])
def test_positive_integers(value):
    checks.check_positive_integer("k", 1)
    checks.check_positive_integer("k", np.int64(3))
    with pytest.raises(ValueError, match="^k must be a positive integer; got "):
        checks.check_positive_integer("k", value)


def test_shapes():
    checks.check_shape("codes", (None, 4, 4, 2), (4, 4, 2))
    checks.check_shape("codes", (7, None, 4, 2), (4, 4, 2))
    for shape in ((7, 4, 4), (7, 4, 4, 3), (4, 4, 2), (7, 4, 4, 2, 1)):
        with pytest.raises(ValueError, match=r"codes must have the shape \(N, 4, 4, 2\); got"):
            checks.check_shape("codes", shape, (4, 4, 2))


def test_images():
    images = np.linspace(-1, 1, 32, dtype="float32").reshape(2, 4, 4, 1)
    checks.check_images(images, (4, 4, 1))
    checks.check_images(images * 1.00005, (4, 4, 1))  # Rounding.
    points = images.reshape(16, 2)
    checks.check_images(points, (2,))
    for wrong, message in (
        (images * 1.01, r"^x must lie in \[-1, 1\]; its values span -1.01 to 1.01.$"),
        (images[:0], "^x is empty"),
        (images[0], r"^x must have the shape \(N, 4, 4, 1\); got \(4, 4, 1\)"),
        (images.astype("int32"), "^x must be floating point.*got int32.*images / 127.5 - 1"),
        (np.where(images > 0.9, np.inf, images), "^x must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            checks.check_images(wrong, (4, 4, 1), "x")


def test_a_wrong_image_far_back_is_found():
    images = np.zeros((5000, 1, 1, 1), "float32")
    images[4999] = 3
    with pytest.raises(ValueError, match="span 0 to 3"):
        checks.check_images(images, (1, 1, 1))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16])
def test_images_of_every_floating_type(dtype):
    images = np.linspace(-1, 1, 32).reshape(2, 4, 4, 1).astype(dtype)
    assert checks.is_floating(images.dtype)
    checks.check_images(images, (4, 4, 1))
    found = checks.as_images(images, (4, 4, 1))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, images.astype("float32"))
    with pytest.raises(ValueError, match=r"must lie in \[-1, 1\]"):
        checks.check_images(images * 2, (4, 4, 1))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "complex64", "<U3", object])
def test_images_of_other_types(dtype):
    images = np.zeros((2, 4, 4, 1)).astype(dtype)
    assert not checks.is_floating(images.dtype)
    for check in (checks.check_images, checks.as_images):
        with pytest.raises(ValueError, match="^images must be floating point.*got .*127.5 - 1.$"):
            check(images, (4, 4, 1))


def test_images_to_work_on():
    """What a decoder made may leave [-1, 1]; what it cannot have made is refused."""
    images = np.zeros((2, 4, 4, 1))
    for value in (1.5, -9.9):
        images[1, 2, 2] = value
        assert checks.as_images(images, (4, 4, 1)).flat[26] == np.float32(value)
    checks.as_images(images.tolist(), (4, 4, 1))
    for value, message in (
        (11.0, r"images must lie in \[-1, 1\]; its values span 0 to 11"),
        (np.nan, "images must be finite"),
        (np.inf, "images must be finite"),
    ):
        images[1, 2, 2] = value
        with pytest.raises(ValueError, match=message):
            checks.as_images(images, (4, 4, 1))


def test_steps():
    for steps in (2, 9, np.int64(3)):
        checks.check_steps(steps)
    for steps in (1, 0, -3, 2.0, True, "3", None):
        with pytest.raises(ValueError, match="^steps must be an integer of at least 2; got "):
            checks.check_steps(steps)


def test_numbers_that_numpy_does_not_take():
    """Python's integers know no limit."""
    with pytest.raises(ValueError, match="beta must be a finite number of at least 0; got 1000"):
        checks.check_not_negative("beta", 10**400)
    checks.check_not_negative("beta", 2**70)


def test_batch_sizes():
    checks.check_batch_size(3, 3)
    with pytest.raises(ValueError, match="A batch of 2 is too small to mix k = 3 examples"):
        checks.check_batch_size(2, 3)
