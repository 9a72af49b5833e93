"""The figures of a model on its data, against plain NumPy."""

import dataclasses

import keras
import numpy as np
import pytest

from amr_tf import AMR, VAE, SupervisedAMR
from amr_tf.data import Split
from amr_tf.metrics.measure import evaluate, measure, results_table
from amr_tf.metrics.probes import PROBES, linear_probe
from tests.metrics.conftest import float_images, make_data, random_states


@pytest.fixture(scope="module")
def data():
    return make_data()


@pytest.fixture(scope="module")
def results(model, data):
    return evaluate(model, data)


def test_what_there_is(results):
    assert list(results) == ["validation", "test", "linear_probe"]
    metrics = {
        "loss",
        "reconstruction_loss",
        "adversarial_loss",
        "discriminator_loss",
        "probe_loss",
        "probe_accuracy",
    }
    for name in ("validation", "test"):
        assert set(results[name]) == metrics
        assert all(type(value) is float for value in results[name].values())


def test_the_reconstruction_loss(model, data, results):
    for name, split in (("validation", data.validation), ("test", data.test)):
        images = float_images(split)
        expected = abs(images - model.reconstruct(images)).mean()
        assert results[name]["reconstruction_loss"] == pytest.approx(expected, rel=1e-4)
        parts = 10.0 * results[name]["reconstruction_loss"] + results[name]["adversarial_loss"]
        assert results[name]["loss"] == pytest.approx(parts, rel=1e-5)


def test_the_probe_that_was_trained_in_unison(model, data, results):
    codes = model.encode(float_images(data.test))
    logits = model.probe.predict(codes, verbose=0)
    expected = (logits.argmax(axis=-1) == data.test.labels).mean()
    assert results["test"]["probe_accuracy"] == pytest.approx(expected, abs=1e-6)


def test_the_linear_probe(model, data, results):
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    codes = {name: (model.encode(float_images(s)), s.labels) for name, s in splits.items()}
    expected = linear_probe(**codes)
    assert set(results["linear_probe"]) == set(expected)
    for name, value in expected.items():
        assert results["linear_probe"][name] == pytest.approx(value, abs=1e-6)
    # Far from chance even without training: the classes differ in brightness.
    assert results["linear_probe"]["test_accuracy"] > 0.5


def test_small_batches_and_a_smaller_last_one_change_nothing(model, data, results):
    again = evaluate(model, data, batch_size=8)
    for name in ("validation", "test"):
        # Each image counts the same, those of the last batch of five or one as well.
        for metric in ("reconstruction_loss", "probe_loss", "probe_accuracy"):
            assert again[name][metric] == pytest.approx(results[name][metric], rel=1e-4)
    assert again["linear_probe"] == pytest.approx(results["linear_probe"], abs=1e-6)


def test_evaluating_changes_nothing(model, data, results):
    before = [variable.numpy() for variable in model.variables]
    assert evaluate(model, data) == results
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_no_test_split(model, data):
    results = evaluate(model, dataclasses.replace(data, test=None))
    assert list(results) == ["validation", "linear_probe"]
    assert "test_accuracy" not in results["linear_probe"]


def test_a_test_split_without_labels(model, data):
    unlabelled = dataclasses.replace(data.test, labels=None)
    results = evaluate(model, dataclasses.replace(data, test=unlabelled))
    assert list(results) == ["validation", "test", "linear_probe"]
    assert "probe_accuracy" not in results["test"]
    assert "test_accuracy" not in results["linear_probe"]


def test_no_labels(model):
    results = evaluate(model, make_data(labelled=False))
    assert list(results) == ["validation", "test"]
    assert not any("probe" in name for name in results["test"])
    assert results["test"]["reconstruction_loss"] > 0


def test_a_single_class_to_train_on_has_no_linear_probe(model, data):
    single = data.train.take(np.flatnonzero(data.train.labels == 1))
    results = evaluate(model, dataclasses.replace(data, train=single))
    assert list(results) == ["validation", "test"]
    assert "probe_accuracy" in results["test"]


def test_images_of_another_shape(model, data):
    other = dataclasses.replace(data, image_size=16)
    message = r"^The model takes images of \(8, 8, 1\); data set 'noise' has \(16, 16, 1\)\.$"
    with pytest.raises(ValueError, match=message):
        evaluate(model, other)


def test_a_vae(data):
    """The probe reads the means, and there is no discriminator's loss."""
    keras.utils.set_random_seed(0)
    vae = VAE.convolutional((8, 8, 1), depth=2, num_classes=3, seed=0)
    vae.compile()
    results = evaluate(vae, data)
    metrics = {"loss", "reconstruction_loss", "kl_loss", "probe_loss", "probe_accuracy"}
    for name in ("validation", "test"):
        assert set(results[name]) == metrics
    parts = results["test"]["reconstruction_loss"] + results["test"]["kl_loss"]
    assert results["test"]["loss"] == pytest.approx(parts, rel=1e-5)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    codes = {name: (vae.encode(float_images(s)), s.labels) for name, s in splits.items()}
    assert codes["train"][0].shape == (60, 4, 4, 2)
    assert results["linear_probe"] == pytest.approx(linear_probe(**codes), abs=1e-6)


def with_attributes(data):
    """The classes as attributes: not dark, and bright; some unknown."""

    def change(split, hidden):
        attributes = np.stack([split.labels > 0, split.labels > 1], axis=1).astype("int64")
        attributes[hidden::7, 0] = -1
        attributes[hidden::11] = -1
        return Split(split.images, attributes)

    return dataclasses.replace(
        data,
        train=change(data.train, 0),
        validation=change(data.validation, 1),
        test=change(data.test, 2),
        class_names=("lit", "bright"),
        multi_label=True,
    )


@pytest.fixture(scope="module")
def attribute_model():
    keras.utils.set_random_seed(0)
    model = AMR.convolutional((8, 8, 1), depth=2, num_classes=2, multi_label=True, seed=0)
    model.compile()
    return model


def test_the_probe_of_attributes_that_was_trained_in_unison(attribute_model, data):
    test = with_attributes(data).test
    images = float_images(test)
    logits = attribute_model.probe.predict(attribute_model.encode(images), verbose=0)
    known = test.labels >= 0
    assert 0 < known.mean() < 1
    expected = ((logits > 0) == (test.labels == 1))[known].mean()
    results = attribute_model.evaluate(images, test.labels, 8, verbose=0, return_dict=True)
    assert results["probe_accuracy"] == pytest.approx(expected, abs=1e-6)


def test_attribute_data(attribute_model, data):
    attributes = with_attributes(data)
    results = evaluate(attribute_model, attributes)
    assert list(results) == ["validation", "test", "linear_probe"]
    assert 0 <= results["test"]["probe_accuracy"] <= 1
    assert set(results["linear_probe"]) >= {"train_accuracy", "test_accuracy"}
    # Brightness shows in codes of any encoder.
    assert results["linear_probe"]["train_accuracy"] > 0.8


def test_images_without_a_label_are_not_probed(model, data):
    """Semi-supervised data: the figures are those of the labelled images alone."""
    hidden = np.arange(60) % 2 == 0
    labels = np.where(hidden, -1, data.train.labels)
    partly = dataclasses.replace(data, train=Split(data.train.images, labels))
    labelled = dataclasses.replace(data, train=data.train.take(np.flatnonzero(~hidden)))
    one, two = evaluate(model, partly), evaluate(model, labelled)
    assert one["linear_probe"] == pytest.approx(two["linear_probe"], abs=1e-6)


def test_all_probes_and_splits(model, data, results):
    more = evaluate(model, data, probes=tuple(PROBES), splits=("train", "test"))
    assert list(more) == ["train", "test", "linear_probe", "knn_probe", "mlp_probe"]
    assert more["test"] == results["test"]
    assert more["linear_probe"] == results["linear_probe"]
    assert more["knn_probe"]["test_accuracy"] > 0.5
    images = float_images(data.train)
    expected = abs(images - model.reconstruct(images)).mean()
    assert more["train"]["reconstruction_loss"] == pytest.approx(expected, rel=1e-4)


def test_no_probes(model, data):
    assert list(evaluate(model, data, probes=())) == ["validation", "test"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probes": ("linear", "svm")}, "^Unknown probe 'svm'.* Allowed: knn, linear, mlp."),
        ({"splits": ("tests",)}, "^Unknown split 'tests'. Did you mean 'test'?"),
    ],
)
def test_unknown_probes_and_splits(model, data, arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate(model, data, **arguments)


def test_the_table():
    results = {
        "best_val_probe_accuracy": 0.5,
        "validation": {"loss": 2.0},
        "test": {"loss": 1.25, "probe_accuracy": 0.75},
        "linear_probe": {"inverse_regularisation": 0.1, "test_accuracy": 0.8},
    }
    assert results_table(results).splitlines() == [
        f"{'':35}" + f"{'':>14}{'validation':>14}{'test':>14}",
        f"{'best_val_probe_accuracy':35}" + f"{'0.5':>14}",
        f"{'loss':35}" + f"{'':>14}{'2':>14}{'1.25':>14}",
        f"{'probe_accuracy':35}" + f"{'':>14}{'':>14}{'0.75':>14}",
        f"{'linear_probe inverse_regularisation':35}" + f"{'0.1':>14}",
        f"{'linear_probe accuracy':35}" + f"{'':>14}{'':>14}{'0.8':>14}",
    ]


# Measures.


@pytest.mark.filterwarnings("ignore:.*images are few")
@pytest.mark.parametrize("multi_label", [False, True])
def test_measures_of_partly_labelled_data(data, multi_label, monkeypatch):
    """As `--labelled` and tables with gaps leave them."""
    monkeypatch.setattr("amr_tf.metrics.label_mixing._STEPS", 40)
    if multi_label:
        data, classes = with_attributes(data), 2
    else:
        labels = np.where(np.arange(60) % 4, -1, data.train.labels)
        data, classes = dataclasses.replace(data, train=Split(data.train.images, labels)), 3
    model = SupervisedAMR.convolutional(
        (8, 8, 1), depth=2, mixer="mixup", num_classes=classes, multi_label=multi_label, seed=0
    )
    model.compile()
    results = measure(model, data, (), (), ("image_quality", "label_mixing"))
    assert list(results) == ["image_quality", "label_mixing"]
    assert np.isfinite(results["image_quality"]["mixes"]["fid"])
    # The classifier tells the classes of images that it was not trained on.
    assert results["label_mixing"]["comparisons"] > 0
    assert 0 <= results["label_mixing"]["pure"] <= 1


@pytest.mark.filterwarnings("ignore:.*images are few")
def test_measuring_leaves_the_global_random_state_alone(model, data, monkeypatch):
    monkeypatch.setattr("amr_tf.metrics.label_mixing._STEPS", 40)
    states = []
    for measures in (False, True):
        keras.utils.set_random_seed(7)
        if measures:
            measure(model, data, tuple(PROBES), ("test",), ("image_quality",))
        states.append(random_states())
    model.density = None
    assert states[0] == states[1]


def test_image_quality_needs_classes_or_a_network(model, data):
    message = "^image_quality looks at .* data set 'noise' have no labels of two .* inception_wei"
    single = data.train.take(np.flatnonzero(data.train.labels == 1))
    for bad in (make_data(labelled=False), dataclasses.replace(data, train=single)):
        with pytest.raises(ValueError, match=message):
            measure(model, bad, (), (), ("image_quality",))
