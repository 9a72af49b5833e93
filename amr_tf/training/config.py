"""One flat description of a training run: what the flags of `amr_tf.train` set."""

import dataclasses
import json
import typing

from amr_tf import losses, mixers
from amr_tf.data import DATASETS
from amr_tf.files import parse_json
from amr_tf.mixers.supervised import ALPHAS, ESTIMATORS
from amr_tf.models import METHODS
from amr_tf.models.training_step import STEPS
from amr_tf.networks import PROBES
from amr_tf.networks.architectures import ARCHITECTURES
from amr_tf.training.config_checks import (
    OUTPUT_ACTIVATIONS,
    check_method,
    check_names,
    check_numbers,
    check_type,
)
from amr_tf.training.divergence import MAX_ROLLBACKS, ON_NAN
from amr_tf.training.precision import JIT_COMPILE, PRECISIONS
from amr_tf.training.strategy import STRATEGIES

# What a flag that is not set stands for, by method.
DEFAULTS = {
    "mixer": "mixup",
    "lambda_": 10.0,
    "reconstruction_loss": "mean_absolute_error",
    "gan_loss": "binary_crossentropy",
    "output_activation": "none",
}
_VAE = {"lambda_": 1.0, "reconstruction_loss": "binary_crossentropy", "output_activation": "tanh"}
METHOD_DEFAULTS = {
    "supervised_amr": {"mixer": "none"},
    "acai_original": {
        "mixer": "folded",
        "lambda_": 1.0,
        "reconstruction_loss": "mean_squared_error",
        "gan_loss": "least_squares",
    },
    "gaia": {"mixer": "gaussian"},
    "vae": _VAE,
    "beta_vae": _VAE,
}
# What may differ between a run and its continuation: nothing that changes a step.
RESUMABLE = (
    "run_dir",
    "data_dir",
    "epochs",
    "sample_every",
    "checkpoint_every",
    "verbose",
    "on_nan",
    "steps_per_execution",
)


def _field(default, help_text):
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Everything that determines a training run; the defaults train AMR on the digits.

    Each field is a flag of `amr_tf.train` of the same name (`lambda_` is `--lambda`), with the
    text given here as its help.
    """

    run_dir: str = _field("runs/digits", "Folder for checkpoints, logs and samples of this run.")
    dataset: str = _field("digits", f"Data set: {', '.join(DATASETS.names())}.")
    data_dir: str | None = _field(
        None, "Folder of prepared TFDS data sets, or of the image files for image_folder."
    )
    image_size: int | None = _field(
        None, "Width in pixels of the images; by default the data set's usual one."
    )
    validation_fraction: float = _field(0.1, "Share of the training images held out, stratified.")
    train_subset: int | None = _field(
        None, "Number of training images to keep, stratified (the paper's table 2)."
    )
    labelled: int | None = _field(
        None, "Number of training images that keep their label; the others become unlabelled."
    )
    attributes: str | None = _field(
        None, "Comma-separated attributes to use, of a data set that has attributes."
    )
    crop: int | None = _field(
        None, "Side in pixels of the central square cut from photographs before resizing."
    )
    method: str = _field("amr", f"Method: {', '.join(METHODS.names())}.")
    mixer: str | None = _field(
        None,
        f"Mixer: {', '.join(mixers.MIXERS.names())}, or none; by default mixup, for acai_original "
        "folded, for gaia gaussian, for supervised_amr none beside its label mixer.",
    )
    k: int = _field(2, "How many codes a mix combines.")
    bernoulli_probability: str = _field(
        "batch",
        "How often mixer bernoulli with k = 2 draws its probability: once for each "
        f"{', '.join(mixers.BernoulliMixup.PROBABILITIES)}.",
    )
    gaussian_sigma: float = _field(
        0.25, "Standard deviation of mixer gaussian's alpha around the midpoint 0.5."
    )
    composite_mixers: str = _field(
        "mixup,bernoulli", "Comma-separated mixers among which mixer composite draws."
    )
    label_mixer: str = _field("supervised_bernoulli", "Mixer by labels of supervised_amr.")
    mask_estimator: str = _field(
        "straight_through",
        f"Gradient through supervised_bernoulli's mask: {', '.join(ESTIMATORS)}.",
    )
    mask_temperature: float = _field(0.5, "Temperature of the concrete estimator.")
    mask_condition: str = _field(
        "label",
        "What supervised_bernoulli's embedding sees: label (the mix's, as in the paper) or "
        "parents (how far theirs are from it, too).",
    )
    label_alphas: str = _field(
        "example",
        f"Labels are mixed with one alpha for each {' or '.join(ALPHAS)}.",
    )
    lambda_: float | None = _field(
        None, "Weight of the reconstruction loss; by default 10, 1 for acai_original and VAEs."
    )
    beta: float = _field(0.0, "Weight of the consistency loss of mixes.")
    supervision: float = _field(
        0.0, "Weight of the probe's loss in the auto-encoder's; above 0 labels train the encoder."
    )
    class_weight: float = _field(1.0, "Weight of the mixes' class loss in supervised_amr.")
    adversarial_weight: float = _field(0.5, "Weight of acai_original's adversarial term.")
    critic_blend: float = _field(
        0.2, "Share of the real image in the blend that regularises acai_original's critic."
    )
    kl_weight: float = _field(4.0, "Weight of beta_vae's divergence from the prior, its beta.")
    balance_target: float = _field(
        0.5, "gaia: the error on real images that the error on mixes is held at, as a share."
    )
    balance_rate: float = _field(0.01, "gaia: how fast the weight of mixes is moved.")
    reconstruction_loss: str | None = _field(
        None,
        f"Reconstruction loss: {', '.join(losses.RECONSTRUCTION_LOSSES.names())}; by default "
        "mean_absolute_error, for acai_original mean_squared_error, for VAEs binary_crossentropy.",
    )
    gan_loss: str | None = _field(
        None,
        f"GAN loss: {', '.join(losses.GAN_LOSSES.names())}; by default binary_crossentropy, for "
        "acai_original least_squares.",
    )
    generator_update_every: int = _field(
        1, "The auto-encoder is updated in every n-th step (5 in the paper's published runs)."
    )
    architecture: str = _field(
        "convolutional",
        f"Networks: {', '.join(ARCHITECTURES.names())} (mlp is for points).",
    )
    latent_channels: int = _field(2, "Feature maps of a code; d_h is 16 times as many.")
    latent_width: int = _field(4, "Width and height of a code.")
    latent_dim: int | None = _field(
        None, "Length of vector codes, in place of feature maps; 10 for dsprites, 2 for mlp."
    )
    depth: int = _field(16, "Channels of the convolutional networks at full resolution.")
    output_activation: str | None = _field(
        None,
        f"Activation of the decoder's output: {', '.join(OUTPUT_ACTIVATIONS)}; by default none, "
        "for VAEs tanh.",
    )
    probe: str = _field("linear", f"Probe: {', '.join(PROBES.names())}.")
    epochs: int = _field(100, "Number of epochs to train, in all.")
    batch_size: int = _field(64, "Images per step, over all replicas.")
    learning_rate: float = _field(1e-4, "Adam's step size for auto-encoder and discriminator.")
    probe_learning_rate: float = _field(
        1e-4, "Adam's step size for the probe; a larger one suits short runs."
    )
    beta_1: float = _field(0.5, "Adam's decay of the first moment.")
    beta_2: float = _field(0.99, "Adam's decay of the second moment.")
    epsilon: float = _field(1e-8, "Adam's epsilon.")
    l2_weight_decay: float = _field(1e-5, "L2 decay that is added to the gradients.")
    seed: int = _field(0, "Seed of the split, the weights, the order of images and the mixes.")
    deterministic: bool = _field(
        False, "Use operations that give the same result each time only, where they are slower."
    )
    on_nan: str = _field(
        "stop",
        f"When a loss or weight becomes NaN or infinite: {' or '.join(ON_NAN)} (to the last "
        f"checkpoint, going on with other random draws, at most {MAX_ROLLBACKS} times).",
    )
    step: str = _field(
        "one_pass",
        f"Form of the training step: {', '.join(STEPS)}; both make the same updates, one_pass is "
        "faster.",
    )
    precision: str = _field(
        "float32",
        f"Number format: {', '.join(PRECISIONS)}; weights and losses stay float32. float16 scales "
        "the losses and counts the updates it must skip.",
    )
    jit_compile: str = _field(
        "auto",
        f"Whether XLA compiles the step: {', '.join(JIT_COMPILE)}; auto is true on a single GPU.",
    )
    steps_per_execution: int = _field(
        1, "Steps between two looks at signals and the progress bar; more cost less overhead."
    )
    strategy: str = _field(
        "none",
        f"Devices: {', '.join(STRATEGIES)}: one, all GPUs of this machine, or the workers of "
        "TF_CONFIG.",
    )
    sample_every: int = _field(10, "Epochs between grids of reconstructions and mixes; 0 for none.")
    checkpoint_every: int = _field(1, "Epochs between checkpoints to resume from.")
    verbose: int = _field(1, "0 silent, 1 progress bar, 2 a line per epoch.")

    def resolve(self):
        """A config in which what was left to the method (None) has its value."""
        METHODS.get(self.method)
        defaults = {**DEFAULTS, **METHOD_DEFAULTS.get(self.method, {})}
        unset = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return self.replace(**unset)

    def validate(self):
        """Raises a ValueError that names the first value that is not allowed."""
        config = self.resolve()
        config._check_types(str)
        check_names(config)
        check_numbers(config)
        config._check_types()
        check_method(config)

    def _check_types(self, of=object):
        """Raises a ValueError for what no flag could set: a config may come from a JSON file.

        Args:
            of: the type of the fields to look at.
        """
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            kinds = typing.get_args(hints[field.name]) or (hints[field.name],)
            if issubclass(kinds[0], of):
                check_type(flag_name(field), getattr(self, field.name), kinds)

    def replace(self, **changes):
        """A config with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self):
        """A JSON document from which `from_json` makes an equal config."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text):
        """The config of a JSON document.

        Raises:
            ValueError: the text is not JSON, or holds a name that is no field, or a value of a
                type that the field does not have.
        """
        values = parse_json(text)
        names = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            shown = ", ".join(name if name.isprintable() else repr(name) for name in unknown)
            raise ValueError(f"The config holds unknown fields: {shown}.")
        config = cls(**values)
        config._check_types()
        return config

    def to_flagfile(self):
        """A flagfile with which `python -m amr_tf.train --flagfile=...` repeats the run."""
        lines = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                lines.append(f"--{flag_name(field)}={value}")
        return "\n".join(lines) + "\n"

    def conflicts(self, other):
        """Names of the fields that differ and may not differ in a resumed run."""
        return [
            field.name
            for field in dataclasses.fields(self)
            if field.name not in RESUMABLE
            and getattr(self, field.name) != getattr(other, field.name)
        ]


def flag_name(field):
    """The name of a field's flag: `lambda_` cannot be called `lambda` in Python."""
    return field.name.rstrip("_")
