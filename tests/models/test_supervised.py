"""Supervised AMR: its losses in NumPy, the label mixer's gradient, mixing under given labels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, Mixup, SupervisedAMR, SupervisedBernoulliMixup
from amr_tf.networks import (
    build_decoder,
    build_discriminator,
    build_encoder,
    build_linear_probe,
)
from tests.models.helpers import (
    ATTRIBUTES,
    SHAPE,
    X,
    Y,
    crossentropy,
    make,
    mean_error,
    same,
    save_and_continue,
    sigmoid,
    softmax,
    values,
)

ONE_HOT = np.eye(3, dtype="int64")[Y]
PARTLY = np.where(np.arange(12) % 4 == 1, -1, Y)
PARTLY_ATTRIBUTES = np.where(np.random.default_rng(2).random((12, 3)) < 0.3, -1, ATTRIBUTES)


def supervised(mixer=None, compile_kwargs=None, **arguments):
    """A model whose label mixer gets the arguments."""
    multi_label = arguments.pop("multi_label", False)
    return make(
        SupervisedAMR,
        mixer,
        label_mixer=SupervisedBernoulliMixup(3, seed=1, **arguments),
        multi_label=multi_label,
        compile_kwargs=compile_kwargs,
    )


def test_r1_is_that_of_the_logit():
    """As for AMR, and not of the classifier beside it."""
    model = supervised(compile_kwargs={"r1": 2.0})
    step = model.forward(tf.constant(X), Y)
    with tf.GradientTape() as tape:
        images = tf.constant(X)
        tape.watch(images)
        logits = model.discriminator(images)[0]
    slopes = np.asarray(tape.gradient(logits, images))
    penalty = float(step.regularization["discriminator"])
    assert penalty == pytest.approx(np.square(slopes).sum() / len(X), rel=1e-5)
    assert float(model.train_on(X, Y)["discriminator_regularization_loss"]) > 0


@pytest.mark.parametrize("mixer", [None, Mixup(k=2, seed=0)], ids=("labels", "both"))
def test_mix_steps_count_both_mixers(mixer):
    """After them, the weight of real images falls with that of all fakes."""
    weights = {"mix_weight": 3.0, "real_weight": 2.0, "mix_steps": 1}
    model = supervised(mixer, compile_kwargs=weights)
    fakes = 1 + 3.0 * (1 if mixer is None else 2)
    for real_weight, mix_weight in ((2.0, 3.0), (2.0 / fakes, 0.0)):
        step = model.forward(tf.constant(X), Y)
        expected = real_weight * crossentropy(step.logits["real"], 1)
        for group in step.decoded:
            weight = 1.0 if group == "reconstruction" else mix_weight
            expected += weight * crossentropy(step.logits[group], 0)
        found = model.discriminator_losses(step)
        loss = float(found[0]) - float(found[1]["classifier_loss"])
        assert loss == pytest.approx(float(expected), rel=1e-4)
        model.train_on(X, Y)


def classes_error(targets, logits, weights):
    """Mean cross-entropy of the rows that count."""
    rows = -(np.asarray(targets, "float64") * np.log(softmax(logits))).sum(axis=-1)
    return rows[weights > 0].mean()


def attributes_error(targets, logits, weights):
    """Mean cross-entropy of the entries that count."""
    probability, targets = sigmoid(logits), np.asarray(targets, "float64")
    entries = -(targets * np.log(probability) + (1 - targets) * np.log(1 - probability))
    return entries[weights > 0].mean()


def known_of(labels, multi_label):
    """Targets and what is known of them."""
    if multi_label:
        return np.where(labels < 0, 0.5, labels), (labels >= 0).astype("float32")
    return np.eye(3)[np.maximum(labels, 0)], (labels >= 0).astype("float32")


@pytest.mark.parametrize("mixer", [None, "mixup"])
@pytest.mark.parametrize(
    ("labels", "multi_label"),
    [(Y, False), (PARTLY, False), (ATTRIBUTES, True), (PARTLY_ATTRIBUTES, True)],
    ids=["classes", "some classes", "attributes", "some attributes"],
)
def test_losses(labels, multi_label, mixer):
    settings = {"lambda_": 7.0, "class_weight": 3.0}
    model = supervised(mixer, settings, multi_label=multi_label)
    step = model.forward(X, labels)
    loss, terms = model.autoencoder_losses(step)
    critic, critics_terms = model.discriminator_losses(step)

    fakes = {"reconstruction": model.decoder(step.codes)}
    fakes["label_mix"] = model.decoder(step.latents["label_mix"])
    if mixer is not None:
        fakes["mix"] = model.decoder(step.mixed_codes)
    assert set(step.logits) == {"real", *fakes}
    logits = {"real": model.discriminator(X)}
    logits |= {group: model.discriminator(images) for group, images in fakes.items()}
    error = mean_error(X, fakes["reconstruction"])
    adversarial = sum(crossentropy(logits[group][0], 1) for group in fakes)
    targets, known = known_of(labels, multi_label)
    class_error = attributes_error if multi_label else classes_error
    assert 0 < step.label_weights.numpy().mean() <= 1
    mixed = class_error(step.mixed_labels, logits["label_mix"][1], step.label_weights.numpy())
    assert set(terms) == {"reconstruction_loss", "adversarial_loss", "classification_loss"}
    assert float(terms["reconstruction_loss"]) == pytest.approx(error, rel=1e-4)
    assert float(terms["adversarial_loss"]) == pytest.approx(adversarial, rel=1e-4)
    assert float(terms["classification_loss"]) == pytest.approx(mixed, rel=1e-4)
    assert float(loss) == pytest.approx(7 * error + adversarial + 3 * mixed, rel=1e-4)

    classifier = class_error(targets, logits["real"][1], known)
    expected = crossentropy(logits["real"][0], 1)
    expected += sum(crossentropy(logits[group][0], 0) for group in fakes)
    assert float(critics_terms["classifier_loss"]) == pytest.approx(classifier, rel=1e-4)
    assert float(critic) == pytest.approx(expected + classifier, rel=1e-4)
    scores = np.asarray(logits["real"][1])
    right = (scores > 0) == (targets > 0.5) if multi_label else scores.argmax(-1) == labels
    assert float(critics_terms["classifier_accuracy"]) == pytest.approx(right[known > 0].mean())


def test_what_a_step_returns():
    model = supervised("mixup")
    results = model.train_on(X, Y)
    unused = {"consistency_loss", "feature_loss", "look_loss"}
    unused.update(name for name in SupervisedAMR.METRICS if "regul" in name)
    assert set(results) == set(SupervisedAMR.METRICS) - unused
    assert len(unused) == 6
    assert all(np.isfinite(float(value)) for value in results.values())


@pytest.mark.parametrize("multi_label", [False, True])
def test_what_is_mixed_under_which_label(multi_label):
    """Each map from one of the two parents; y~ between their labels; weights from both."""
    labels = PARTLY_ATTRIBUTES if multi_label else PARTLY
    model = supervised(multi_label=multi_label)
    step = model.forward(X, labels, seed=0)
    first, second = np.asarray(model.label_mixer.draw_permutations(12, 0))
    np.testing.assert_array_equal(first, np.arange(12))
    codes, mixed = np.asarray(step.codes), np.asarray(step.latents["label_mix"])
    own = np.all(np.isclose(mixed, codes), axis=(1, 2))
    other = np.all(np.isclose(mixed, codes[second]), axis=(1, 2))
    assert np.all(own | other)
    assert not own.all()
    assert not other.all()
    targets, known = known_of(labels, multi_label)
    np.testing.assert_array_equal(step.label_weights, known * known[second])
    assert 0 < np.mean(step.label_weights) < 1
    # One alpha for all columns of an example.
    y, apart = np.asarray(step.mixed_labels, "float64"), targets - targets[second]
    usable = (known * known[second] > 0).reshape(12, -1) & (apart != 0)
    for row, columns in enumerate(usable):
        alphas = (y[row] - targets[second][row])[columns] / apart[row][columns]
        assert np.all((alphas > -1e-6) & (alphas < 1 + 1e-6))
        np.testing.assert_allclose(alphas, alphas[:1].repeat(len(alphas)), atol=1e-5)
    assert usable.any(axis=1).sum() > 3


@pytest.mark.parametrize("condition", ["label", "parents"])
@pytest.mark.parametrize("estimator", ["straight_through", "concrete"])
def test_the_embedding_learns(estimator, condition):
    """By plain gradient descent, so that nothing but the loss's gradient can move it."""
    model = supervised(
        estimator=estimator,
        condition=condition,
        compile_kwargs={"autoencoder_optimizer": keras.optimizers.SGD(0.1)},
    )
    variables = model.label_mixer.embedding.trainable_variables
    assert len(variables) == 4
    tracked = {id(variable) for variable in model.autoencoder_variables}
    assert {id(variable) for variable in variables} <= tracked
    with tf.GradientTape() as tape:
        step = model.forward(X, Y, True)
        loss = model.autoencoder_losses(step)[1]["classification_loss"]
    for gradient in tape.gradient(loss, variables):
        assert np.abs(gradient).max() > 0
    before = [values([variable])[0] for variable in variables]
    model.train_on(X, Y)
    for old, new in zip(before, values(variables)):
        assert not np.array_equal(old, new)


def test_the_classifier_learns_on_real_images_alone():
    """Its branch's weights move by the gradient of the real images' cross-entropy."""
    rate = 0.5
    model = supervised(compile_kwargs={"discriminator_optimizer": keras.optimizers.SGD(rate)})
    branch = model.discriminator.get_layer("class_logits").trainable_variables
    before = values(branch)
    with tf.GradientTape() as tape:
        logits = model.discriminator(X)[1]
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(Y, logits)
        loss = tf.reduce_mean(entropy)
    gradients = values(tape.gradient(loss, list(branch)))
    model.train_on(X, Y)
    for old, gradient, new in zip(before, gradients, values(branch), strict=True):
        assert np.abs(gradient).max() > 0
        np.testing.assert_allclose(new, old - rate * gradient, atol=1e-5)


def test_one_hot_labels():
    models = supervised(), supervised()
    for model, labels in zip(models, (Y, ONE_HOT)):
        model.train_on(X, labels)
    assert same(*(values(model.weights) for model in models))
    history = models[1].fit(X, ONE_HOT.astype("float32"), batch_size=6, verbose=0).history
    assert np.isfinite(history["classification_loss"]).all()
    # A row of zeros is an unlabelled image.
    some = np.where(PARTLY[:, None] < 0, 0, ONE_HOT)
    for one, two in zip(models[0].label_targets(some), models[0].label_targets(PARTLY)):
        np.testing.assert_allclose(one, two)


@pytest.mark.parametrize("multi_label", [False, True])
def test_nothing_labelled_leaves_the_adversarial_terms(multi_label):
    labels = np.full((12, 3) if multi_label else (12,), -1)
    model = supervised(multi_label=multi_label, compile_kwargs={"class_weight": 5.0})
    results = {name: float(value) for name, value in model.train_on(X, labels).items()}
    for name in ("classification_loss", "classifier_loss", "classifier_accuracy", "probe_loss"):
        assert results[name] == 0
    expected = 10 * results["reconstruction_loss"] + results["adversarial_loss"]
    assert results["loss"] == pytest.approx(expected, rel=1e-5)
    assert all(np.isfinite(value).all() for value in values(model.weights))


def test_classification_loss_is_averaged_over_labelled_mixes():
    model = supervised()
    whole = model.evaluate(X[:6], Y[:6], batch_size=6, verbose=0, return_dict=True)
    labels = np.where(np.arange(12) < 6, Y, -1)
    pieces = model.evaluate(X, labels, batch_size=6, verbose=0, return_dict=True)
    assert pieces["classifier_loss"] == pytest.approx(whole["classifier_loss"], rel=1e-5)
    assert pieces["classification_loss"] == pytest.approx(whole["classification_loss"], rel=1e-5)


# Mixing under given labels.


def set_mask(model, logits):
    """Makes embed answer with these logits whatever the label."""
    kernel, bias = model.label_mixer.embedding.layers[-1].weights
    kernel.assign(0 * kernel)
    bias.assign(np.array(logits, "float32"))


@pytest.mark.parametrize("logits", [(99, 99), (-99, -99), (99, -99)])
def test_mix_labels_takes_maps_as_embed_says(logits):
    model = supervised()
    set_mask(model, logits)
    images_a, images_b = X[:5], X[5:10]
    mixes = model.mix_labels(images_a, images_b, ONE_HOT[:5])
    codes = np.where(np.array(logits) > 0, model.encode(images_a), model.encode(images_b))
    np.testing.assert_allclose(mixes, model.decode(codes), atol=1e-5)


def test_mix_labels_under_the_label():
    """A single layer that takes a map from the first image where y~ has the class."""
    model = supervised(hidden_units=())
    (kernel, bias) = model.label_mixer.embedding.weights
    kernel.assign(np.array([[200, 0], [0, 200], [0, 0]], "float32"))
    bias.assign(np.full(2, -100, "float32"))
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.4, 0]], "float32")
    taken = np.array([[1, 0], [0, 1], [0, 0], [1, 0]]).reshape(4, 1, 1, 2)
    mixes = model.mix_labels(X[:4], X[4:8], labels)
    codes = np.where(taken, model.encode(X[:4]), model.encode(X[4:8]))
    np.testing.assert_allclose(mixes, model.decode(codes), atol=1e-5)


def test_mix_labels_under_the_parents():
    """Where y~ is nearer to the first parent's label, the mask takes the first parent's maps."""
    model = supervised(hidden_units=(), condition="parents")
    (kernel, bias) = model.label_mixer.embedding.weights
    assert kernel.shape == (9, 2)
    # Rows: y~, then |y~ - y1|, then |y~ - y2|, of three classes each.
    kernel.assign(np.repeat([[0], [-100], [100]], 3, axis=0) * np.ones((1, 2), "float32"))
    bias.assign(np.zeros(2, "float32"))
    labels_a, labels_b = ONE_HOT[:6], ONE_HOT[1:7]
    different = labels_a.argmax(-1) != labels_b.argmax(-1)
    share = np.array([[0.8], [0.2]] * 3, "float32")
    mixed = share * labels_a + (1 - share) * labels_b
    mixes = model.mix_labels(X[:6], X[6:], mixed, labels_a, labels_b)
    codes = np.where(share[..., None, None] > 0.5, model.encode(X[:6]), model.encode(X[6:]))
    assert different[::2].any() and different[1::2].any()
    np.testing.assert_allclose(mixes[different], model.decode(codes)[different], atol=1e-5)
    for given in ({}, {"labels_a": labels_a}, {"labels_b": labels_b}):
        with pytest.raises(ValueError, match='"parents" needs the labels of both parents'):
            model.mix_labels(X[:6], X[6:], mixed, **given)


def test_mix_labels_with_a_seed():
    model = supervised()
    set_mask(model, (0, 0))

    def mixes(seed):
        return model.mix_labels(X[:6], X[6:], ONE_HOT[:6], seed=seed)

    np.testing.assert_array_equal(mixes(3), mixes(3))
    assert not np.array_equal(mixes(3), mixes(4))
    state = values([model.label_mixer.seed_generator.state])
    assert not np.array_equal(mixes(None), mixes(None))
    assert not same(state, values([model.label_mixer.seed_generator.state]))


@pytest.fixture(scope="module")
def untrained():
    return supervised()


@pytest.mark.parametrize(
    "arguments",
    [
        (X[:4], X[:3], ONE_HOT[:4]),
        (X[:4], X[:4], ONE_HOT[:3]),
        (X[:4], X[:4], ONE_HOT[:4, :2]),
        (X[:4], X[:4], Y[:4]),
        (X[:4], X[:4], ONE_HOT[:4], ONE_HOT[:3]),
        (X[:4], X[:4], ONE_HOT[:4], ONE_HOT[:4], Y[:4]),
    ],
)
def test_mix_labels_refuses_other_shapes(untrained, arguments):
    with pytest.raises(
        ValueError, match=r"must agree in N, labels of shape \(4, 3\); got 4 and [34]"
    ):
        untrained.mix_labels(*arguments)


# What is refused: a model may be shared, for nothing is trained.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": X}, "learns from labels, but the data have none: pass .images, labels."),
        (
            {"x": tf.data.Dataset.from_tensor_slices(X).batch(4)},
            "learns from labels, but the data have none",
        ),
        ({"x": X, "y": Y, "validation_data": (X,)}, "but the validation data have none"),
        ({"x": X, "y": ONE_HOT[:, :2]}, r"\(12,\) or, one-hot, \(12, 3\); got \(12, 2\)"),
        ({"x": X, "y": Y[:5]}, r"labels must have the shape \(12,\); got \(5,\)"),
        ({"x": X, "y": Y + 1}, "labels must lie in 0 to 2, or be -1 where unlabelled; got 1 to 3"),
        ({"x": X, "y": 2 * ONE_HOT}, "labels must be one-hot"),
        ({"x": X, "y": 1 - ONE_HOT}, "labels must be one-hot"),
    ],
)
def test_bad_labels_are_refused_before_training(untrained, data, message):
    before = values(untrained.weights)
    with pytest.raises(ValueError, match=message) as error:
        untrained.fit(**data, verbose=0)
    assert "\n" not in str(error.value)
    assert same(before, values(untrained.weights))


def test_a_batch_without_labels(untrained):
    with pytest.raises(ValueError, match="mixes by labels, but the batch has none"):
        untrained.train_on(X)


def test_bad_attributes():
    model = supervised(multi_label=True)
    for labels, message in (
        (Y, r"shape \(12, 3\), a column for each attribute; got \(12,\)"),
        (ATTRIBUTES[:, :2], r"got \(12, 2\)"),
        (2 * ATTRIBUTES, "must be 0 or 1, or -1 where unknown, for attributes; got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(X, labels, verbose=0)


def build(**changes):
    parts = {
        "discriminator": build_discriminator(SHAPE, depth=2, num_classes=3),
        "probe": build_linear_probe((4, 4, 2), 3),
        "label_mixer": SupervisedBernoulliMixup(3),
        **changes,
    }
    return SupervisedAMR(build_encoder(SHAPE, depth=2), build_decoder(SHAPE, depth=2), **parts)


def test_networks_that_do_not_fit():
    assert build().num_classes == 3
    assert build(probe=None).num_classes == 3
    for changes, message in (
        ({"probe": build_linear_probe((4, 4, 2), 4)}, r"probe's output .* \(N, 3\)"),
        ({"discriminator": build_discriminator(SHAPE, depth=2)}, "must have two outputs"),
        ({"label_mixer": None}, "label_mixer must be a mixer that mixes by labels.*; got None"),
        ({"label_mixer": Mixup()}, "label_mixer must be a mixer that mixes by labels"),
        ({"label_mixer": SupervisedBernoulliMixup(4)}, "labels of 4 columns.* classifier for 3"),
        ({"mixer": SupervisedBernoulliMixup(3)}, "mixes by labels: give it to SupervisedAMR as"),
    ):
        with pytest.raises(ValueError, match=message):
            build(**changes)
    with pytest.raises(ValueError, match="class_weight must be a finite number"):
        build().compile(class_weight=-1.0)
    with pytest.raises(ValueError, match="mixes by labels: give it to SupervisedAMR as"):
        make(AMR, SupervisedBernoulliMixup(3))


@pytest.mark.parametrize(
    ("mixer", "own", "labels"),
    [
        (None, {"condition": "parents", "hidden_units": (8, 4)}, PARTLY),
        ("mixup", {"estimator": "concrete", "temperature": 0.25, "multi_label": True}, ATTRIBUTES),
    ],
)
def test_saved_file_continues_exactly(mixer, own, labels, tmp_path):
    model = supervised(mixer, {"class_weight": 0.5}, **own)
    before = values(model.label_mixer.weights)
    again = save_and_continue(model, tmp_path / "model.keras", labels)
    assert not same(before, values(again.label_mixer.weights))
    assert again.label_mixer.get_config() == model.label_mixer.get_config()
    assert again.class_weight == 0.5
    assert again.multi_label is own.get("multi_label", False)
    pair = X[:6], X[6:], np.full((6, 3), 0.4, "float32"), ONE_HOT[:6], ONE_HOT[6:]
    np.testing.assert_array_equal(model.mix_labels(*pair, seed=1), again.mix_labels(*pair, seed=1))
