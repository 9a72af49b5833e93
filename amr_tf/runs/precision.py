"""Number formats of a run: Keras' dtype policies, and updates that loss scaling skips."""

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
    """Returns the policy that `auto` stands for on this machine, and other names unchanged."""
    if name != "auto":
        return name
    return "mixed_bfloat16" if devices.computes_bfloat16() else "float32"


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Sets the dtype policy of layers created in a context, and then restores the previous one."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def warn_of_precision(name: str) -> None:
    """Warns about a precision that the devices emulate, which is slower than float32.

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
    """Converts "auto", "true" or "false" to an argument of Keras' `compile`."""
    return {"true": True, "false": False}.get(choice, choice)


def skipped_updates(model: ResynthesisModel) -> dict[str, int]:
    """Returns how many updates loss scaling has skipped because a gradient was not finite.

    A skipped update increases the model's step counter, but not the optimizer's `iterations`.

    Args:
        model: a compiled `ResynthesisModel`. If it has a probe, it was trained on labelled batches.

    Returns:
        Dictionary from "skipped_autoencoder_updates" and so on to numbers since the start of
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
    """Adds `skipped_updates` to an epoch's logs, where later callbacks find them."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs.update(skipped_updates(self.model))
