"""Probes: small classifiers of the codes."""

from collections.abc import Sequence

import keras

from amr_tf import checks
from amr_tf.networks.blocks import check_widths
from amr_tf.registry import Registry

PROBES = Registry(
    "probe",
    context={
        "latent_shape": "the codes",
        "num_classes": "the data",
        "multi_label": "the data",
        "name": "the model",
    },
)
"""Functions that build a probe, by the names that `--probe` takes."""


@PROBES.register("linear")
def build_linear_probe(
    latent_shape: tuple[int, ...],
    num_classes: int,
    *,
    multi_label: bool = False,
    name: str = "probe",
) -> keras.Model:
    """Builds a linear classifier of flattened codes (paper, section 4.1).

    Args:
        latent_shape: shape of one code, (H, W, C) or (D,).
        num_classes: number of classes, at least 2, or with `multi_label` of attributes.
        multi_label: whether the outputs are attributes, of which there may be a single one.
        name: the model's name.

    Returns:
        A `keras.Model` from codes (N, *latent_shape) to float32 logits (N, num_classes).

    Raises:
        ValueError: there are too few classes.
    """
    _check_num_classes(num_classes, multi_label)
    return _probe(latent_shape, (), num_classes, name)


@PROBES.register("mlp")
def build_mlp_probe(
    latent_shape: tuple[int, ...],
    num_classes: int,
    *,
    hidden: Sequence[int] = (256,),
    multi_label: bool = False,
    name: str = "probe",
) -> keras.Model:
    """Builds an MLP classifier of flattened codes (paper, section 5: "deeper classifiers").

    Args:
        latent_shape: shape of one code, (H, W, C) or (D,).
        num_classes: number of classes, at least 2, or with `multi_label` of attributes.
        hidden: widths of the hidden layers, each followed by ReLU; at least one.
        multi_label: whether the outputs are attributes, of which there may be a single one.
        name: the model's name.

    Returns:
        A `keras.Model` from codes (N, *latent_shape) to float32 logits (N, num_classes).

    Raises:
        ValueError: there are too few classes, no hidden layers, or a width is not positive.
    """
    _check_num_classes(num_classes, multi_label)
    check_widths("hidden", hidden)
    return _probe(latent_shape, hidden, num_classes, name)


def _check_num_classes(num_classes: int, multi_label: bool) -> None:
    checks.check_positive_integer("num_classes", num_classes)
    if num_classes < 2 and not multi_label:
        raise ValueError(
            f"num_classes must be at least 2; got {num_classes}. A single attribute needs "
            "multi_label=True."
        )


def _probe(
    latent_shape: tuple[int, ...], hidden: Sequence[int], num_classes: int, name: str
) -> keras.Model:
    # All layers use float32, since a probe measures the codes and is cheap.
    codes = keras.Input(latent_shape, name="codes")
    x = keras.layers.Flatten(name="flatten", dtype="float32")(codes)
    for index, width in enumerate(hidden):
        x = keras.layers.Dense(width, activation="relu", name=f"dense{index}", dtype="float32")(x)
    logits = keras.layers.Dense(num_classes, name="logits", dtype="float32")(x)
    return keras.Model(codes, logits, name=name)
