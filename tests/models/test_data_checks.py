"""What `fit` and `evaluate` take, what they refuse, and that no data are lost to a check."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, VAE, Mixup, checks
from tests.models.helpers import ATTRIBUTES, SHAPE, X, Y, everything, make, make_dense, same, values

pytestmark = pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Of generators.
ONE_HOT = np.eye(3, dtype="int64")[Y]


def batched(*arrays, size=4):
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(size)


class Batches(keras.utils.PyDataset):
    """Batches of four with labels; notes which ones were asked for."""

    def __init__(self, images=X, labels=Y, weights=None, **kwargs):
        super().__init__(**kwargs)
        self.arrays = [array for array in (images, labels, weights) if array is not None]
        self.asked, self.ended = [], 0

    def __len__(self):
        return len(self.arrays[0]) // 4

    def __getitem__(self, index):
        self.asked.append(index)
        return tuple(array[index * 4 : index * 4 + 4] for array in self.arrays)

    def on_epoch_end(self):
        self.ended += 1


def generator(images=X, labels=Y):
    for start in range(0, len(images), 4):
        part = images[start : start + 4]
        yield (part,) if labels is None else (part, labels[start : start + 4])


@pytest.fixture(scope="module")
def model():
    """A model that tests may train: what it refuses does not depend on its weights."""
    return make_dense(mixer=Mixup(3, seed=0))


def refused(model, *args, method="fit", **kwargs):
    """The sentence with which data are refused, before any step is made."""
    before = values(model.weights)
    with pytest.raises(ValueError) as error:
        getattr(model, method)(*args, verbose=0, **kwargs)
    assert same(before, values(model.weights))
    return sentence(error)


def sentence(error):
    text = str(error.value)
    assert "\n" not in text
    assert "amr_tf:" not in text
    return text


# What is taken.


LABELLED = {
    "arrays": {"x": X, "y": Y, "batch_size": 4},
    "list of labels": {"x": X, "y": Y.tolist(), "batch_size": 4},
    "dataset": {"x": batched(X, Y)},
    "float64 dataset": {"x": batched(X.astype("float64"), Y.astype("uint8"))},
    "bfloat16 dataset": {"x": batched(tf.cast(X, "bfloat16"), Y[:, None])},
    "float16 dataset": {"x": batched(X.astype("float16"), ONE_HOT.astype(bool))},
    "dataset's remainder": {"x": batched(X, Y, size=5)},  # The last batch has fewer than k.
    "endless": {"x": batched(X, Y).repeat(), "steps_per_epoch": 3},
    "pydataset": {"x": Batches()},
    "generator": {"x": generator()},
    "tensor": {"x": tf.constant(X), "y": Y[:, None], "batch_size": 4},
    "bfloat16": {"x": tf.cast(X, "bfloat16"), "y": Y, "batch_size": 4},
    "remainder": {"x": X, "y": Y, "batch_size": 5},
}
UNLABELLED = {
    "images": {"x": X, "batch_size": 4},
    "dataset of images": {"x": batched(X)},
    "generator of images": {"x": generator(labels=None)},
    "generator of bare images": {"x": (images for (images,) in generator(labels=None))},
}


@pytest.mark.parametrize("name", [*LABELLED, *UNLABELLED])
def test_fit_takes_what_keras_takes(model, name):
    before = int(model.step_counter)
    history = model.fit(**{**LABELLED, **UNLABELLED}[name], epochs=1, verbose=0).history
    names = {"loss", "reconstruction_loss", "adversarial_loss", "discriminator_loss"}
    names |= {"probe_loss", "probe_accuracy"} if name in LABELLED else set()
    assert set(history) == names
    assert all(np.isfinite(numbers).all() for numbers in history.values())
    assert int(model.step_counter) - before == 3


def test_validation_split(model):
    before = int(model.step_counter)
    history = model.fit(X, Y, batch_size=3, validation_split=0.5, verbose=0).history
    assert int(model.step_counter) - before == 2
    expected = model.evaluate(X[6:], Y[6:], batch_size=3, verbose=0, return_dict=True)
    for name, value in expected.items():
        assert history[f"val_{name}"] == [pytest.approx(value, rel=1e-6)]


@pytest.mark.parametrize(
    ("share", "batch_size", "message"),
    [
        (1.5, 4, "validation_split must be at least 0 and below 1; got 1.5."),
        (-0.5, 4, "validation_split must be at least 0 and below 1; got -0.5."),
        ("half", 4, "validation_split must be at least 0 and below 1; got 'half'."),
        (0.99, 4, "validation_split = 0.99 of 12 images leaves no image on one side."),
        (0.8, 4, "A batch of 2 is too small to mix k = 3 examples"),
    ],
)
def test_a_validation_split_that_leaves_too_little(model, share, batch_size, message):
    said = refused(model, X, Y, batch_size=batch_size, validation_split=share)
    assert said.startswith(message)


def test_a_validation_split_of_what_is_no_array(model):
    message = "validation_split = 0.5 is for arrays: pass validation_data with a data set."
    assert refused(model, batched(X, Y), validation_split=0.5) == message
    assert refused(model, Batches(), validation_split=0.5) == message


def test_a_validation_split_beside_validation_data_is_not_used(model):
    history = model.fit(
        X, Y, batch_size=4, validation_split=0.99, validation_data=(X, Y), verbose=0
    )
    assert "val_loss" in history.history


def test_fit_takes_positional_arguments(model):
    history = model.fit(X, Y, 6, 2, 0, None, 0.0, (X, Y)).history
    assert len(history["val_loss"]) == 2
    message = "validation images must lie in"
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, 6, 1, 0, None, 0.0, (2 * X, Y))


@pytest.mark.parametrize("attributes", [ATTRIBUTES, ATTRIBUTES > 0, ATTRIBUTES.astype("uint8")])
def test_attributes_of_every_type(attributes):
    model = make(AMR, multi_label=True)
    expected = model.evaluate(X, ATTRIBUTES, verbose=0, return_dict=True)
    for data in ((X, attributes), (batched(X, attributes, size=12),)):
        assert model.evaluate(*data, verbose=0, return_dict=True) == expected


def test_without_a_probe_labels_are_left_alone():
    model = make(AMR, num_classes=None)
    model.fit(X, Y + 100, verbose=0)
    model.fit(batched(X, Y + 100), verbose=0)


# Nothing is lost.


def test_a_pipeline_is_opened_as_often_as_by_keras(model):
    """A data set that counts: how often it was opened, and which elements it gave."""

    def counted():
        log = []

        def elements():
            log.append("open")
            for start in range(0, 12, 4):
                log.append(start)
                yield X[start : start + 4], Y[start : start + 4]

        signature = (tf.TensorSpec((None, *SHAPE)), tf.TensorSpec((None,), "int64"))
        return tf.data.Dataset.from_generator(elements, output_signature=signature), log

    plain = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    plain.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    logs = []
    for one in (plain, model):
        (train, train_log), (validation, validation_log) = counted(), counted()
        one.fit(train, epochs=2, validation_data=validation, verbose=0)
        one.evaluate(validation, verbose=0)
        logs.append((train_log, validation_log))
    assert logs[0] == logs[1]
    assert logs[1][0].count("open") == 2
    assert logs[1][1].count("open") == 3


def test_a_stream_is_seen_whole(model):
    """Files read once, as through a pipe: a check that took a batch would lose it."""
    seen = []
    images = iter(np.split(np.linspace(-1, 1, 12, dtype="float32"), 3))

    def elements():
        for values_of in images:
            yield np.broadcast_to(values_of[:, None, None, None], (4, *SHAPE))

    dataset = tf.data.Dataset.from_generator(
        elements, output_signature=tf.TensorSpec((None, *SHAPE))
    ).map(lambda batch: tf.py_function(lambda one: note(one, seen), [batch], "float32"))
    dataset = dataset.map(lambda batch: tf.ensure_shape(batch, (None, *SHAPE)))
    before = int(model.step_counter)
    model.fit(dataset, verbose=0)
    assert int(model.step_counter) - before == 3
    np.testing.assert_allclose(np.concatenate(seen), np.linspace(-1, 1, 12), atol=1e-6)


def note(batch, seen):
    seen.append(batch.numpy()[:, 0, 0, 0])
    return batch


def test_a_pydataset_is_asked_as_often_as_by_keras(model):
    plain = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    plain.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    asked = []
    for one in (plain, model):
        train, validation = Batches(), Batches()
        one.fit(train, epochs=2, validation_data=validation, shuffle=False, verbose=0)
        asked.append((train.asked, validation.asked, train.ended, validation.ended))
    assert asked[0] == asked[1]
    assert asked[1][2] > 1


def test_an_endless_pydataset(model):
    class Endless(Batches):
        __len__ = None
        num_batches = None

        def __getitem__(self, index):
            return super().__getitem__(index % 3)

    before = int(model.step_counter)
    model.fit(Endless(), steps_per_epoch=5, verbose=0)
    assert int(model.step_counter) - before == 5


def test_validation_data_are_checked_once(model, monkeypatch):
    """Each epoch evaluates, but the check of the arrays is made before the first."""
    calls = []
    check = checks.check_images
    monkeypatch.setattr(
        checks, "check_images", lambda *args, **kwargs: calls.append(1) or check(*args, **kwargs)
    )
    model.fit(X, Y, epochs=3, validation_data=(X, Y), verbose=0)
    assert len(calls) == 2


# What is refused.


def bad(value, dtype="float32"):
    images = X.astype(dtype)
    images[9, 3, 3] = value  # In the last of three batches.
    return images


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": X[:, :4]}, "images must have the shape (N, 8, 8, 1); got (12, 4, 8, 1)."),
        ({"x": np.repeat(X, 3, axis=-1)}, "got (12, 8, 8, 3)"),
        ({"x": X[0]}, "got (8, 8, 1)"),
        ({"x": X * 2}, "images must lie in [-1, 1]; its values span -1.99"),
        ({"x": (X * 127 + 128).astype("uint8")}, "got uint8. For uint8 images use images / 127.5"),
        ({"x": bad(np.nan)}, "images must be finite; it holds NaN or infinite values."),
        ({"x": X[:0]}, "images is empty"),
        ({"x": X[:2], "batch_size": 8}, "A batch of 2 is too small to mix k = 3"),
        ({"x": X, "batch_size": 2}, "A batch of 2 is too small to mix k = 3"),
        ({"x": X, "y": Y[:5]}, "labels must have the shape (12,); got (5,)"),
        ({"x": X, "y": Y.astype("float32")}, "labels must be integers"),
        ({"x": X, "y": Y + 1}, "labels must lie in 0 to 2, or be -1 where unlabelled; got 1 to 3"),
        ({"x": X, "validation_data": (X * 2, Y)}, "validation images must lie in [-1, 1]"),
        ({"x": X, "validation_data": [X, Y + 1]}, "validation labels must lie in 0 to 2"),
        ({"x": X, "validation_data": (X[:, :4],)}, "validation images must have the shape"),
        ({"x": X, "validation_data": batched(X[:0])}, "The validation data set is empty"),
        ({"x": batched(X[:0])}, "The data set is empty"),
        ({"x": batched(X, size=2)}, "A batch of 2 is too small"),
        ({"x": batched(X[:, :4])}, "images must have the shape (N, 8, 8, 1); got (None, 4, 8, 1)"),
        ({"x": [X]}, "images must be one array (N, 8, 8, 1) or a data set of batches; got list."),
        ({"x": (X, Y)}, "or a data set of batches; got tuple."),
        ({"x": {"images": X}}, "or a data set of batches; got dict."),
        ({"x": None}, "or a data set of batches; got NoneType."),
        ({"x": X, "validation_data": ([X], Y)}, "validation images must be one array"),
        ({"x": batched({"images": X})}, "its images are of type dict."),
        ({"x": batched({"images": X}, Y)}, "its images are of type dict."),
        (
            {"x": X, "validation_data": batched((X, X), Y)},
            "batch of validation data must be images",
        ),
        ({"x": batched(X).repeat()}, "The data set never ends: pass steps_per_epoch"),
        (
            {"x": X, "validation_data": batched(X, Y).repeat()},
            "The validation data set never ends: pass validation_steps",
        ),
    ],
)
def test_bad_data_are_refused_before_training(model, data, message):
    assert message in refused(model, **data)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (Y + 1, "labels must lie in 0 to 2, or be -1 where unlabelled; a batch holds others."),
        (Y - 2, "labels must lie in 0 to 2"),
        (Y.astype("float32"), "labels must be integers (class numbers); got float32."),
        (Y.astype(str), "labels must be integers (class numbers); got string."),
        (np.eye(5)[Y], "labels must have the shape (N, 3); got (None, 5)."),
        (np.ones((12, 3)), "labels must be one-hot: at most a single 1 in a row of zeros."),
        (0.5 * ONE_HOT, "labels must be one-hot"),
        (ONE_HOT[..., None], "labels must have the shape (N,); got (None, 3, 1)."),
        ({"classes": Y}, "labels must be one tensor; got dict."),
    ],
    ids=["high", "low", "float", "text", "wide", "many", "half", "rank", "dict"],
)
def test_bad_labels_in_a_pipeline(model, labels, message):
    with pytest.raises(ValueError) as error:
        model.fit(batched(X, labels, size=12), verbose=0)
    assert message in sentence(error)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (Y, "labels must have the shape (N, 3); got (None,)."),
        (2 * ATTRIBUTES, "labels must be 0 or 1, or -1 where unknown, for attributes"),
        (ATTRIBUTES - 0.5, "labels must be 0 or 1"),
        (ATTRIBUTES.astype(str), "labels must be numbers; got string."),
    ],
    ids=["classes", "two", "half", "text"],
)
def test_bad_attributes_in_a_pipeline(attributes, message):
    model = make(AMR, multi_label=True)
    assert message in refused(model, batched(X, attributes, size=12))


def test_pipelines_of_an_unknown_shape(model):
    def dataset(*shapes):
        types = tf.float32, tf.int64
        signature = tuple(map(tf.TensorSpec, shapes, types))
        return tf.data.Dataset.from_generator(generator, output_signature=signature)

    image_shape = (None, *SHAPE)
    model.fit(dataset((None, None, None, 1), (None,)), verbose=0)
    assert "The shape of images is not known" in refused(model, dataset(None, (None,)))
    assert "The shape of labels is not known" in refused(model, dataset(image_shape, None))
    wrong = dataset(image_shape, (None,)).map(lambda images, labels: (images[:, 1:], labels))
    assert "images must have the shape (N, 8, 8, 1); got" in refused(model, wrong)
    hidden = wrong.map(
        lambda images, labels: (tf.py_function(tf.identity, [images], tf.float32), labels)
    ).map(lambda images, labels: (tf.ensure_shape(images, (None, None, None, 1)), labels))
    message = "images must have the shape (N, 8, 8, 1); a batch has [4 7 8 1]."
    assert message in refused(model, hidden)


KINDS = {"dataset": batched, "generator": generator, "pydataset": Batches}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((X * 127 + 128).astype("uint8"), "images must be floating point with values in [-1, 1]"),
        (X * 127 + 128, "images must lie in [-1, 1]"),
        (X * np.nan, "images must be finite"),
        (bad(np.nan), "images must be finite"),
        (bad(-np.inf), "images must be finite"),
        (bad(1.5), "images must lie in [-1, 1]"),
    ],
    ids=["uint8", "255", "nan", "late nan", "late infinity", "late value"],
)
def test_batches_are_checked_as_they_come(model, kind, images, message):
    """At the first batch, before any step; a later one stops the training with one sentence."""
    before = int(model.step_counter)
    late = not np.isnan(images.astype("float32")).all() and np.abs(images[:8]).max() <= 1
    with pytest.raises(ValueError) as error:
        model.fit(KINDS[kind](images, Y), shuffle=False, verbose=0)
    assert message in sentence(error)
    assert int(model.step_counter) - before == (2 if late else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_checked_in_a_graph(kind):
    model = make_dense(compile_kwargs={"run_eagerly": False})
    with pytest.raises(ValueError) as error:
        model.fit(KINDS[kind](bad(np.nan), Y), shuffle=False, verbose=0)
    assert "images must be finite" in sentence(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["fit", "validation", "evaluate"])
def test_a_late_bad_label(model, kind, where):
    labels = np.where(np.arange(12) == 9, 3, Y)
    data = KINDS[kind](X, labels)
    with pytest.raises(ValueError) as error:
        if where == "validation":
            model.fit(X, Y, validation_data=data, verbose=0)
        else:
            getattr(model, where)(data, verbose=0)
    prefix = "validation " if where == "validation" else ""
    assert sentence(error).startswith(f"{prefix}labels must lie in 0 to 2")


def test_other_errors_in_a_batch_stay_as_they_are(model):
    dataset = batched(X).map(lambda images: tf.debugging.check_numerics(images / 0.0, "own"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="own"):
        model.fit(dataset, verbose=0)

    def failing():
        yield X[:4], Y[:4]
        raise KeyError("mine")

    with pytest.raises(Exception, match="mine"):
        model.fit(failing(), verbose=0)


# Weights of samples and classes.

WEIGHTS = np.ones(12, "float32")


@pytest.mark.parametrize(
    ("method", "arguments", "name"),
    [
        ("fit", {"x": X, "y": Y, "sample_weight": WEIGHTS}, "sample_weight"),
        ("fit", {"x": X, "y": Y, "class_weight": {0: 1.0, 1: 2.0, 2: 1.0}}, "class_weight"),
        ("fit", {"x": X, "class_weight": {0: 1.0}}, "class_weight"),
        ("fit", {"x": batched(X, Y, WEIGHTS)}, "sample_weight"),
        ("fit", {"x": Batches(weights=WEIGHTS)}, "sample_weight"),
        ("fit", {"x": ((X[:4], Y[:4], WEIGHTS[:4]) for _ in range(3))}, "sample_weight"),
        ("fit", {"x": X, "y": Y, "validation_data": (X, Y, WEIGHTS)}, "sample_weight"),
        ("fit", {"x": X, "validation_data": batched(X, Y, WEIGHTS)}, "sample_weight"),
        ("evaluate", {"x": X, "y": Y, "sample_weight": WEIGHTS}, "sample_weight"),
        ("evaluate", {"x": batched(X, Y, WEIGHTS)}, "sample_weight"),
        ("evaluate", {"x": Batches(weights=WEIGHTS)}, "sample_weight"),
    ],
)
def test_weights_are_refused(model, method, arguments, name):
    assert refused(model, method=method, **arguments).startswith(f"{name} is not supported")


# Single batches.


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": X, "y": Y, "sample_weight": WEIGHTS}, "sample_weight is not supported"),
        ({"x": (X * 127 + 128).astype("uint8")}, "images must be floating point"),
        ({"x": X * 127 + 128}, "images must lie in [-1, 1]"),
        ({"x": bad(np.nan)}, "images must be finite"),
        ({"x": X, "y": Y + 1}, "labels must lie in 0 to 2"),
        ({"x": [X]}, "images must be one array"),
    ],
)
def test_single_batches_are_checked(model, method, data, message):
    before = everything(model)
    with pytest.raises(ValueError) as error:
        getattr(model, method)(**data)
    assert message in sentence(error)
    assert same(before, everything(model))


def test_single_batches(model):
    expected = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert model.test_on_batch(X, Y, return_dict=True) == expected
    before = int(model.step_counter)
    results = model.train_on_batch(X, Y.tolist(), return_dict=True)
    assert int(model.step_counter) == before + 1
    assert results.keys() == expected.keys()
    with pytest.raises(ValueError, match="class_weight is not supported"):
        model.train_on_batch(X, Y, class_weight={0: 1.0, 1: 2.0, 2: 1.0})
    with pytest.raises(ValueError, match="A batch of 2 is too small to mix k = 3"):
        model.train_on_batch(X[:2], Y[:2])


def test_a_step_of_ones_own_loop_takes_no_weights(model):
    """Keras' own loop of a strategy's data set comes here unchecked."""
    for step in (model.train_step, model.test_step):
        with pytest.raises(ValueError, match="sample_weight is not supported"):
            step((X, Y, WEIGHTS))


def test_methods_that_make_no_mixes_take_any_batch():
    make(VAE, Mixup(3, seed=0)).fit(X, Y, batch_size=2, verbose=0)
