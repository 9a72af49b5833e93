"""Disentanglement metrics based on examples that share a factor's value: FactorVAE and beta-VAE.

Their definitions draw new images for every group that shares a value. Here, groups are drawn
repeatedly from a large sample, so that each image is rendered and encoded once. Codes and factors
are described in `mig_dci_sap`.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression

from amr_tf import checks
from amr_tf.metrics.mig_dci_sap import Pair, checked_pairs

# Smallest standard deviation of a dimension in use. For the posterior means of a VAE it is a share
# of the prior's (`prune_dims.threshold` in the study of Locatello et al. 2019), and for other codes
# a share of the largest of all dimensions.
PRUNED_BELOW = 0.05
_ROUNDING = 1e-6  # A constant computed in float32 varies by less than this share.


def kept_dimensions(codes: np.ndarray, unit_prior: bool = False) -> np.ndarray:
    """Finds the dimensions of a code that are in use.

    Kim & Mnih (2018) leave out dimensions that have collapsed to the prior. The decoder ignores
    them, but after division by their tiny standard deviation they would vote like the others. The
    means of a VAE are compared with the prior's standard deviation of 1. Deterministic codes have
    no natural scale, so their dimensions are compared with the one that varies most. The two rules
    agree for a VAE with at least one dimension in use, whose standard deviation is close to 1.

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
    """Draws groups of examples that share the value of a factor.

    Factors take turns, and all values of a factor are equally likely, regardless of their number of
    examples. Values with a single example are not drawn.

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
        """Draws groups of examples that share one value of one factor.

        Args:
            count: number of groups.
            size: number of examples in a group, drawn with replacement.
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
        """Draws sets of pairs that share a factor's value. All pairs of a set share that factor.

        Args:
            count: number of sets.
            size: number of pairs in a set.
            random: `np.random.Generator`.

        Returns:
            The shared factor (count,), and the first and second examples (count, size), int64. No
            example is paired with itself.
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
    """Returns the examples sorted by value, and the start and number of each value's examples.

    Values with a single example are left out of the last two.
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
    """Computes the FactorVAE metric (Kim & Mnih 2018, section 4).

    Examples that share the value of a random factor cast a vote for the dimension with the smallest
    variance relative to its variance in all training codes. Each dimension predicts the factor of
    most of its training votes, and the score is the accuracy on held-out votes. There may be more
    dimensions than factors, and several dimensions may encode the same factor.

    Chance is one over the number of factors. Codes whose dimensions are each a function of one
    factor, and together encode all factors, score 1. Codes without kept dimensions score 0.

    Args:
        train: pair of codes and factors, for standard deviations and the classifier.
        held_out: like `train`, for the score.
        votes: number of training votes, and of held-out votes (800 in that paper).
        samples: number of examples per vote, L (100 in that paper).
        kept: bool (D,), the dimensions to use; None for `kept_dimensions` of the training codes.
        seed: seed of the draws.

    Returns:
        A float from 0 to 1.
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
    """Checks the pairs and divides the kept dimensions by their standard deviations in `train`.

    See `factor_vae_score` for `kept`.
    """
    train, held_out = checked_pairs(train, held_out)
    kept = kept_dimensions(train[0]) if kept is None else np.asarray(kept)
    deviations = train[0][:, kept].std(axis=0)
    return [(codes[:, kept] / deviations, factors) for codes, factors in (train, held_out)]


def least_varying(group: np.ndarray) -> int:
    """Returns the dimension of normalised codes (L, D) with the smallest variance."""
    return int(group.var(axis=0).argmin())


def beta_vae_score(
    train: Pair,
    held_out: Pair,
    points: int = 5000,
    pairs: int = 64,
    kept: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """Computes the beta-VAE metric (Higgins et al. 2017, section 3).

    A point is the mean of |z1 - z2| over pairs of examples that share the value of a random
    factor. A linear classifier (scikit-learn's `LogisticRegression`) predicts the factor from it.
    Kept dimensions are divided by their standard deviation first, so that the score does not depend
    on their scales.

    Chance is one over the number of factors, and codes whose dimensions are each a function of one
    factor score 1. Many entangled codes also score 1, since the classifier sees all dimensions
    together. It fails only if two factors change all dimensions equally, such as two factors of
    the same distribution rotated by 45 degrees.

    Args:
        train: pair of codes and factors, to fit the classifier on.
        held_out: like `train`, for its accuracy.
        points: number of points to fit on, and to score.
        pairs: number of pairs per point, L.
        kept: see `factor_vae_score`. If no dimension is kept, the score is 0.
        seed: seed of the draws.

    Returns:
        A float from 0 to 1.
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
