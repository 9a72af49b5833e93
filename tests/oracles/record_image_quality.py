"""Record what established packages say of two sets of features, for our tests to compare with.

The packages need PyTorch, which amr_tf never imports, so their values are recorded once, in an
environment of their own, and committed as an npz file. To record again, from the repository root
and with Python 3.11:

    python3.11 -m venv /tmp/oracle_iq
    /tmp/oracle_iq/bin/pip install torch pytorch-fid==0.3.0 torch-fidelity==0.4.0 prdc==0.2
    /tmp/oracle_iq/bin/python tests/oracles/record_image_quality.py

The file holds one group of arrays per case, under keys `CASE/NAME` (`relu/real`), and loads with
allow_pickle=False:

    real, fake        features, float32 (N, D) and (M, D)
    pytorch_fid       the Frechet distance of pytorch-fid
    torch_fidelity    the Frechet distance of torch-fidelity
    prdc_kK           (precision, recall) of prdc for nearest_k=K
    torch_fidelity_kK (precision, recall) of torch-fidelity for a neighborhood of K

and `versions`, a JSON string of the packages' versions.
"""

import argparse
import importlib.metadata
import json
import pathlib

import numpy as np
import torch
from prdc import compute_prdc
from pytorch_fid.fid_score import calculate_frechet_distance
from torch_fidelity import metric_fid, metric_prc

DEFAULT_OUT = pathlib.Path(__file__).with_name("image_quality.npz")
SEED = 20
NEIGHBOURS = (3, 5)
PACKAGES = ("pytorch-fid", "torch-fidelity", "prdc", "torch", "numpy", "scipy", "scikit-learn")


def correlated(rng, count, size):
    """Features with a mean and a full covariance of their own."""
    return rng.standard_normal((count, size)) @ rng.standard_normal((size, size)) / size**0.5


def cases():
    """The two sets of features of each case, float64."""
    rng = np.random.default_rng(SEED)
    mixing = rng.standard_normal((16, 16)) / 4
    real = rng.standard_normal((300, 16)) @ mixing
    yield "full", real, 0.9 * rng.standard_normal((250, 16)) @ mixing + 0.1
    # As of a network's last activation: nothing below zero, and one feature never fires.
    activations = [np.maximum(correlated(rng, count, 24), 0) for count in (200, 220)]
    for features in activations:
        features[:, 7] = 0
    yield "relu", *activations
    # Fewer images than features: singular covariances.
    yield "few", correlated(rng, 40, 64), correlated(rng, 30, 64) + 0.5


def record_fid(real, fake):
    """The Frechet distances of both packages, by package."""
    statistics = [metric_fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (real, fake)]
    moments = [statistic[name] for statistic in statistics for name in ("mu", "sigma")]
    fidelity = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    return {
        "torch_fidelity": fidelity[metric_fid.KEY_METRIC_FID],
        "pytorch_fid": calculate_frechet_distance(*moments),
    }


def record_precision_recall(real, fake, k):
    """(precision, recall) of both packages, by package."""
    prdc = compute_prdc(real, fake, nearest_k=k)
    # torch-fidelity's first argument is the generated set.
    fidelity = metric_prc.calculate_precision_recall_full(
        torch.from_numpy(fake), torch.from_numpy(real), k
    )
    return {
        f"prdc_k{k}": (prdc["precision"], prdc["recall"]),
        f"torch_fidelity_k{k}": fidelity,
    }


def record_all():
    """Return the arrays of every case, by CASE/NAME."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    arrays = {"versions": np.array(json.dumps(versions))}
    for name, *features in cases():
        features = [part.astype("float32") for part in features]
        arrays |= {f"{name}/real": features[0], f"{name}/fake": features[1]}
        # In float64, so that the packages' own rounding is small.
        real, fake = (part.astype("float64") for part in features)
        values = record_fid(real, fake)
        for k in NEIGHBOURS:
            values |= record_precision_recall(real, fake, k)
        print(name, values)
        arrays |= {f"{name}/{key}": np.array(value) for key, value in values.items()}
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
