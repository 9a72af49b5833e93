"""Number formats of a training: Keras' policies, and the updates that loss scaling skips."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from amr_tf import devices
from amr_tf.models import ResynthesisModel

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "auto")
JIT_COMPILE = ("auto", "true", "false")


def resolved_precision(name: str) -> str:
    """The policy that `auto` stands for on this machine; other names as they are."""
    if name != "auto":
        return name
    return "mixed_bfloat16" if devices.computes_bfloat16() else "float32"


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Makes layers that are created inside compute in a precision, and the old one come back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def warn_of_precision(name: str) -> None:
    """Warns of a format that the devices emulate, which is slower than float32.

    Args:
        name: one of `PRECISIONS`.
    """
    emulated = {
        "mixed_float16": not tf.config.list_physical_devices("GPU"),
        "mixed_bfloat16": devices.emulates_bfloat16(),
    }
    if emulated.get(name):
        logging.warning(
            "precision %s: %s has no arithmetic for it and emulates it, which is slower than "
            "float32; --precision=auto chooses %s.",
            name,
            devices.describe(),
            resolved_precision("auto"),
        )


def jit_compile(choice: str) -> bool | str:
    """What Keras' `compile` takes for "auto", "true" or "false"."""
    return {"true": True, "false": False}.get(choice, choice)


def skipped_updates(model: ResynthesisModel) -> dict[str, int]:
    """How many updates loss scaling has skipped because a gradient was not finite.

    A skipped update leaves an optimizer's counter of iterations as it is, the model's counter of
    steps goes on.

    Args:
        model: a compiled `ResynthesisModel` that was trained on labelled batches if it has a probe.

    Returns:
        Dictionary from "skipped_autoencoder_updates" and so on to integers, since the start of the
        training.
    """
    steps = model.steps_made
    optimizers = {
        "autoencoder": (model.autoencoder_optimizer, -(-steps // model.generator_update_every)),
        "discriminator": (model.discriminator_optimizer, steps),
        "probe": (model.probe_optimizer, steps),
    }
    return {
        f"skipped_{name}_updates": due - int(optimizer.iterations.numpy())
        for name, (optimizer, due) in optimizers.items()
        if optimizer is not None
    }


class SkippedUpdates(keras.callbacks.Callback):
    """Adds `skipped_updates` to an epoch's logs, so to what later callbacks write."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs.update(skipped_updates(self.model))
