"""Builds the compiled model that a `TrainingConfig` describes."""

from typing import Any

import tensorflow as tf

from amr_tf.data.preprocessing import ImagePreprocessor
from amr_tf.models import METHODS, ResynthesisModel
from amr_tf.perceptual import PerceptualLoss
from amr_tf.runs.config import COMPILED, CREATED, TrainingConfig
from amr_tf.runs.precision import dtype_policy, jit_compile


def build_model(
    config: Any,
    image_shape: tuple[int, ...],
    num_classes: int | None = None,
    multi_label: bool = False,
    preprocessor: ImagePreprocessor | None = None,
) -> Any:
    """Builds the compiled model that a `TrainingConfig` describes.

    Args:
        config: a `TrainingConfig`.
        image_shape: (H, W, C), or (D,) for points.
        num_classes: number of classes or attributes in the data, or None for unlabelled data.
        multi_label: whether labels are attributes.
        preprocessor: the data's preprocessor, which is saved with the model; or None.

    Raises:
        ValueError: a setting needs labels but the data have none; sizes, mixer and method do not
            match; or the network of the reconstruction loss cannot be loaded.
        MemoryError: the networks do not fit into memory.
    """
    config = config.resolve()
    method, created, compiled = METHODS.split(config.method)
    if num_classes is None:
        _check_needs_no_labels(config, method)
    try:
        with dtype_policy(config.precision):
            model = method.create(
                image_shape,
                num_classes=num_classes,
                multi_label=multi_label,
                seed=config.seed,
                name=METHODS.parse(config.method).name,
                **{name: getattr(config, name) for name in CREATED},
                **created,
            )
        # Not an argument, since a user-defined method may not pass it on.
        model.check_preprocessor(preprocessor)
        model.preprocessor = preprocessor
        model.compile(
            jit_compile=jit_compile(config.jit_compile),
            **{name: getattr(config, name) for name in COMPILED},
            **compiled,
        )
    except tf.errors.OpError as error:  # Its class depends on where memory runs out.
        raise MemoryError(f"{config.architecture} for images of {image_shape}.") from error
    if isinstance(model.reconstruction_loss, PerceptualLoss):
        model.reconstruction_loss.prepare(image_shape)  # Errors occur before training.
    return model


def _check_needs_no_labels(config: TrainingConfig, method: type[ResynthesisModel]) -> None:
    """Raises a ValueError for a setting that requires labelled data."""
    default = config.replace(probe=None, probe_optimizer=None).resolve()
    for name, needed in (
        (f"method {config.method}", method.needs_labels),
        (f"supervision = {config.supervision:g}", config.supervision),
        (f"labelled = {config.labelled}", config.labelled is not None),
        (f"probe {config.probe}", config.probe != default.probe),
        (
            f"probe_optimizer {config.probe_optimizer}",
            config.probe_optimizer != default.probe_optimizer,
        ),
    ):
        if needed:
            raise ValueError(
                f"{name} learns from labels, but data set '{config.dataset}' has none."
            )
