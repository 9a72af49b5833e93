"""One flat description of a training run: what the flags of `amr_tf.train` set."""

import dataclasses
import json

from amr_tf import checks, losses, mixers
from amr_tf.data import DATASETS
from amr_tf.registry import unknown_name

METHODS = ("amr", "ae_gan")
OUTPUT_ACTIVATIONS = ("none", "tanh")
_POSITIVE_INTEGERS = (
    "k",
    "epochs",
    "batch_size",
    "generator_update_every",
    "latent_channels",
    "latent_width",
    "depth",
    "checkpoint_every",
)
_NOT_NEGATIVE = (
    "lambda_",
    "beta",
    "learning_rate",
    "probe_learning_rate",
    "beta_1",
    "beta_2",
    "epsilon",
    "l2_weight_decay",
    "seed",
    "sample_every",
)
# What may differ between a run and its continuation: nothing that changes a step.
RESUMABLE = ("run_dir", "data_dir", "epochs", "sample_every", "checkpoint_every", "verbose")


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
    method: str = _field("amr", f"Method: {', '.join(METHODS)}.")
    mixer: str = _field("mixup", f"Mixer of amr: {', '.join(mixers.MIXERS.names())}.")
    k: int = _field(2, "How many codes a mix combines.")
    bernoulli_probability: str = _field(
        "batch",
        "How often mixer bernoulli with k = 2 draws its probability: once for each "
        f"{', '.join(mixers.BernoulliMixup.PROBABILITIES)}.",
    )
    lambda_: float = _field(10.0, "Weight of the reconstruction loss.")
    beta: float = _field(0.0, "Weight of the consistency loss of mixes.")
    reconstruction_loss: str = _field(
        "mean_absolute_error",
        f"Reconstruction loss: {', '.join(losses.RECONSTRUCTION_LOSSES.names())}.",
    )
    gan_loss: str = _field(
        "binary_crossentropy", f"GAN loss: {', '.join(losses.GAN_LOSSES.names())}."
    )
    generator_update_every: int = _field(
        1, "The auto-encoder is updated in every n-th step (5 in the paper's published runs)."
    )
    latent_channels: int = _field(2, "Feature maps of a code; d_h is 16 times as many.")
    latent_width: int = _field(4, "Width and height of a code.")
    depth: int = _field(16, "Channels of the networks at full resolution.")
    output_activation: str = _field(
        "none", f"Activation of the decoder's output: {', '.join(OUTPUT_ACTIVATIONS)}."
    )
    epochs: int = _field(100, "Number of epochs to train, in all.")
    batch_size: int = _field(64, "Images per step.")
    learning_rate: float = _field(1e-4, "Adam's step size for auto-encoder and discriminator.")
    probe_learning_rate: float = _field(
        1e-4, "Adam's step size for the probe; a larger one suits short runs."
    )
    beta_1: float = _field(0.5, "Adam's decay of the first moment.")
    beta_2: float = _field(0.99, "Adam's decay of the second moment.")
    epsilon: float = _field(1e-8, "Adam's epsilon.")
    l2_weight_decay: float = _field(1e-5, "L2 decay that is added to the gradients.")
    seed: int = _field(0, "Seed of the split, the weights, the order of images and the mixes.")
    sample_every: int = _field(10, "Epochs between grids of reconstructions and mixes; 0 for none.")
    checkpoint_every: int = _field(1, "Epochs between checkpoints to resume from.")
    verbose: int = _field(1, "0 silent, 1 progress bar, 2 a line per epoch.")

    def validate(self):
        """Raises a ValueError that names the first value that is not allowed."""
        for registry, name in (
            (DATASETS, self.dataset),
            (mixers.MIXERS, self.mixer),
            (losses.RECONSTRUCTION_LOSSES, self.reconstruction_loss),
            (losses.GAN_LOSSES, self.gan_loss),
        ):
            registry.get(name)
        for kind, value, allowed in (
            ("method", self.method, METHODS),
            ("output_activation", self.output_activation, OUTPUT_ACTIVATIONS),
            (
                "bernoulli_probability",
                self.bernoulli_probability,
                mixers.BernoulliMixup.PROBABILITIES,
            ),
        ):
            if value not in allowed:
                raise unknown_name(kind, value, allowed)
        for name in _POSITIVE_INTEGERS:
            checks.check_positive_integer(name, getattr(self, name))
        for name in _NOT_NEGATIVE:
            checks.check_not_negative(name.rstrip("_"), getattr(self, name))
        for name in ("image_size", "train_subset"):
            if getattr(self, name) is not None:
                checks.check_positive_integer(name, getattr(self, name))
        for name in ("beta_1", "beta_2"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} must be below 1; got {getattr(self, name)}.")
        if self.method == "amr":
            if self.k < 2:
                raise ValueError(f"k must be at least 2; got {self.k}.")
            checks.check_batch_size(self.batch_size, self.k)
        if self.method == "ae_gan" and self.beta:
            raise ValueError(f"beta = {self.beta:g} needs mixes; method ae_gan makes none.")
        if self.reconstruction_loss == "binary_crossentropy" and self.output_activation != "tanh":
            raise ValueError(
                "reconstruction_loss=binary_crossentropy needs output_activation=tanh: "
                "the loss takes images within [-1, 1]."
            )
        if not 0 <= self.verbose <= 2:
            raise ValueError(f"verbose must be 0, 1 or 2; got {self.verbose}.")

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
            ValueError: the text is not JSON, or holds a name that is no field.
        """
        values = json.loads(text)
        names = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            raise ValueError(f"The config holds unknown fields: {', '.join(unknown)}.")
        return cls(**values)

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
