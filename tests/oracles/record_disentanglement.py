"""Record what disentanglement_lib computes, for our tests to compare with.

disentanglement_lib 1.5 (Locatello et al. 2019) is the implementation that most studies use. It was
written for TensorFlow 1.14, so its outputs are recorded once, in an environment of their own, and
committed as an npz file. To record again, from the repository root and with Python 3.11:

    python3.11 -m venv /tmp/disentanglement
    /tmp/disentanglement/bin/pip install --no-deps -r tests/oracles/requirements-disentanglement.txt
    /tmp/disentanglement/bin/python tests/oracles/record_disentanglement.py

The settings are those of its own study: pruning below a deviation of 0.05, 64 examples a vote or
point, 10,000 of these to train and 5,000 to evaluate, 20 bins, gradient boosting, linear support
vector machines. Codes are tables with a row for each combination of four factors, and have unit
variance, for without it the scale of a dimension matters to the original.

    factors                 (480, 4), the combinations
    CASE/table              float32 (480, D), their codes
    CASE/factor_vae         accuracy of the FactorVAE metric on new votes
    CASE/beta_vae           likewise of the beta-VAE metric
    CASE/vote_rows          int16 (60, 64), the rows of the table that made some votes
    CASE/vote_factors       int8 (60,), the factor that these share
    CASE/vote_dimensions    int8 (60,), the dimension voted for, among those not pruned
    CASE/variances          (D,), what the variances in a vote were divided by
    CASE/train_rows, CASE/test_rows   int16, the rows that the following come from
    CASE/mig                on the rows to train on
    CASE/importances        (D, 4) of gradient boosting
    CASE/dci                disentanglement, completeness, informativeness
    CASE/sap                of codes standardised by the rows to train on
"""

import argparse
import pathlib

import gin.tf
import numpy as np
from disentanglement_lib.evaluation.metrics import beta_vae, dci, factor_vae, mig, sap_score

DEFAULT_OUT = pathlib.Path(__file__).with_name("disentanglement.npz")
SIZES = (3, 4, 8, 5)
FACTORS = np.stack(np.unravel_index(np.arange(np.prod(SIZES)), SIZES), axis=1)
SEED = 20
BATCH = 64
SETTINGS = """
prune_dims.threshold = 0.05
discretizer.discretizer_fn = @histogram_discretizer
discretizer.num_bins = 20
"""


class Table:
    """The ground-truth data that disentanglement_lib samples; an observation is its factors."""

    num_factors = len(SIZES)

    def sample_factors(self, num, random_state):
        return np.stack([random_state.randint(size, size=num) for size in SIZES], axis=1)

    def sample_observations_from_factors(self, factors, random_state):
        return factors

    def sample_observations(self, num, random_state):
        return self.sample_factors(num, random_state)


def standardised(codes):
    """Codes with zero mean and unit variance."""
    return (codes - codes.mean(axis=0)) / codes.std(axis=0)


def make_tables():
    """The codes (480, D) of each case."""
    rng = np.random.default_rng(SEED)
    units = standardised(FACTORS.astype(float))
    noise = rng.standard_normal((len(FACTORS), 6))
    dead = 0.01 * noise[:, :2]
    half = np.sqrt(0.5)
    rotation = np.kron(np.eye(2), [[half, -half], [half, half]])
    tables = {
        "perfect": units[:, [2, 0, 3, 1]],
        "noisy": standardised(np.hstack([units + 0.5 * noise[:, :4], noise[:, 4:]])),
        "rotated": units @ rotation,
        "entangled": standardised(np.tanh(units @ rng.standard_normal((4, 6)))),
        "independent": standardised(noise),
        "unused": np.hstack([dead[:, :1], units + 0.2 * noise[:, :4], dead[:, 1:]]),
        "single": np.hstack([units[:, [1]] + 0.5 * noise[:, [0]], dead[:, :1]]),
    }
    return {name: table.astype("float32") for name, table in tables.items()}


def record_votes(table, random_state):
    """Scores of the metrics that sample, and some votes."""
    data, seen = Table(), []

    def encode(factors):
        rows = np.ravel_multi_index(factors.T, SIZES)
        seen.append(rows)
        return table[rows].astype("float64")

    counts = {"batch_size": BATCH, "num_train": 10000, "num_eval": 5000}
    scores = factor_vae.compute_factor_vae(
        data, encode, random_state, num_variance_estimate=10000, **counts
    )
    recorded = {"factor_vae": scores["eval_accuracy"]}
    scores = beta_vae.compute_beta_vae_sklearn(data, encode, random_state, **counts)
    recorded["beta_vae"] = scores["eval_accuracy"]
    variances = factor_vae._compute_variances(data, encode, 10000, random_state)
    kept = factor_vae._prune_dims(variances)
    seen.clear()
    votes = [
        factor_vae._generate_training_sample(data, encode, BATCH, random_state, variances, kept)
        for _ in range(60)
    ]
    return recorded | {
        "vote_rows": np.stack(seen).astype("int16"),
        "vote_factors": np.array([factor for factor, _ in votes], "int8"),
        "vote_dimensions": np.array([dimension for _, dimension in votes], "int8"),
        "variances": variances,
    }


def record_fixed(table, random_state):
    """Scores of the metrics on fixed arrays."""
    rows = random_state.permutation(len(table))
    train, test = rows[:300], rows[300:]
    codes = table.astype("float64")
    codes = ((codes - codes[train].mean(axis=0)) / codes[train].std(axis=0)).T
    factors = FACTORS.T
    # Trees and support vector machines without a seed of their own use NumPy's.
    np.random.seed(SEED)
    arrays = (codes[:, train], factors[:, train], codes[:, test], factors[:, test])
    importances, _, accuracy = dci.compute_importance_gbt(*arrays)
    return {
        "train_rows": train.astype("int16"),
        "test_rows": test.astype("int16"),
        "mig": mig._compute_mig(*arrays[:2])["discrete_mig"],
        "importances": importances,
        "dci": [dci.disentanglement(importances), dci.completeness(importances), accuracy],
        "sap": sap_score._compute_sap(*arrays, continuous_factors=False)["SAP_score"],
    }


def record_all():
    """Return the arrays of every case, by CASE/NAME."""
    gin.parse_config(SETTINGS)
    arrays = {"factors": FACTORS.astype("int8")}
    for name, table in make_tables().items():
        random_state = np.random.RandomState(SEED)
        case = {"table": table, **record_votes(table, random_state)}
        case |= record_fixed(table, random_state)
        arrays |= {f"{name}/{key}": np.asarray(value) for key, value in case.items()}
        shown = {key: np.round(case[key], 3) for key in ("factor_vae", "beta_vae", "mig", "sap")}
        print(name, shown, "dci", np.round(case["dci"], 3))
    return arrays


def main():
    """Record every case into one npz file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=DEFAULT_OUT, help="npz to write")
    args = parser.parse_args()
    arrays = record_all()
    np.savez_compressed(args.out, **arrays)
    print(f"wrote {len(arrays)} arrays to {args.out}")


if __name__ == "__main__":
    main()
