"""Metrics of disentanglement from examples that share a factor's value: FactorVAE and beta-VAE.

They were defined by drawing new images that share a value. Here they draw, again and again, from
the examples of a large sample that share it, so that each image is rendered and encoded once.
Arguments are as described in `disentanglement_metrics`.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression

from amr_tf import checks
from amr_tf.metrics.mig_dci_sap import Pair, checked_pairs

# Of the prior's standard deviation for a VAE's posterior means (`prune_dims.threshold` in the
# study of Locatello et al. 2019), else of the largest standard deviation among the dimensions.
PRUNED_BELOW = 0.05
_ROUNDING = 1e-6  # A constant that went through float32 arithmetic varies by less than this share.


def kept_dimensions(codes: np.ndarray, unit_prior: bool = False) -> np.ndarray:
    """Which dimensions of a code are in use.

    Kim & Mnih (2018) leave out dimensions that have collapsed to the prior: the decoder ignores
    them, but divided by their own tiny deviation they would vote like the others. The means of a
    VAE are measured against the prior, with a deviation of 1. The scale of a deterministic code
    means nothing by itself, and then a dimension is measured against the one that varies most,
    which agrees with the rule for VAEs as soon as one dimension of these is in use: the
    deviations of such lie near 1.

    Args:
        codes: (N, ...).
        unit_prior: whether the codes are posterior means under a prior of unit variance.

    Returns:
        bool (D,): dimensions whose standard deviation is at least 0.05, or 0.05 of the largest
        one, and more than rounding errors.
    """
    codes = np.reshape(np.asarray(codes, "float64"), (len(codes), -1))
    deviations = codes.std(axis=0)
    threshold = PRUNED_BELOW * (1.0 if unit_prior else deviations.max())
    return (deviations >= threshold) & (deviations > _ROUNDING * np.abs(codes).max())


class FactorSampler:
    """Draws examples that share the value of a factor.

    Factors take turns, and a factor's values are equally likely, however many examples have them;
    a value that a single example has is not drawn, for that example would be its own company.

    Args:
        factors: integers (N, F).

    Raises:
        ValueError: no two examples share a value of a factor.
    """

    def __init__(self, factors: np.ndarray) -> None:
        self._values = [_shared(column) for column in factors.T]
        for number, (_, starts, _) in enumerate(self._values):
            if not len(starts):
                raise ValueError(
                    f"No two of {len(factors)} examples share a value of factor {number}: "
                    "more examples are needed."
                )

    def groups(
        self, count: int, size: int, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Groups of examples that share one value of one factor.

        Args:
            count: of groups.
            size: examples in a group, drawn with replacement.
            random: `np.random.Generator`.

        Returns:
            The shared factor (count,) and the examples (count, size), int64.
        """
        fixed = np.arange(count) % len(self._values)
        rows = np.empty((count, size), "int64")
        for factor, (order, starts, sizes) in enumerate(self._values):
            value = random.integers(len(starts), size=(np.sum(fixed == factor), 1))
            within = random.integers(sizes[value], size=(len(value), size))
            rows[fixed == factor] = order[starts[value] + within]
        return fixed, rows

    def pairs(
        self, count: int, size: int, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sets of pairs; all pairs of a set share the same factor, each pair a value of its own.

        Args:
            count: of sets.
            size: pairs in a set.
            random: `np.random.Generator`.

        Returns:
            The shared factor (count,), and the first and the second examples (count, size),
            int64; no example is paired with itself.
        """
        fixed = np.arange(count) % len(self._values)
        first, second = np.empty((2, count, size), "int64")
        for factor, (order, starts, sizes) in enumerate(self._values):
            value = random.integers(len(starts), size=(np.sum(fixed == factor), size))
            one = random.integers(sizes[value])
            other = (one + random.integers(1, sizes[value])) % sizes[value]
            first[fixed == factor] = order[starts[value] + one]
            second[fixed == factor] = order[starts[value] + other]
        return fixed, first, second


def _shared(column: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Examples in the order of their values, and where those of each value start, and how many.

    Values that a single example has are left out of the last two.
    """
    order = np.argsort(column, kind="stable")
    _, starts, sizes = np.unique(column[order], return_index=True, return_counts=True)
    return order, starts[sizes > 1], sizes[sizes > 1]


def factor_vae_score(
    train: Pair,
    held_out: Pair,
    votes: int = 800,
    samples: int = 100,
    kept: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """The metric of Kim & Mnih (2018, section 4).

    Examples that share the value of a random factor give a vote: the dimension whose variance,
    over its variance in all training codes, is the smallest. Each dimension predicts the factor
    that most of its training votes came from; the score is the share of held-out votes predicted
    correctly. Dimensions may be more than factors, and several may stand for one factor.

    Chance is one over the number of factors; codes that are a function of one factor each, with
    no factor left out, score 1. Codes of which no dimension is kept score 0.

    Args:
        train: pair of codes and factors, for deviations and the classifier.
        held_out: like `train`, for the score.
        votes: training votes, and as many held-out ones (800 in the paper).
        samples: examples that make a vote, L (100 in the paper).
        kept: bool (D,), the dimensions to use; None for `kept_dimensions` of the training codes.
        seed: of the draws.

    Returns:
        A float in 0 to 1.
    """
    checks.check_positive_integer("votes", votes)
    checks.check_positive_integer("samples", samples)
    if samples < 2:
        raise ValueError(f"samples must be at least 2 to have a variance; got {samples}.")
    train, held_out = _normalised(train, held_out, kept)
    if not train[0].shape[1]:
        return 0.0
    random = np.random.default_rng(seed)

    def draw(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fixed, rows = FactorSampler(factors).groups(votes, samples, random)
        return fixed, np.array([least_varying(codes[group]) for group in rows])

    table = np.zeros((train[0].shape[1], train[1].shape[1]), "int64")
    fixed, chosen = draw(*train)
    np.add.at(table, (chosen, fixed), 1)
    fixed, chosen = draw(*held_out)
    return float(np.mean(table.argmax(axis=1)[chosen] == fixed))


def _normalised(train: Pair, held_out: Pair, kept: np.ndarray | None) -> list[Pair]:
    """Both pairs, checked, with the codes' kept dimensions divided by their deviations in `train`.

    `kept` is that of `factor_vae_score`.
    """
    train, held_out = checked_pairs(train, held_out)
    kept = kept_dimensions(train[0]) if kept is None else np.asarray(kept)
    deviations = train[0][:, kept].std(axis=0)
    return [(codes[:, kept] / deviations, factors) for codes, factors in (train, held_out)]


def least_varying(group: np.ndarray) -> int:
    """The dimension of normalised codes (L, D) with the smallest variance."""
    return int(group.var(axis=0).argmin())


def beta_vae_score(
    train: Pair,
    held_out: Pair,
    points: int = 5000,
    pairs: int = 64,
    kept: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """The metric of Higgins et al. (2017, section 3).

    A point is the mean of |z1 - z2| over pairs of examples that share the value of a random
    factor; a linear classifier (scikit-learn's `LogisticRegression`) tells the factor from it.
    Dimensions are divided by their standard deviation first, so that the score does not depend
    on their scales, and those that are not kept are left out.

    Chance is one over the number of factors, and codes that are a function of one factor each
    score 1. So do many that are entangled, since the classifier sees all dimensions together;
    only where two factors change all dimensions alike, as two of the same distribution rotated
    by 45 degrees do, can it not tell them apart.

    Args:
        train: pair of codes and factors, to fit the classifier on.
        held_out: like `train`, for its accuracy.
        points: to fit on, and as many to score.
        pairs: that make a point, L.
        kept: see `factor_vae_score`; without any the score is 0 here too.
        seed: of the draws.

    Returns:
        A float in 0 to 1.
    """
    checks.check_positive_integer("points", points)
    checks.check_positive_integer("pairs", pairs)
    train, held_out = _normalised(train, held_out, kept)
    if not train[0].shape[1]:
        return 0.0
    random = np.random.default_rng(seed)

    def draw(codes: np.ndarray, factors: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        fixed, *rows = FactorSampler(factors).pairs(points, pairs, random)
        return [np.abs(codes[a] - codes[b]).mean(axis=0) for a, b in zip(*rows)], fixed

    classifier = LogisticRegression(max_iter=2000).fit(*draw(*train))
    return float(classifier.score(*draw(*held_out)))
