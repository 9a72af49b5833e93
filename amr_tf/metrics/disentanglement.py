"""Disentanglement of a trained model's codes with respect to the factors of its data."""

from typing import Any

import numpy as np

from amr_tf import checks
from amr_tf.data import ImageData, Split, prepared
from amr_tf.metrics.fixed_factor import (
    beta_vae_score,
    factor_vae_score,
    kept_dimensions,
)
from amr_tf.metrics.mig_dci_sap import dci, mutual_information_gap, sap
from amr_tf.models.base import ResynthesisModel

_ENCODED_AT_ONCE = 2048  # Limits the memory that images take.


def disentanglement(
    model: ResynthesisModel,
    data: ImageData,
    split: str = "validation",
    examples: int = 20_000,
    fitted: int = 5_000,
    votes: int = 800,
    samples: int = 100,
    seed: int = 0,
) -> dict[str, Any]:
    """Computes the FactorVAE, beta-VAE, MIG, DCI and SAP metrics of a trained model.

    Classifiers are fitted on random images of the training split, and scores are computed on a
    held-out split. Each image is rendered and encoded once, and all metrics use these codes.
    Spatial codes are flattened, and the codes of a VAE are the posterior means. Factors with a
    single value among the images are left out. For dSprites and codes of 10 dimensions this takes a
    few minutes on one core, mostly for DCI. The time for DCI and SAP grows with the dimensions.

    Args:
        model: a trained `ResynthesisModel`.
        data: `ImageData` with ground-truth factors and the model's image shape.
        split: "validation" for model selection, or "test" for final results.
        examples: number of images to draw from each split, or all if there are fewer.
        fitted: number of these images that DCI and SAP are fitted to, and scored on.
        votes: number of training votes, and of held-out votes, of the FactorVAE metric.
        samples: number of images per vote.
        seed: seed of all draws.

    Returns:
        A dictionary with "factor_vae", "beta_vae", "mig" and "sap", floats; "dci", a dictionary
        (see `mig_dci_sap.dci`); "dimensions", the size of a code; "kept_dimensions", the number of
        dimensions used for the FactorVAE and beta-VAE metrics; and the names of the "factors" and
        of those "left_out".

    Raises:
        ValueError: the data have no factors, fewer than two varying factors, no such split or
            another image shape, or a number is not positive.
    """
    held_out = _held_out(data, split)
    checks.check_same_images(model, data)
    counts = {"examples": examples, "fitted": fitted, "votes": votes, "samples": samples}
    for name, count in counts.items():
        checks.check_positive_integer(name, count)
    random = np.random.default_rng(seed)
    rows = [_draw(len(part), examples, random) for part in (data.train, held_out)]
    parts: tuple[Any, Any] = (data.train, held_out)
    factors = [part.factors[chosen] for part, chosen in zip(parts, rows)]
    varying = np.all([np.ptp(part, axis=0) > 0 for part in factors], axis=0)
    names = data.factor_names or [f"factor{number}" for number in range(len(varying))]
    if varying.sum() < 2:
        raise ValueError(
            f"Disentanglement needs two factors or more that vary; data set '{data.name}' has "
            f"{varying.sum()} among {len(rows[0])} training and {len(rows[1])} {split} images."
        )
    train = (_codes(model, data.train, rows[0], data.image_size), factors[0][:, varying])
    scored = (_codes(model, held_out, rows[1], data.image_size), factors[1][:, varying])
    kept = kept_dimensions(train[0], unit_prior=model.unit_prior)
    few, few_scored = ((codes[:fitted], values[:fitted]) for codes, values in (train, scored))
    return {
        "factor_vae": factor_vae_score(train, scored, votes, samples, kept, seed),
        "beta_vae": beta_vae_score(train, scored, kept=kept, seed=seed),
        "mig": mutual_information_gap(*scored),
        "dci": dci(few, few_scored, seed=seed),
        "sap": sap(few, few_scored, seed=seed),
        "dimensions": len(kept),
        "kept_dimensions": int(kept.sum()),
        "factors": [name for name, varies in zip(names, varying) if varies],
        "left_out": [name for name, varies in zip(names, varying) if not varies],
    }


def _held_out(data: ImageData, split: str) -> Any:
    if split not in ("validation", "test"):
        raise ValueError(f"split must be 'validation' or 'test'; got {split!r}.")
    held_out = getattr(data, split)
    if held_out is None:
        raise ValueError(f"Data set '{data.name}' has no {split} images.")
    if held_out.factors is None or data.train.factors is None:
        raise ValueError(
            f"Data set '{data.name}' has no ground-truth factors; only dsprites, "
            "dsprites_attributes and dsprites_tfds do."
        )
    return held_out


def _draw(size: int, examples: int, random: np.random.Generator) -> np.ndarray:
    """Draws distinct rows in random order, so that the first few are also a random sample."""
    return random.permutation(size)[:examples]


def _codes(
    model: ResynthesisModel, split: Split, rows: np.ndarray, image_size: int | None
) -> np.ndarray:
    """Returns codes (len(rows), D). Only these images are rendered, in batches."""
    parts = [
        model.encode(prepared(split, rows[start : start + _ENCODED_AT_ONCE], image_size))
        for start in range(0, len(rows), _ENCODED_AT_ONCE)
    ]
    codes = np.concatenate(parts).reshape(len(rows), -1)
    if not np.isfinite(codes).all():
        raise ValueError("codes must be finite; the model's hold NaN or infinite values.")
    return codes
