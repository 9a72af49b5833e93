"""Frechet distance, precision and recall: closed forms, other packages' values, and models."""

import dataclasses
import pathlib
import socket
import types
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf.data import preprocess
from amr_tf.metrics import image_quality as quality
from amr_tf.metrics.extractors import (
    classifier_extractor,
    extract_features,
    inception_extractor,
)
from amr_tf.metrics.image_quality import (
    frechet_distance,
    image_quality,
    model_image_quality,
    precision_recall,
)
from amr_tf.metrics.label_mixing import train_classifier
from tests.metrics.conftest import make_data

RECORDED = np.load(pathlib.Path(__file__).parents[1] / "oracles" / "image_quality.npz")
CASES = ("full", "relu", "few")


def standard(count=50, size=3, seed=0):
    """Features whose sample mean is exactly 0 and whose sample covariance exactly I."""
    draws = np.random.default_rng(seed).normal(size=(count, size))
    orthogonal = np.linalg.qr(draws - draws.mean(axis=0))[0]
    return orthogonal * np.sqrt(count - 1)


class Pooled:
    """Features by hand: the means of an image's four quarters."""

    name = "quarters"

    def __init__(self):
        self.batches = []

    def __call__(self, images):
        self.batches.append(len(images))
        half = images.shape[1] // 2
        rows = [images[:, :half], images[:, half:]]
        return np.stack(
            [part.mean(axis=(1, 2, 3)) for row in rows for part in np.split(row, 2, axis=2)], axis=1
        )


class Stub:
    """A model whose reconstructions and mixes are functions of the images."""

    density, unit_prior = None, False

    def __init__(self, reconstruct, mix=None, k=2):
        self.mixer = None if mix is None else types.SimpleNamespace(k=k)
        self.calls = []  # The images of each call.
        self._reconstruct, self._mix = reconstruct, mix

    @property
    def sources(self):
        return np.concatenate(self.calls)

    def reconstruct(self, images, batch_size):
        self.calls.append(images)
        return self._reconstruct(images)

    def mix(self, images, seed, batch_size):
        return self._mix(images, seed)


def images(count=30, seed=0, shift=0.0, size=8, channels=1):
    noise = np.random.default_rng(seed).uniform(-0.8, 0.8, (count, size, size, channels))
    return np.clip(noise + shift, -1, 1).astype("float32")


def swapped(split, seed):
    """The two sets of images that `model_image_quality` takes from a split of 8x8 images."""
    order = np.random.default_rng(seed).permutation(len(split))
    every = preprocess(split.images, 8).numpy()[order]
    half = len(split) // 2
    return every[:half], every[half : 2 * half]


# Frechet distance


def test_a_set_is_no_distance_from_itself():
    features = np.random.default_rng(0).normal(size=(40, 6))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-12)


def test_a_shift_counts_squared():
    shift = np.array([1.0, -2.0, 0.5])
    assert frechet_distance(standard(), standard(seed=1) + shift) == pytest.approx(5.25)


def test_scaled_covariances():
    """tr(S_a + S_b - 2 (S_a S_b)^(1/2)) = the sum of (s_a - s_b)^2 for diagonal ones."""
    first, second = standard() * [1, 2, 3], standard(70, seed=1) * [4, 2, 0.5]
    assert frechet_distance(first, second) == pytest.approx(9 + 0 + 6.25)


def test_covariances_that_do_not_commute():
    """In two dimensions tr M^(1/2) = (tr M + 2 det(M)^(1/2))^(1/2)."""
    first = standard(size=2) @ [[2.0, 0.0], [1.5, 0.5]]
    second = standard(60, size=2, seed=1) @ [[0.3, -1.0], [0.0, 3.0]]
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    assert not np.allclose(one @ two, two @ one)
    product = one @ two
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(one) + np.trace(two) - 2 * root
    assert frechet_distance(first, second) == pytest.approx(expected)


def test_singular_covariances():
    """Orthogonal directions: the product of the covariances is zero."""
    first, second = standard() * [2, 0, 0], standard() * [0, 3, 0]
    assert frechet_distance(first, second) == pytest.approx(4 + 9)
    assert frechet_distance(np.ones((5, 3)), np.zeros((4, 3))) == pytest.approx(3)


def test_fewer_images_than_features():
    features = np.random.default_rng(0).normal(size=(5, 200))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features + 1) == pytest.approx(200)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), size=st.integers(1, 6), scale=st.floats(0.01, 100))
def test_invariances(seed, size, scale):
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(12, size)), random.normal(size=(9, size)) * 2 + 0.3
    rotation, _ = np.linalg.qr(random.normal(size=(size, size)))
    distance, shares = frechet_distance(first, second), precision_recall(first, second)
    changes = [
        lambda features: features[::-1],
        lambda features: features @ rotation,
        lambda features: features + 5,
        lambda features: scale * features,
    ]
    for change, factor in zip(changes, (1, 1, 1, scale**2)):
        changed = change(first), change(second)
        assert frechet_distance(*changed) == pytest.approx(factor * distance, rel=1e-8)
        assert precision_recall(*changed) == shares
    assert frechet_distance(second, first) == pytest.approx(distance)
    assert precision_recall(second, first) == {
        "precision": shares["recall"],
        "recall": shares["precision"],
    }


# Precision and recall


def test_identical_and_disjoint_sets():
    features = np.random.default_rng(0).normal(size=(40, 6))
    assert precision_recall(features, features) == {"precision": 1, "recall": 1}
    assert precision_recall(features, features + 100) == {"precision": 0, "recall": 0}


def test_identical_sets_of_equal_features():
    """More copies than k make balls of no size, which still hold their middle."""
    features = np.repeat(np.random.default_rng(0).normal(100, 1, (5, 40)), 5, axis=0)
    assert precision_recall(features, features) == {"precision": 1, "recall": 1}


def test_half_covered():
    """Real: 0 to 9 and 100 to 109. Fake: 4 in the first, 4 far from both."""
    real = np.concatenate([np.arange(10.0), np.arange(100.0, 110)])[:, None]
    fake = np.array([[2.1, 2.2, 2.3, 2.4, 50, 51, 52, 53]]).T
    shares = precision_recall(real, fake, k=3)
    # The first fake ones' balls are 0.2 or 0.3 wide and hold the 2 of the real ones alone.
    assert shares == {"precision": 4 / 8, "recall": 1 / 20}


def test_realistic_but_without_variety_and_the_other_way_round():
    real = np.concatenate([np.zeros((10, 2)), np.full((10, 2), 100.0)])
    real += np.random.default_rng(0).uniform(-1, 1, real.shape)
    one_mode = np.random.default_rng(1).uniform(-0.3, 0.3, (20, 2))
    assert precision_recall(real, one_mode)["precision"] == 1
    assert precision_recall(real, one_mode)["recall"] <= 0.5
    wild = np.concatenate([real, np.random.default_rng(2).uniform(-1e4, 1e4, (20, 2))])
    assert precision_recall(real, wild)["recall"] == 1
    assert precision_recall(real, wild)["precision"] < 0.7


def test_the_ball_reaches_to_the_kth_other_feature():
    real = np.array([[0.0], [1.0], [3.0], [7.0]])
    # Around 0 the balls are 1, 3 and 7 wide for k = 1, 2, 3; around 7 they are 4, 6 and 7 wide.
    fake = np.array([[-0.9], [-2.9], [-6.9], [-7.1], [13.9], [14.1]])
    inside = [round(6 * precision_recall(real, fake, k)["precision"]) for k in (1, 2, 3)]
    assert inside == [1, 2, 4]


# Other packages


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("package", ["pytorch_fid", "torch_fidelity"])
def test_the_frechet_distance_of_other_packages(case, package):
    """They take the root of the product, which costs accuracy where it is singular."""
    tolerance = 1e-6 if case == "few" else 1e-9
    ours = frechet_distance(RECORDED[f"{case}/real"], RECORDED[f"{case}/fake"])
    assert ours == pytest.approx(RECORDED[f"{case}/{package}"].item(), rel=tolerance)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("package", ["prdc", "torch_fidelity"])
def test_the_precision_and_recall_of_other_packages(case, k, package):
    ours = precision_recall(RECORDED[f"{case}/real"], RECORDED[f"{case}/fake"], k)
    theirs = RECORDED[f"{case}/{package}_k{k}"]
    assert [ours["precision"], ours["recall"]] == pytest.approx(theirs, abs=1e-6)


# Bad features


@pytest.mark.parametrize("function", [frechet_distance, precision_recall])
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.ones((5, 3)), np.ones((5, 2)), r"\(5, 3\) and \(5, 2\)"),
        (np.ones((5, 3)), np.ones(5), r"\(N, D\)"),
        (np.ones((1, 3)), np.ones((5, 3)), "at least 2 images; got 1 and 5"),
        (np.ones((5, 3)), np.full((5, 3), np.nan), "NaN"),
        (np.full((5, 3), np.inf), np.ones((5, 3)), "infinite"),
    ],
)
def test_refuses_features(function, first, second, message):
    with pytest.raises(ValueError, match=message):
        function(first, second)


@pytest.mark.parametrize(
    ("k", "message"), [(5, "k \\+ 1 = 6 images"), (0, "k must be"), (1.5, "k")]
)
def test_refuses_k(k, message):
    with pytest.raises(ValueError, match=message):
        precision_recall(np.ones((5, 3)), np.ones((8, 3)), k)


# Images


def test_image_quality_is_that_of_the_features_and_says_which():
    real, fake = images(30), images(25, seed=1, shift=0.1)
    extractor = Pooled()
    result = image_quality(real, fake, extractor, batch_size=8)
    assert extractor.batches == [8, 8, 8, 6, 8, 8, 8, 1]
    features = [Pooled()(part).astype("float64") for part in (real, fake)]
    assert result == {
        "fid": pytest.approx(frechet_distance(*features)),
        **precision_recall(*features),
        "extractor": "quarters",
        "features": 4,
        "real_images": 30,
        "fake_images": 25,
    }
    assert result["fid"] > 0.03


def test_warns_of_few_images():
    with pytest.warns(UserWarning, match="4 images are few for 4 features"):
        image_quality(images(4), images(9), Pooled(), k=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image_quality(images(5), images(9), Pooled(), k=2)


def test_the_bias_that_it_warns_of():
    """Two sets of one distribution: nearer to 0 with more images."""
    distances = []
    for count in (12, 48, 192):
        pairs = [np.random.default_rng(i).normal(size=(2, count, 10)) for i in range(5)]
        distances.append(np.mean([frechet_distance(*pair) for pair in pairs]))
    assert distances[0] > 2 * distances[1] > 4 * distances[2] > 0


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (images(9), images(9, size=6), r"\(N, 8, 8, 1\)"),
        (images(9)[..., 0], images(9)[..., 0], r"\(N, H, W, C\)"),
        (images(9), 2 * images(9), r"\[-1, 1\]"),
        (np.full((9, 8, 8, 1), np.nan, "float32"), images(9), "NaN"),
        (np.zeros((9, 8, 8, 1), "uint8"), np.zeros((9, 8, 8, 1), "uint8"), "uint8"),
        (images(3), images(9), r"k \+ 1 = 4 images; got 3 and 9"),
    ],
)
def test_refuses_images(real, fake, message):
    with pytest.raises(ValueError, match=message):
        image_quality(real, fake, Pooled())


def test_refuses_extractors():
    with pytest.raises(ValueError, match="must have a name"):
        extract_features(images(3), lambda batch: batch.reshape(len(batch), -1))
    maps = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)], name="maps")
    with pytest.raises(ValueError, match=r"'maps' must give .* \(3, D\); got \(3, 6, 6, 2\)"):
        extract_features(images(3), maps)


# Extractors


def test_the_features_of_the_classifier():
    data = make_data()
    classifier = train_classifier(data, epochs=1, batch_size=20)
    extractor = classifier_extractor(classifier)
    given = images(10)
    features = extract_features(given, extractor, batch_size=4)
    assert features.shape == (10, 128) and features.dtype == "float64"
    # The maps are one position wide: the classifier's last layer makes its logits of them.
    kernel, bias = classifier.layers[-1].get_weights()
    np.testing.assert_allclose(
        features @ kernel + bias, classifier.predict(given, verbose=0), atol=1e-4
    )
    with pytest.warns(UserWarning, match="10 images are few for 128"):
        assert image_quality(given, given, extractor)["extractor"] == "classifier_pooled"


def test_the_features_of_large_images_are_averages_over_positions():
    layers = keras.layers
    classifier = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(5, 3), layers.Flatten(), layers.Dense(2)], name="net"
    )
    given = images(4)
    features = extract_features(given, classifier_extractor(classifier))
    maps = np.asarray(classifier.layers[0](given))
    assert maps.shape == (4, 6, 6, 5)
    np.testing.assert_allclose(features, maps.mean(axis=(1, 2)), atol=1e-6)


def test_the_features_of_a_classifier_without_maps():
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    classifier = keras.Sequential([*layers, keras.layers.Dense(2)], name="net")
    extractor = classifier_extractor(classifier)
    given = images(4)
    expected = classifier.layers[1](given.reshape(4, -1))
    np.testing.assert_allclose(extract_features(given, extractor), expected, atol=1e-6)
    assert extractor.name == "net_penultimate"


def test_refuses_a_classifier_without_features():
    single = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="single")
    with pytest.raises(ValueError, match="'single' must be built and have at least two layers"):
        classifier_extractor(single)
    unbuilt = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)], name="unbuilt")
    with pytest.raises(ValueError, match="'unbuilt' must be built"):
        classifier_extractor(unbuilt)


@pytest.mark.slow
def test_inception_on_grey_and_coloured_images(tmp_path):
    extractor = inception_extractor(weights=None)
    grey = images(2, size=16)
    features = extract_features(grey, extractor)
    assert features.shape == (2, 2048) and extractor.name == "inception_v3_random"
    assert np.ptp(features, axis=0).max() > 0
    coloured = extract_features(np.repeat(grey, 3, axis=-1), extractor)
    np.testing.assert_allclose(coloured, features, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="1 or 3 channels; got 2"):
        extractor(images(2, channels=2))
    path = tmp_path / "copy.weights.h5"
    extractor.network.save_weights(path)
    again = inception_extractor(path)
    assert again.name == "inception_v3_copy.weights"
    np.testing.assert_allclose(extract_features(grey, again), features, rtol=1e-5)


def test_inception_without_a_network_names_the_way_out(monkeypatch):
    timeouts = []

    def fail(**kwargs):
        timeouts.append(socket.getdefaulttimeout())
        raise Exception("URL fetch failure on https://...")  # Keras' own class.

    monkeypatch.setattr(keras.applications, "InceptionV3", fail)
    with pytest.raises(FileNotFoundError, match=r"'imagenet' could not be .* pass weights=PATH"):
        inception_extractor()
    assert timeouts == [10.0] and socket.getdefaulttimeout() is None


def test_inception_with_a_path_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.h5.*pass weights=PATH"):
        inception_extractor(tmp_path / "nowhere.h5")


# Models


def test_model_image_quality():
    """Sources against references, which no model sees."""
    data = make_data()
    model = Stub(lambda given: given + 0.1, lambda given, seed: -given)
    results = model_image_quality(model, data, Pooled(), seed=3)
    references, sources = swapped(data.test, 3)
    np.testing.assert_allclose(model.sources, sources, atol=1e-6)
    assert list(results) == ["sources", "reconstructions", "mixes"]
    fakes = {"sources": sources, "reconstructions": sources + 0.1, "mixes": -sources}
    for name, fake in fakes.items():
        expected = image_quality(references, np.clip(fake, -1, 1), Pooled())
        assert results[name] == {**expected, "fid": pytest.approx(expected["fid"], rel=1e-4)}
    assert results["mixes"]["fid"] > 2 * results["sources"]["fid"]


def test_what_a_decoder_overshoots_is_clipped():
    data = make_data()
    results = model_image_quality(Stub(lambda given: 50 * np.sign(given)), data, Pooled())
    expected = model_image_quality(Stub(np.sign), data, Pooled())
    assert results == expected and "mixes" not in results


def test_without_test_images_the_validation_images_are_taken():
    data = make_data(test=False)
    results = model_image_quality(Stub(np.copy), data, Pooled())
    assert results["sources"]["real_images"] == len(data.validation) // 2
    assert results["reconstructions"] == results["sources"]


@pytest.mark.filterwarnings("ignore:.*images are few")
def test_a_real_model(model):
    """An untrained one: its mixes are unlike images, and the seed decides which there are."""
    data = make_data()
    results = model_image_quality(model, data, Pooled(), count=8, seed=1, batch_size=4)
    assert results["mixes"]["fake_images"] == 8
    assert results["mixes"]["fid"] > results["sources"]["fid"]
    assert results == model_image_quality(model, data, Pooled(), count=8, seed=1, batch_size=4)
    other = model_image_quality(model, data, Pooled(), count=8, seed=2, batch_size=4)
    assert other["mixes"]["fid"] != results["mixes"]["fid"]


@pytest.mark.parametrize(
    ("count", "message"), [(9, "2 to 8, half"), (1, "2 to 8, half"), (0, "count")]
)
def test_refuses_counts(count, message):
    with pytest.raises(ValueError, match=message):
        model_image_quality(Stub(np.copy), make_data(), Pooled(), count=count)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_a_model_that_diverged(value):
    with pytest.raises(ValueError, match="The model's reconstructions hold NaN or infinite"):
        model_image_quality(Stub(lambda given: given * value), make_data(), Pooled())


def test_images_are_looked_at_in_parts(monkeypatch):
    """Each is reconstructed once; parts are mixed with seeds of their own."""
    data, seeds = make_data(), []

    def mix(given, seed):
        seeds.append((len(given), seed))
        return -given

    whole = model_image_quality(Stub(np.copy, mix), data, Pooled(), seed=3)
    monkeypatch.setattr(quality, "_CHUNK", 3)
    model = Stub(np.copy, mix)
    results = model_image_quality(model, data, Pooled(), seed=3)
    assert results == {name: pytest.approx(figures) for name, figures in whole.items()}
    assert seeds == [(8, 3), (3, 3), (3, 4), (2, 5)]
    np.testing.assert_allclose(model.sources, swapped(data.test, 3)[1], atol=1e-6)
    seeds.clear()
    model_image_quality(Stub(np.copy, mix, k=3), data, Pooled(), seed=3)
    assert seeds == [(3, 3), (5, 4)]  # Of two images there is no mix of three.


@pytest.mark.filterwarnings("ignore:.*images are few")
def test_sets_of_few_images():
    """Two make a covariance, but no ball around a third neighbour and no mix of three."""
    mixing = Stub(np.copy, lambda given, seed: -given, k=3)
    results = model_image_quality(mixing, make_data(), Pooled(), count=2)
    assert list(results) == ["sources", "reconstructions"]
    assert results["sources"]["fid"] >= 0
    assert not {"precision", "recall"} & set(results["sources"])


def test_no_images_for_two_sets():
    data = make_data(test=False)
    data = dataclasses.replace(data, validation=data.validation.take(np.arange(3)))
    with pytest.raises(ValueError, match="^image_quality needs at least 4 held-out .* has 3.$"):
        model_image_quality(Stub(np.copy), data, Pooled())
