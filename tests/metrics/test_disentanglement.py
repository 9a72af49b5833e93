"""Metrics of disentanglement: known scores, another implementation's, and a model's."""

import pathlib

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from amr_tf import AMR, VAE
from amr_tf.data import ImageData, LazyImages, Split
from amr_tf.metrics.disentanglement import disentanglement
from amr_tf.metrics.fixed_factor import (
    FactorSampler,
    beta_vae_score,
    factor_vae_score,
    kept_dimensions,
    least_varying,
)
from amr_tf.metrics.mig_dci_sap import (
    concentration,
    dci,
    mutual_information_gap,
    sap,
)
from tests.metrics.conftest import make_data

RECORDED = np.load(pathlib.Path(__file__).parents[1] / "oracles" / "disentanglement.npz")
CASES = sorted({name.split("/")[0] for name in RECORDED.files if "/" in name})


def recorded(case, *names):
    return [RECORDED[f"{case}/{name}"] for name in names]


# What disentanglement_lib 1.5 computes (see oracles/).


@pytest.mark.parametrize("case", CASES)
def test_votes_like_disentanglement_lib(case):
    table, variances, rows, chosen = recorded(
        case, "table", "variances", "vote_rows", "vote_dimensions"
    )
    kept = kept_dimensions(table)
    codes = table.astype("float64")[:, kept] / np.sqrt(variances[kept])
    assert [least_varying(codes[group]) for group in rows] == chosen.tolist()
    assert len(np.unique(chosen)) > 1 or kept.sum() == 1


@pytest.mark.parametrize("case", CASES)
def test_scores_from_shared_factors_like_disentanglement_lib(case):
    """Both draw from all combinations; what differs are the draws.

    Ours come from a sample of the combinations. With these themselves the two dimensions of a
    turned pair of factors would tie exactly, and rounding errors would vote.
    """
    table, factor_vae, beta_vae = recorded(case, "table", "factor_vae", "beta_vae")
    rows = np.random.default_rng(0).integers(len(table), size=10_000)
    pair = (table[rows], RECORDED["factors"][rows])
    assert factor_vae_score(pair, pair, 4000, 64) == pytest.approx(factor_vae, abs=0.03)
    assert beta_vae_score(pair, pair, 4000, 64) == pytest.approx(beta_vae, abs=0.03)


def fixed_arrays(case):
    """The recorded training and test pairs, and what to standardise codes with."""
    table, train, test = recorded(case, "table", "train_rows", "test_rows")
    return [(table[rows].astype("float64"), RECORDED["factors"][rows]) for rows in (train, test)]


@pytest.mark.parametrize("case", CASES)
def test_mig_and_sap_like_disentanglement_lib(case):
    train, test = fixed_arrays(case)
    mig, sap_score = recorded(case, "mig", "sap")
    assert mutual_information_gap(*train) == pytest.approx(mig, abs=1e-9)
    assert sap(train, test) == pytest.approx(sap_score, abs=0.002)


@pytest.mark.parametrize("case", CASES)
def test_importances_like_disentanglement_lib(case):
    importances, scores = recorded(case, "importances", "dci")
    assert concentration(importances) == pytest.approx(scores[:2], abs=1e-6)


def test_dci_like_disentanglement_lib():
    train, test = fixed_arrays("rotated")
    ours = dci(train, test, GradientBoostingClassifier(random_state=0))
    (scores,) = recorded("rotated", "dci")
    assert list(ours.values()) == pytest.approx(scores, abs=0.02)


def test_the_random_forest_agrees_with_gradient_boosting():
    """On few examples it knows less; what matters for what is nearly the same."""
    for case in ("rotated", "independent"):
        ours = dci(*fixed_arrays(case))
        (scores,) = recorded(case, "dci")
        assert list(ours.values())[:2] == pytest.approx(scores[:2], abs=0.06), case


# Known scores.

SIZES = (4, 4, 4, 4)


def draw_factors(seed, count=2000, sizes=SIZES):
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, count) for size in sizes], axis=1)


def pairs_of(encode, sizes=SIZES, count=2000):
    """Training and held-out pairs; `encode` takes factors and a generator."""
    factors = [draw_factors(seed, count, sizes) for seed in (0, 1)]
    return [(encode(part, np.random.default_rng(5 + i)), part) for i, part in enumerate(factors)]


def rotated(factors, random=None, planes=2):
    """Pairs of factors turned by 45 degrees in the first planes."""
    codes = factors - factors.mean(axis=0)
    for plane in range(planes):
        one, two = codes[:, 2 * plane].copy(), codes[:, 2 * plane + 1].copy()
        codes[:, 2 * plane], codes[:, 2 * plane + 1] = one + two, one - two
    return codes


def all_scores(train, held_out):
    return {
        "factor_vae": factor_vae_score(train, held_out),
        "beta_vae": beta_vae_score(train, held_out, points=800),
        "mig": mutual_information_gap(*held_out),
        **dci(train, held_out),
        "sap": sap(train, held_out),
    }


def test_perfect_codes():
    """Permuted, scaled, turned around, and beside each other; two values for SAP's sake."""

    def encode(factors, random):
        return np.array([1.0, -3.0, 0.5, 2.0]) * factors[:, [2, 0, 3, 1]] + 7

    scores = all_scores(*pairs_of(encode, sizes=(2, 2, 2, 2)))
    assert scores.pop("sap") == pytest.approx(0.5, abs=0.03)
    # A sample of independent factors has a little mutual information.
    assert scores.pop("mig") == pytest.approx(1, abs=0.003)
    assert scores == pytest.approx(dict.fromkeys(scores, 1.0), abs=1e-9)


def test_more_values_than_bins():
    """Ten bins of 40 values: ln 10 of ln 40 nats are left."""
    codes = factors = draw_factors(0, 20_000, (40, 40))
    expected = np.log(10) / np.log(40)
    assert mutual_information_gap(codes, factors, bins=10) == pytest.approx(expected, abs=0.01)


def test_several_dimensions_for_a_factor():
    """No harm in the FactorVAE metric and for disentanglement; MIG, SAP and completeness lose."""
    scores = all_scores(*pairs_of(lambda factors, random: np.tile(factors, 2)))
    for name in ("factor_vae", "beta_vae", "disentanglement", "informativeness"):
        assert scores[name] == pytest.approx(1, abs=1e-6), name
    assert scores["mig"] == pytest.approx(0, abs=1e-9)
    assert scores["sap"] == pytest.approx(0, abs=1e-9)
    assert scores["completeness"] == pytest.approx(1 - np.log(2) / np.log(8), abs=0.05)


def test_random_codes():
    scores = all_scores(*pairs_of(lambda factors, random: random.normal(size=(len(factors), 5))))
    for name in ("factor_vae", "beta_vae", "informativeness"):
        assert scores[name] == pytest.approx(0.25, abs=0.05), name
    for name in ("mig", "disentanglement", "completeness", "sap"):
        assert 0 <= scores[name] < 0.05, name


@pytest.mark.parametrize(("planes", "entangled"), [(1, 0.5), (2, 1.0)])
def test_rotated_codes(planes, entangled):
    """The two factors of a turned pair cannot be told apart, by votes or by importance."""
    scores = all_scores(*pairs_of(lambda factors, random: rotated(factors, random, planes)))
    half_right = 1 - entangled / 2
    assert scores["factor_vae"] == pytest.approx(half_right, abs=0.05)
    assert scores["beta_vae"] == pytest.approx(half_right, abs=0.05)
    assert scores["mig"] == pytest.approx(1 - entangled, abs=0.02)
    # The entropy of two equal shares is half of that of four.
    assert scores["disentanglement"] == pytest.approx(half_right, abs=0.03)
    assert scores["completeness"] == pytest.approx(half_right, abs=0.03)
    assert scores["informativeness"] == pytest.approx(1, abs=0.01)


def test_a_single_dimension_wins_all_votes():
    """It can stand for one factor only: a dimension predicts a factor, and not the reverse."""
    train, held_out = pairs_of(lambda factors, random: factors[:, :1] + 0.0)
    assert factor_vae_score(train, held_out) == 0.25
    assert mutual_information_gap(*held_out) == pytest.approx(0.25, abs=0.01)
    scores = dci(train, held_out)
    # It matters for all factors alike, as far as anything matters for those it does not know.
    assert scores["disentanglement"] == pytest.approx(0, abs=1e-9)
    assert scores["completeness"] == pytest.approx(1)
    assert scores["informativeness"] == pytest.approx((1 + 3 * 0.25) / 4, abs=0.03)
    assert 0 < sap(train, held_out) < 0.25


def test_a_factor_that_no_dimension_stands_for():
    """Three of four are found; votes for the fourth are anybody's."""
    train, held_out = pairs_of(lambda factors, random: factors[:, 1:] + 0.0)
    assert 0.75 - 1e-9 <= factor_vae_score(train, held_out) < 0.85
    assert mutual_information_gap(*held_out) == pytest.approx(0.75, abs=0.01)


def test_scores_are_taken_on_held_out_examples():
    train, held_out = pairs_of(lambda factors, random: factors + 0.0)
    elsewhere = (np.roll(held_out[0], 1, axis=1), held_out[1])
    assert factor_vae_score(train, elsewhere) == 0
    assert beta_vae_score(train, elsewhere, points=800) == 0
    assert dci(train, elsewhere)["informativeness"] == pytest.approx(0.25, abs=0.05)
    unrelated = (np.random.default_rng(0).permutation(held_out[0]), held_out[1])
    assert sap(train, unrelated) < 0.05 < sap(train, held_out)


def test_dci_takes_another_classifier_only_with_importances():
    train, held_out = pairs_of(lambda factors, random: factors + 0.0, count=500)
    with pytest.raises(AttributeError, match="feature_importances_"):
        dci(train, held_out, LogisticRegression())


def partly_entangled(factors, random):
    mixing = np.random.default_rng(3).normal(size=(4, 5))
    mixing[:3, :3] += 2 * np.eye(3)
    return factors @ mixing + 2 * random.normal(size=(len(factors), 5))


PARTLY = pairs_of(partly_entangled, count=800)


# Dimensions that are not in use.


def with_unused(codes):
    """Codes of five dimensions among a constant, one with rounding errors, and a little noise."""
    random = np.random.default_rng(8)
    constant = np.full((len(codes), 1), 3.0)
    rounding = 3 * (1 + 1e-8 * random.normal(size=(len(codes), 1)))
    little = 0.02 * random.normal(size=(len(codes), 1))
    return np.hstack([constant, codes[:, :2], rounding, codes[:, 2:], little])


def test_unused_dimensions_win_no_votes():
    train, held_out = ((with_unused(codes), factors) for codes, factors in PARTLY)
    kept = kept_dimensions(train[0])
    assert np.flatnonzero(kept).tolist() == [1, 2, 4, 5, 6]
    assert factor_vae_score(train, held_out) == factor_vae_score(*PARTLY)
    assert beta_vae_score(train, held_out, points=400) == beta_vae_score(*PARTLY, points=400)


def test_dimensions_to_keep_can_be_given():
    """Of four perfect dimensions two: two factors are found, and one of two by chance."""
    train, held_out = pairs_of(lambda factors, random: factors + 0.0)
    kept = np.array([True, False, True, False])
    assert factor_vae_score(train, held_out, kept=kept) == pytest.approx(0.5, abs=0.1)
    assert 0.5 < beta_vae_score(train, held_out, points=400, kept=kept) < 0.9
    assert factor_vae_score(train, held_out, kept=np.zeros(4, bool)) == 0


def test_no_dimension_in_use():
    train, held_out = pairs_of(lambda factors, random: np.full((len(factors), 3), 0.1), count=200)
    assert not kept_dimensions(train[0]).any()
    assert factor_vae_score(train, held_out) == 0
    assert beta_vae_score(train, held_out) == 0
    assert mutual_information_gap(*held_out) == 0
    assert dci(train, held_out)["disentanglement"] == 0
    assert sap(train, held_out) == 0


def test_the_scale_of_posterior_means_counts():
    """A VAE's means that all lie near zero are unused; a deterministic code's may be small."""
    codes = np.random.default_rng(0).normal(size=(1000, 3)) * [0.04, 0.06, 0.001]
    assert kept_dimensions(codes).tolist() == [True, True, False]
    assert kept_dimensions(codes, unit_prior=True).tolist() == [False, True, False]
    assert not kept_dimensions(codes / 100, unit_prior=True).any()
    assert kept_dimensions(codes.reshape(1000, 3, 1)).shape == (3,)


# Invariances.


def cheap_scores(train, held_out):
    return {
        "factor_vae": factor_vae_score(train, held_out, votes=200, samples=30),
        "beta_vae": beta_vae_score(train, held_out, points=100, pairs=10),
        "mig": mutual_information_gap(*held_out),
        "sap": sap(train, held_out),
    }


PARTLY_SCORES = cheap_scores(*PARTLY)


@settings(max_examples=5, deadline=None)
@given(
    order=st.permutations(range(5)),
    scales=st.lists(st.floats(0.5, 2), min_size=5, max_size=5),
    signs=st.lists(st.sampled_from([-1, 1]), min_size=5, max_size=5),
    shift=st.floats(-5, 5),
)
def test_order_scale_and_origin_of_dimensions_do_not_matter(order, scales, signs, shift):
    factors = np.array(scales) * signs
    changed = [(codes[:, order] * factors + shift, labels) for codes, labels in PARTLY]
    scores = cheap_scores(*changed)
    assert 0.3 < PARTLY_SCORES["factor_vae"] < 0.95
    assert scores == pytest.approx(PARTLY_SCORES, abs=0.015)


def test_order_and_scale_do_not_matter_to_dci():
    train, held_out = PARTLY
    changed = [(codes[:, ::-1] * [1, 5, -2, 0.1, 3], labels) for codes, labels in PARTLY]
    assert dci(*changed) == pytest.approx(dci(train, held_out), abs=0.03)


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(4)), first=st.integers(-5, 5))
def test_names_of_factors_and_values_do_not_matter(order, first):
    _, (codes, factors) = PARTLY
    renamed = factors[:, order] * 2 + first
    score = mutual_information_gap(codes, renamed)
    assert score == pytest.approx(PARTLY_SCORES["mig"], abs=1e-9)


def test_seeds():
    one = factor_vae_score(*PARTLY, votes=200, seed=1)
    assert one == factor_vae_score(*PARTLY, votes=200, seed=1)
    assert len({factor_vae_score(*PARTLY, votes=200, seed=seed) for seed in range(5)}) > 1
    points = {beta_vae_score(*PARTLY, points=100, pairs=5, seed=seed) for seed in (1, 1, 2, 3, 4)}
    assert 1 < len(points) < 5


# Examples that share a value.

UNEVEN = np.array([[0, 5]] * 40 + [[1, 5]] * 2 + [[2, 5]] + [[0, 6], [1, 6]])


def test_groups_share_a_value():
    fixed, rows = FactorSampler(UNEVEN).groups(400, 30, np.random.default_rng(0))
    assert np.bincount(fixed).tolist() == [200, 200]
    values = UNEVEN[rows, fixed[:, None]]
    assert np.all(values == values[:, :1])
    # Equally likely values, however many examples have them; not the value of one example.
    counts = np.bincount(values[fixed == 0, 0], minlength=3)
    assert counts[2] == 0
    assert counts[:2] == pytest.approx(100, abs=30)
    # All who have the value take part.
    assert len(np.unique(rows[fixed == 1])) == len(UNEVEN)


def test_pairs_share_a_value():
    fixed, first, second = FactorSampler(UNEVEN).pairs(100, 20, np.random.default_rng(0))
    assert np.bincount(fixed).tolist() == [50, 50]
    values = UNEVEN[first, fixed[:, None]]
    np.testing.assert_array_equal(values, UNEVEN[second, fixed[:, None]])
    assert not np.any(first == second)
    assert len(np.unique(values[0])) == 2
    assert set(np.unique(second[fixed == 1])) == set(range(len(UNEVEN)))


def test_nobody_shares_a_value():
    with pytest.raises(ValueError, match="^No two of 3 examples share a value of factor 1: more"):
        FactorSampler(np.array([[0, 0], [0, 1], [1, 2]]))


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.full((6, 2), np.nan), UNEVEN[-6:], "codes must be finite"),
        (np.ones((5, 2)), UNEVEN[-6:], r"factors must have the shape \(5, F\)"),
        (np.ones((6, 2)), UNEVEN[-6:, :1], "two factors or more; got"),
        (np.ones((6, 2)), UNEVEN[-6:] + 0.5, "factors must be integers; got float64"),
        (np.ones((3, 2)), UNEVEN[:3], "factor 0 of 3 examples has not"),
        (np.ones((0, 2)), UNEVEN[:0], "factor 0 of 0 examples has not"),
    ],
)
def test_wrong_arrays(codes, factors, message):
    for metric in (factor_vae_score, beta_vae_score, dci, sap):
        with pytest.raises(ValueError, match=message):
            metric((codes, factors), (codes, factors))
    with pytest.raises(ValueError, match=message):
        mutual_information_gap(codes, factors)


@pytest.mark.parametrize("count", [0, 1.5, True])
def test_wrong_counts(count):
    with pytest.raises(ValueError, match="^votes must be a positive integer"):
        factor_vae_score(*PARTLY, votes=count)
    with pytest.raises(ValueError, match="^samples must be"):
        factor_vae_score(*PARTLY, samples=count)
    with pytest.raises(ValueError, match="^points must be a positive integer"):
        beta_vae_score(*PARTLY, points=count)
    with pytest.raises(ValueError, match="^pairs must be a positive integer"):
        beta_vae_score(*PARTLY, pairs=count)
    with pytest.raises(ValueError, match="^bins must be a positive integer"):
        mutual_information_gap(*PARTLY[0], bins=count)


def test_a_single_sample_has_no_variance():
    with pytest.raises(ValueError, match="^samples must be at least 2 to have a variance; got 1.$"):
        factor_vae_score(*PARTLY, samples=1)


# Models.

NAMES = ("shape", "size", "hue", "place")
RENDERED = []


def sprites(factors):
    """2x2 images, a pixel for each factor."""

    def render(numbers):
        RENDERED.append(len(numbers))
        return (60 * factors[numbers]).reshape(-1, 2, 2, 1).astype("uint8")

    images = LazyImages(render, np.arange(len(factors)), (2, 2, 1))
    return Split(images, None, factors)


def sprite_data(sizes=SIZES, count=2500, names=NAMES):
    splits = [sprites(draw_factors(seed, count, sizes)) for seed in range(3)]
    return ImageData("sprites", *splits, None, 2, factor_names=names, factor_sizes=sizes)


class Reader:
    """A model whose codes are the pixels."""

    image_shape = (2, 2, 1)
    unit_prior = False

    def encode(self, images):
        assert len(images) <= 2048
        return np.array(images)


QUICK = {"examples": 2200, "fitted": 400, "votes": 100}


def test_a_perfect_model():
    RENDERED.clear()
    results = disentanglement(Reader(), sprite_data(), **QUICK)
    assert sum(RENDERED) == 2 * 2200
    assert results["factor_vae"] == results["beta_vae"] == 1
    assert results["mig"] == pytest.approx(1, abs=0.005)
    assert results["dci"] == pytest.approx(dict.fromkeys(results["dci"], 1.0))
    assert 0.2 < results["sap"] < 0.6
    assert results["dimensions"] == results["kept_dimensions"] == 4
    assert results["factors"] == list(NAMES)
    assert results["left_out"] == []


def test_factors_of_one_value_are_left_out():
    data = sprite_data(sizes=(4, 1, 4, 1), names=None)
    results = disentanglement(Reader(), data, **QUICK)
    assert results["factors"] == ["factor0", "factor2"]
    assert results["left_out"] == ["factor1", "factor3"]
    assert (results["dimensions"], results["kept_dimensions"]) == (4, 2)
    assert results["factor_vae"] == 1


def test_which_split_is_scored():
    """A model that knows the training and the validation images by heart, and no others."""
    data = sprite_data()
    scrambled = sprites(draw_factors(9, 2500))
    wrong = Split(scrambled.images, None, data.test.factors)
    data = ImageData("sprites", data.train, data.validation, wrong, None, 2, factor_names=NAMES)
    assert disentanglement(Reader(), data, **QUICK)["factor_vae"] == 1
    assert disentanglement(Reader(), data, split="test", **QUICK)["factor_vae"] < 0.5


def test_model_results_repeat():
    keras.utils.set_random_seed(1)
    model = AMR.convolutional((8, 8, 1), depth=2, latent_dim=2, seed=0)
    data = small_data()
    one, two = (disentanglement(model, data, **QUICK, seed=4) for _ in range(2))
    assert one == two
    assert one != disentanglement(model, data, **QUICK, seed=5)


def small_data():
    """8x8 images of sprites' factors for real models."""

    def enlarge(split):
        images = np.asarray(split.images).repeat(4, axis=1).repeat(4, axis=2)
        return Split(images, None, split.factors)

    splits = [enlarge(sprites(draw_factors(seed, 500))) for seed in range(2)]
    return ImageData("sprites", *splits, None, None, 8, factor_names=NAMES)


@pytest.mark.parametrize(("method", "kept"), [(AMR, True), (VAE, False)])
def test_the_prior_of_a_vae_is_the_measure_of_its_codes(method, kept):
    keras.utils.set_random_seed(0)
    model = method.convolutional((8, 8, 1), depth=2, latent_dim=3, seed=0)
    for variable in model.encoder.layers[-1].trainable_variables:
        variable.assign(variable * 1e-4)
    results = disentanglement(model, small_data(), **QUICK)
    assert results["dimensions"] == np.prod(model.latent_shape)
    assert (results["kept_dimensions"] > 0) == kept
    assert (results["factor_vae"] > 0) == kept


def test_data_without_factors(model):
    with pytest.raises(
        ValueError, match="^Data set 'noise' has no ground-truth factors; only dsprites, "
    ):
        disentanglement(model, make_data())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "train"}, "^split must be 'validation' or 'test'; got 'train'.$"),
        ({"examples": 0}, "^examples must be a positive integer; got 0.$"),
        ({"fitted": 0.5}, "^fitted must be a positive integer; got 0.5.$"),
        ({"votes": -1}, "^votes must be a positive integer; got -1.$"),
        ({"examples": 1}, "^Disentanglement needs two factors or more that vary; data set 'spr"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        disentanglement(Reader(), sprite_data(), **arguments)


def test_other_images_and_no_test_split(model):
    with pytest.raises(ValueError, match=r"takes images of \(8, 8, 1\); data set 'sprites' has"):
        disentanglement(model, sprite_data())
    with pytest.raises(ValueError, match="^Data set 'sprites' has no test images.$"):
        disentanglement(model, small_data(), split="test")


def test_codes_that_are_not_finite():
    class Broken(Reader):
        def encode(self, images):
            return np.full((len(images), 3), np.nan)

    with pytest.raises(ValueError, match="^codes must be finite; the model's hold NaN"):
        disentanglement(Broken(), sprite_data(), **QUICK)
