"""Metrics and warnings that show whether the discriminator and the code are still of use."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from amr_tf.models import ResynthesisModel

IMAGES = 64
PREFIX = "health_"
# Warns if the discriminator orders this share of pairs correctly for this many epochs. At first,
# while reconstructions are blurred, this is normal.
_CERTAIN = 0.999
_PATIENCE = 20
# Outputs are constant if they vary by less than this share of their size, and maps if they vary by
# less than this share of the variation of the most variable map.
_CONSTANT = 1e-3
_ROUNDING = 1e-6
# Burda et al. (2016): a latent of a VAE is inactive if its mean has a variance below 0.01.
_INACTIVE_DEVIATION = 0.1


class HealthMonitor(keras.callbacks.Callback):
    """Measures the discriminator and the latent maps on a few images after each epoch.

    It adds these metrics to the epoch's logs, where later callbacks find them:

    - `health_discriminator_accuracy`: the share of pairs of a real and a fake image that the
      discriminator orders correctly, which is the area under its ROC curve: 0.5 by chance, 1 if no
      fake passes as real. It needs no threshold and means the same for every GAN loss. For ACAI's
      critics, the pairs consist of a mix and an unmixed image.
    - `health_discriminator_spread`: the standard deviation of the discriminator's outputs, as a
      share of their root mean square: 0 if the output is the same for every image.
    - `health_dead_maps`: the share of latent maps (or entries of a vector code) that are the same
      for all images.

    Methods without a discriminator, and GAIA, whose discriminator returns images, only have the
    last metric. The first needs a group of real images (for critics: mixes) and another group.
    Mixes are drawn with a fixed seed, so that the training's random numbers do not change.

    Args:
        images: float images (N, H, W, C) in [-1, 1], or points; N is at least 2 and the mixer's k.
        labels: see `fit`, or None.
        write: whether to add the metrics to the logs; otherwise it only warns.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray | None = None, write: bool = True
    ) -> None:
        super().__init__()
        self.images = images
        self.labels = labels
        self.write = write
        self._certain_epochs = 0
        self._warned: dict[str, float] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        found = health(self.model, self.images, self.labels)
        if self.write and logs is not None:
            logs.update({PREFIX + name: value for name, value in found.items()})
        self._judge_discriminator(found)
        dead = found["dead_maps"]
        if dead > self._warned.get("dead", 0.0):
            self._warned["dead"] = dead
            logging.warning(
                "%s of the latent maps are the same for all of %d validation images after epoch "
                "%d: the code does not use them.",
                f"{100 * dead:.0f} %",
                len(self.images),
                epoch + 1,
            )

    def _judge_discriminator(self, found: dict[str, float]) -> None:
        if "discriminator_spread" not in found:
            return
        self._warn_once(
            "constant",
            found["discriminator_spread"] <= _CONSTANT,
            "The discriminator gives the same output for every image: it has collapsed, and the "
            "auto-encoder learns nothing from it.",
        )
        certain = found.get("discriminator_accuracy", 0.0) >= _CERTAIN
        self._certain_epochs = self._certain_epochs + 1 if certain else 0
        self._warn_once(
            "certain",
            self._certain_epochs >= _PATIENCE,
            f"For {_PATIENCE} epochs the discriminator has told real images from fakes "
            "without an error: the auto-encoder may learn little from it.",
        )

    def _warn_once(self, kind: str, holds: bool, text: str) -> None:
        """Warns when a state begins, and again only after it has ended."""
        if holds and not self._warned.get(kind):
            logging.warning(text)
        self._warned[kind] = holds


def health(
    model: ResynthesisModel, images: np.ndarray, labels: np.ndarray | None = None
) -> dict[str, float]:
    """Returns the metrics of `HealthMonitor` as a dictionary of floats, without the prefix.

    Args:
        model: a `ResynthesisModel`.
        images: see `HealthMonitor`.
        labels: see `HealthMonitor`.
    """
    step = model.forward(images, labels, seed=0)
    found = {"dead_maps": _dead_maps(_array(step.codes), model.unit_prior)}
    outputs = {name: _array(logits) for name, logits in step.logits.items()}
    if outputs:
        pooled = np.concatenate(list(outputs.values()))
        high = "mix" if model.critic_scores_mixes else "real"
        if high in outputs and len(outputs) > 1:  # A method chooses what its critic sees.
            found["discriminator_accuracy"] = _pair_accuracy(outputs, high)
        size = float(np.sqrt(np.mean(pooled**2)))
        found["discriminator_spread"] = float(pooled.std()) / size if size else 0.0
    return found


def _array(tensor: tf.Tensor) -> np.ndarray:
    return tf.cast(tensor, "float32").numpy()


def _pair_accuracy(outputs: dict[str, np.ndarray], high: str) -> float:
    """Returns the share of pairs in which group `high` has the larger output; ties count half."""
    others = np.concatenate([values for name, values in outputs.items() if name != high])
    difference = outputs[high][:, None] - others[None]
    return float(np.mean(0.5 * (np.sign(difference) + 1.0)))


def _dead_maps(codes: np.ndarray, unit_prior: bool) -> float:
    """Returns the share of maps that hardly vary between images.

    Args:
        codes: (N, H, W, C), (N, D), or means of a VAE's posterior.
        unit_prior: whether a prior sets the codes' scale; otherwise the most variable map does.
    """
    deviations = codes.std(axis=0)
    deviations = deviations.reshape(-1, deviations.shape[-1]).max(axis=0)
    limit = max(_CONSTANT * deviations.max(), _ROUNDING * abs(codes).max())
    if unit_prior:
        limit = _INACTIVE_DEVIATION
    return float(np.mean(deviations <= limit))
