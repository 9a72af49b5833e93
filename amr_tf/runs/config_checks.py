"""Checks the values of a `TrainingConfig`, each alone and in combination."""

import contextlib
import functools
import numbers
from collections.abc import Callable, Iterator
from typing import Any

from amr_tf import checks, losses, optimizers
from amr_tf.augmentation import AUGMENTATIONS
from amr_tf.data.sources import check_request
from amr_tf.mixers import MIXERS
from amr_tf.models import METHODS
from amr_tf.models.building import make_discriminator_augmentation, make_mixer
from amr_tf.models.gradients import STEPS
from amr_tf.registry import parse_call, unknown_name
from amr_tf.runs.divergence import ON_NAN
from amr_tf.runs.precision import JIT_COMPILE, PRECISIONS
from amr_tf.runs.strategy import STRATEGIES
from amr_tf.runs.trackers import check_trackers

_LARGEST_INTEGER = 2**32 - 1  # NumPy's largest seed.
_POSITIVE_INTEGERS = ("epochs", "batch_size", "checkpoint_every", "steps_per_execution")
_NOT_NEGATIVE = ("seed", "sample_every")
# Settings of every method that its `setting_checks` check.
_NUMBERS = (
    *("lambda_", "beta", "supervision", "generator_update_every"),
    *("feature_matching", "look_matching", "adversarial_warmup", "ema"),
)
# Functions that create a part from its call string, to check that it can be created.
_MAKE: dict[str, Callable] = {
    "augmentation": functools.partial(AUGMENTATIONS.build, seed=None),
    "autoencoder_optimizer": optimizers.get,
    "discriminator_optimizer": optimizers.get,
    "probe_optimizer": optimizers.get,
    "reconstruction_loss": losses.reconstruction_loss,
    "consistency_loss": losses.reconstruction_loss,
    "gan_loss": losses.gan_loss,
}


def check_used(config: Any) -> None:
    """Raises a ValueError for a setting that the chosen method or mixer does not use."""
    name = parse_call(config.method, "method").name
    method = METHODS.get(name)
    mixes = method.takes_mixer and config.mixer != "none"
    for setting in method.unused_settings:
        value = getattr(config, setting, None)
        if value and value != "none":
            flag = setting.rstrip("_")
            raise ValueError(f"method {name} does not use {flag} (got {value}): leave it out.")
    mixer = METHODS.default_of(name, "mixer") if config.mixer is None else config.mixer
    mixes = mixes and mixer is not None
    if config.k is not None and not mixes:
        raise ValueError(
            f"k = {config.k} says how many codes a mix combines, but there is no mixer."
        )
    if config.k is not None and not MIXERS.takes(parse_call(mixer, "mixer").name, "k"):
        raise ValueError(f"mixer {mixer} does not use k (got {config.k}): leave it out.")
    for setting, what in (("beta", "consistency"), ("look_matching", "look")):
        weight = getattr(config, setting)
        if weight and not (mixes and method.trains_on_mixes):
            raise ValueError(
                f"{setting} = {weight:g} weighs the {what} of mixes, but in training method "
                f"{name} with mixer {mixer or 'none'} makes none."
            )
    if config.consistency_loss is not None and not config.beta:
        raise ValueError(
            f"consistency_loss = {config.consistency_loss} is used with a beta above 0 only."
        )


def check_run(config: Any) -> None:
    """Raises a ValueError for the first setting of the run itself that is not allowed."""
    if not config.run_dir:
        raise ValueError("run_dir must name a folder; got ''.")
    for name in _POSITIVE_INTEGERS:
        checks.check_positive_integer(name, getattr(config, name))
    if config.patience is not None:
        checks.check_positive_integer("patience", config.patience)
        if config.strategy == "multi_worker":
            raise ValueError("patience needs strategy none or mirrored: workers stop together.")
    if config.max_minutes is not None:
        checks.check_positive("max_minutes", config.max_minutes)
    for name in _NOT_NEGATIVE:
        checks.check_not_negative(name, getattr(config, name))
    for kind, allowed in (
        ("on_nan", ON_NAN),
        ("precision", PRECISIONS),
        ("jit_compile", JIT_COMPILE),
        ("strategy", STRATEGIES),
    ):
        if getattr(config, kind) not in allowed:
            raise unknown_name(kind, getattr(config, kind), allowed)
    if config.jit_compile == "true" and config.strategy != "none":
        raise ValueError(
            f"jit_compile=true needs strategy none, since XLA compiles the step for one "
            f"device; got strategy {config.strategy}."
        )
    if not 0 <= config.verbose <= 2:
        raise ValueError(f"verbose must be 0, 1 or 2; got {config.verbose}.")
    check_trackers(config.trackers)
    check_request(
        config.dataset,
        config.data_dir,
        config.image_size,
        config.validation_fraction,
        config.train_subset,
        config.labelled,
    )


def check_parts(config: Any) -> None:
    """Raises a ValueError for settings that the method or one of its parts rejects.

    The parts are created and discarded, so that each value is checked where it is used. Networks
    take long to create and depend on the data, so they are checked when the model is built.

    Args:
        config: a resolved `TrainingConfig`.
    """
    method, created, compiled = METHODS.split(config.method)
    if config.step not in (*STEPS, "auto"):
        raise unknown_name("step", config.step, (*STEPS, "auto"))
    with _naming("method", config.method):
        method.check_settings(**created, **compiled)
    for name in _NUMBERS:
        if getattr(config, name) is not None:
            # Error messages use the flag's name.
            method.setting_checks[name](name.rstrip("_"), getattr(config, name))
    with _naming("mixer", config.mixer):
        mixer = make_mixer(method, config.mixer, config.k, config.seed)
    method.check_mixer(mixer)
    with _naming("discriminator_augmentation", config.discriminator_augmentation):
        make_discriminator_augmentation(method, config.discriminator_augmentation, config.seed)
    if mixer is not None:
        checks.check_batch_size(config.batch_size, mixer.k)
    for name, make in _MAKE.items():
        value = getattr(config, name)
        if value is not None:
            with _naming(name, value):
                make(value)


@contextlib.contextmanager
def _naming(name: str, call: str) -> Iterator[None]:
    """Converts a constructor's error about a value's type to a ValueError that names the call.

    Keras checks the types of few arguments, and a user-defined constructor may check none.
    """
    try:
        yield
    except (TypeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{name} {call} has a value of a wrong type: {reason}.") from error


def check_type(name: str, value: Any, kinds: tuple) -> None:
    """Raises a ValueError unless a value is of one of a field's types and fits on one line."""
    if not any(_is_a(value, kind) for kind in kinds):
        wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ValueError(f"{name} must be of type {wanted}; got {value!r}.")
    if isinstance(value, numbers.Integral) and abs(int(value)) > _LARGEST_INTEGER:
        raise ValueError(f"{name} must be at most {_LARGEST_INTEGER}; got {value!r:.50}.")
    # In a flagfile, text after a line break would be a flag of its own.
    if isinstance(value, str) and (value.splitlines() not in ([], [value]) or "\0" in value):
        raise ValueError(f"{name} must be one line of text; got {value!r}.")


def _is_a(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, {int: numbers.Integral, float: numbers.Real}.get(kind, kind))
