"""What the values of a `TrainingConfig` may be, each alone and together."""

import numbers

from amr_tf import checks, losses, mixers
from amr_tf.data import DATASETS
from amr_tf.mixers.supervised import ALPHAS, CONDITIONS, ESTIMATORS
from amr_tf.models import METHODS
from amr_tf.models.training_step import STEPS
from amr_tf.networks import PROBES
from amr_tf.networks.architectures import ARCHITECTURES
from amr_tf.registry import unknown_name
from amr_tf.training.divergence import ON_NAN
from amr_tf.training.precision import JIT_COMPILE, PRECISIONS
from amr_tf.training.strategy import STRATEGIES

OUTPUT_ACTIVATIONS = ("none", "tanh")
_LARGEST_INTEGER = 2**32 - 1  # NumPy's largest seed.
_POSITIVE_INTEGERS = (
    "k",
    "epochs",
    "batch_size",
    "generator_update_every",
    "latent_channels",
    "latent_width",
    "depth",
    "checkpoint_every",
    "steps_per_execution",
)
_POSITIVE_INTEGERS_OR_NONE = ("image_size", "crop", "train_subset", "labelled", "latent_dim")
_NOT_NEGATIVE = (
    "lambda_",
    "beta",
    "supervision",
    "class_weight",
    "adversarial_weight",
    "kl_weight",
    "balance_rate",
    "learning_rate",
    "probe_learning_rate",
    "beta_1",
    "beta_2",
    "epsilon",
    "l2_weight_decay",
    "seed",
    "sample_every",
)


def check_names(config):
    """Raises a ValueError for a name that no registry and no list holds."""
    if not config.run_dir:
        raise ValueError("run_dir must name a folder; got ''.")
    for registry, name in (
        (DATASETS, config.dataset),
        (ARCHITECTURES, config.architecture),
        (PROBES, config.probe),
        (losses.RECONSTRUCTION_LOSSES, config.reconstruction_loss),
        (losses.GAN_LOSSES, config.gan_loss),
        (mixers.MIXERS, config.label_mixer),
    ):
        registry.get(name)
    if config.mixer != "none":
        mixers.MIXERS.get(config.mixer)
    for kind, allowed in (
        ("output_activation", OUTPUT_ACTIVATIONS),
        ("bernoulli_probability", mixers.BernoulliMixup.PROBABILITIES),
        ("mask_estimator", ESTIMATORS),
        ("mask_condition", CONDITIONS),
        ("label_alphas", ALPHAS),
        ("on_nan", ON_NAN),
        ("step", STEPS),
        ("precision", PRECISIONS),
        ("jit_compile", JIT_COMPILE),
        ("strategy", STRATEGIES),
    ):
        if getattr(config, kind) not in allowed:
            raise unknown_name(kind, getattr(config, kind), allowed)


def check_numbers(config):
    """Raises a ValueError for the first number that is out of its range."""
    for name in _POSITIVE_INTEGERS:
        checks.check_positive_integer(name, getattr(config, name))
    for name in _NOT_NEGATIVE:
        checks.check_not_negative(name.rstrip("_"), getattr(config, name))
    for name in _POSITIVE_INTEGERS_OR_NONE:
        if getattr(config, name) is not None:
            checks.check_positive_integer(name, getattr(config, name))
    for name in ("critic_blend", "balance_target"):
        checks.check_share(name, getattr(config, name))
    for name in ("gaussian_sigma", "mask_temperature"):
        checks.check_not_negative(name, getattr(config, name))
        if getattr(config, name) == 0:
            raise ValueError(f"{name} must be above 0; got {getattr(config, name)}.")
    for name in ("beta_1", "beta_2"):
        if getattr(config, name) >= 1:
            raise ValueError(f"{name} must be below 1; got {getattr(config, name)}.")
    if config.jit_compile == "true" and config.strategy != "none":
        raise ValueError(
            f"jit_compile=true needs strategy none, since XLA compiles the step for one "
            f"device; got strategy {config.strategy}."
        )
    if not isinstance(config.deterministic, bool):
        raise ValueError(f"deterministic must be True or False; got {config.deterministic!r}.")
    if not 0 <= config.verbose <= 2:
        raise ValueError(f"verbose must be 0, 1 or 2; got {config.verbose}.")


def check_method(config):
    """Raises a ValueError where method, mixer and losses do not fit each other."""
    method = METHODS.get(config.method)
    mixes = method.MIXES and config.mixer != "none"
    if mixes:
        if config.k < 2:
            raise ValueError(f"k must be at least 2; got {config.k}.")
        checks.check_batch_size(config.batch_size, config.k)
        if getattr(mixers.MIXERS.get(config.mixer), "needs_labels", False):
            raise ValueError(
                f"mixer {config.mixer} mixes by labels: use --method=supervised_amr "
                f"--label_mixer={config.mixer}."
            )
    label_mixer = mixers.MIXERS.get(config.label_mixer)
    if method.needs_labels and not getattr(label_mixer, "needs_labels", True):
        raise ValueError(
            "label_mixer must be a mixer that mixes by labels, such as supervised_bernoulli; "
            f"got {config.label_mixer}."
        )
    if config.method in ("acai", "acai_original") and (not mixes or config.k != 2):
        got = f"k = {config.k}" if mixes else "mixer none"
        raise ValueError(
            f"method {config.method} needs a mixer of k = 2, since its critic predicts the one "
            f"coefficient alpha; got {got}."
        )
    if config.beta and not (mixes and method.trains_on_mixes):
        raise ValueError(
            f"beta = {config.beta:g} weighs the consistency of mixes, but in training method "
            f"{config.method} with mixer {config.mixer} makes none."
        )
    if config.reconstruction_loss == "binary_crossentropy" and config.output_activation != "tanh":
        raise ValueError(
            "reconstruction_loss=binary_crossentropy needs output_activation=tanh: "
            "the loss takes images within [-1, 1]."
        )


def check_type(name, value, kinds):
    """Raises a ValueError unless a value is of one of a field's types and fits on one line."""
    if not any(_is_a(value, kind) for kind in kinds):
        wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ValueError(f"{name} must be of type {wanted}; got {value!r}.")
    if isinstance(value, numbers.Integral) and abs(value) > _LARGEST_INTEGER:
        raise ValueError(f"{name} must be at most {_LARGEST_INTEGER}; got {value!r:.50}.")
    # A flagfile would hold what follows a line break as a flag of its own.
    if isinstance(value, str) and (value.splitlines() not in ([], [value]) or "\0" in value):
        raise ValueError(f"{name} must be one line of text; got {value!r}.")


def _is_a(value, kind):
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, {int: numbers.Integral, float: numbers.Real}.get(kind, kind))
