"""The configuration of a training run: one field for each flag of `amr_tf.train`."""

import contextlib
import dataclasses
import inspect
import json
import typing
from typing import Any

from amr_tf import losses, mixers
from amr_tf.augmentation import AUGMENTATIONS, DISCRIMINATOR_AUGMENTATIONS
from amr_tf.data import DATASETS, load
from amr_tf.files import parse_json
from amr_tf.models import METHODS
from amr_tf.models.building import architecture_call
from amr_tf.models.methods import settings
from amr_tf.networks import PROBES
from amr_tf.networks.architectures import ARCHITECTURES
from amr_tf.optimizers import OPTIMIZERS
from amr_tf.registry import Call, keyword_parameters, parse_call, unknown_name
from amr_tf.runs import config_checks
from amr_tf.runs.divergence import MAX_ROLLBACKS, ON_NAN
from amr_tf.runs.precision import JIT_COMPILE, PRECISIONS, resolved_precision
from amr_tf.runs.strategy import STRATEGIES
from amr_tf.runs.trackers import TRACKERS
from amr_tf.version import __version__

# Fields that are arguments of a method's `create` and `compile`, which define their defaults.
CREATED = (
    *("architecture", "mixer", "k", "probe"),
    *("augmentation", "discriminator_augmentation"),
)
COMPILED = (
    *("autoencoder_optimizer", "discriminator_optimizer", "probe_optimizer"),
    *("reconstruction_loss", "gan_loss", "consistency_loss", "lambda_", "beta", "supervision"),
    *("feature_matching", "look_matching", "adversarial_warmup", "ema"),
    *("generator_update_every", "step"),
)
# The registries of the fields that hold call strings.
REGISTRIES = {
    "dataset": DATASETS,
    "method": METHODS,
    "mixer": mixers.MIXERS,
    "architecture": ARCHITECTURES,
    "probe": PROBES,
    "augmentation": AUGMENTATIONS,
    "discriminator_augmentation": DISCRIMINATOR_AUGMENTATIONS,
    "reconstruction_loss": losses.RECONSTRUCTION_LOSSES,
    "gan_loss": losses.GAN_LOSSES,
    "consistency_loss": losses.RECONSTRUCTION_LOSSES,
    "autoencoder_optimizer": OPTIMIZERS,
    "discriminator_optimizer": OPTIMIZERS,
    "probe_optimizer": OPTIMIZERS,
}
# Fields that may change when a run is resumed. None of them changes a training step.
RESUMABLE = (
    "run_dir",
    "data_dir",
    "epochs",
    "max_minutes",
    "sample_every",
    "checkpoint_every",
    "patience",
    "verbose",
    "on_nan",
    "steps_per_execution",
    "trackers",
)
_LOAD = {name: value.default for name, value in inspect.signature(load).parameters.items()}


def _field(default: Any, group: str, help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text, "group": group})


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Configuration of a training run; the defaults train AMR on the digits.

    Each field is a flag of `amr_tf.train` with the same name (`lambda_` is `--lambda`), and its
    text is the flag's help. Names may have parameters (see `amr_tf.registry`). None stands for the
    default of the class that the setting belongs to, which `resolve` fills in.
    """

    run_dir: str = _field(
        "runs/digits", "Run", "Folder for the run's checkpoints, logs and samples."
    )
    epochs: int = _field(100, "Run", "Total number of epochs.")
    batch_size: int = _field(64, "Run", "Number of images per step, over all replicas.")
    seed: int = _field(0, "Run", "Seed of the split, weights, order of images, and mixes.")
    sample_every: int = _field(
        10, "Run", "Epochs between grids of reconstructions and mixes; 0 for none."
    )
    monitor: str | None = _field(
        None, "Run", "Metric that selects the best epoch, e.g. val_reconstruction_loss[:min]."
    )
    patience: int | None = _field(
        None, "Run", "Stop training after this many epochs without improvement."
    )
    max_minutes: float | None = _field(
        None, "Run", "Stop (and evaluate) after this many minutes; the run can be resumed."
    )
    trackers: str = _field(
        "tensorboard",
        "Run",
        f"Where to log metrics: {', '.join(TRACKERS.names())} (a list), or none.",
    )
    checkpoint_every: int = _field(1, "Run", "Epochs between checkpoints to resume from.")
    verbose: int = _field(1, "Run", "0: silent, 1: progress bar, 2: one line per epoch.")
    dataset: str = _field(_LOAD["name"], "Data", "Data set (below).")
    data_dir: str | None = _field(
        None, "Data", "Folder of prepared TFDS data sets, or of image files."
    )
    image_size: int | None = _field(
        None, "Data", "Width of the images in pixels; defaults to the data set's."
    )
    validation_fraction: float = _field(
        _LOAD["validation_fraction"],
        "Data",
        "Share of the training images to hold out, stratified.",
    )
    train_subset: int | None = _field(
        None, "Data", "Number of training images to keep, stratified (the paper's table 2)."
    )
    labelled: int | None = _field(
        None, "Data", "Number of training images that keep their labels, stratified."
    )
    augmentation: str | None = _field(
        None, "Data", "Random augmentation of training images (below), or none."
    )
    method: str = _field("amr", "Method", "Method (below).")
    mixer: str | None = _field(None, "Method", "Mixer (below), or none.")
    k: int | None = _field(None, "Method", "Number of codes in each mix.")
    lambda_: float | None = _field(None, "Method", "Weight of the reconstruction loss.")
    beta: float | None = _field(None, "Method", "Weight of the consistency loss of mixes.")
    reconstruction_loss: str | None = _field(None, "Method", "Reconstruction loss (below).")
    gan_loss: str | None = _field(None, "Method", "GAN loss (below).")
    consistency_loss: str | None = _field(
        None, "Method", "Consistency loss; defaults to the reconstruction loss."
    )
    supervision: float | None = _field(
        None, "Method", "Weight of the probe's loss in the auto-encoder's loss."
    )
    feature_matching: float | None = _field(
        None, "Method", "Weight of the reconstruction loss on the discriminator's features."
    )
    look_matching: float | None = _field(
        None, "Method", "Weight of the distance of mixes from their parents' colours and contrast."
    )
    adversarial_warmup: int | None = _field(
        None, "Method", "Number of steps over which the adversarial weights grow from 0."
    )
    discriminator_augmentation: str | None = _field(
        None, "Method", "Random augmentation of the discriminator's input (below), or none."
    )
    architecture: str | None = _field(None, "Method", "Networks (below).")
    probe: str | None = _field(None, "Method", "Probe (below).")
    autoencoder_optimizer: str | None = _field(
        None, "Optimization", "Optimizer of encoder, decoder and mixer."
    )
    discriminator_optimizer: str | None = _field(
        None, "Optimization", "Optimizer of the discriminator."
    )
    probe_optimizer: str | None = _field(None, "Optimization", "Optimizer of the probe.")
    ema: float | None = _field(
        None, "Optimization", "Momentum of averages of the auto-encoder's weights; 0 for none."
    )
    generator_update_every: int | None = _field(
        None,
        "Optimization",
        "Steps per update of the auto-encoder (5 in the paper's runs).",
    )
    step: str | None = _field(
        None, "Optimization", "Form of the training step: one_pass, two_pass or auto."
    )
    on_nan: str = _field(
        "stop",
        "Machine",
        f"At a NaN: {' or '.join(ON_NAN)} to a checkpoint (up to {MAX_ROLLBACKS} times).",
    )
    precision: str = _field(
        "float32",
        "Machine",
        f"Number format: {', '.join(PRECISIONS)} (bfloat16 in hardware).",
    )
    jit_compile: str = _field(
        "auto",
        "Machine",
        f"Compile the step with XLA: {', '.join(JIT_COMPILE)} (auto: on one GPU).",
    )
    steps_per_execution: int = _field(1, "Machine", "Number of steps in one call of the graph.")
    strategy: str = _field("none", "Machine", f"Distribution strategy: {', '.join(STRATEGIES)}.")
    deterministic: bool = _field(False, "Machine", "Use only operations with reproducible results.")

    def resolve(self) -> "TrainingConfig":
        """Returns a config with every default written out.

        Call strings get all of their parameters, so that equivalent call strings become equal.

        Raises:
            ValueError: a name or parameter is unknown.
        """
        method = METHODS.get(parse_call(self.method, "method").name)
        defaults = {**settings(method, "create"), **settings(method, "compile")}
        values = {
            name: defaults[name].default if getattr(self, name) is None else getattr(self, name)
            for name in (*CREATED, *COMPILED)
        }
        values["mixer"] = "none" if values["mixer"] is None else values["mixer"]
        for name in ("augmentation", "discriminator_augmentation"):
            if values[name] == "none":
                values[name] = None
        if values["mixer"] != "none" and values["k"] is None:
            values["k"] = _default_k(parse_call(values["mixer"], "mixer").name)
        if not values["beta"]:
            values["consistency_loss"] = None  # It is not computed if its weight is 0.
        architecture = architecture_call(method, values["architecture"])
        values["architecture"] = str(architecture)
        values |= {"dataset": self.dataset, "method": self.method}
        values["precision"] = resolved_precision(self.precision)
        for name, registry in REGISTRIES.items():
            chosen = values[name] is not None and (name, values[name]) != ("mixer", "none")
            if chosen:
                values[name] = registry.canonical(values[name])
        asked = method.output_activation is not None
        if asked and architecture.arguments.get("output_activation", "") is None:
            # An explicit None that overrides the method's request must be kept.
            call = parse_call(values["architecture"])
            kept = {**call.arguments, "output_activation": None}
            values["architecture"] = str(Call(call.name, kept))
        return self.replace(**values)

    def completed(self) -> "TrainingConfig":
        """Returns a run folder's resolved config with the parameters that were added since.

        The run behaves as before; see `Registry.completed`.
        """
        values = {}
        for name, registry in REGISTRIES.items():
            # Skips "none" and user-defined entries that are not registered in this process.
            with contextlib.suppress(TypeError, ValueError):
                if getattr(self, name) is not None:
                    values[name] = registry.completed(getattr(self, name))
        return self.replace(**values)

    def validate(self, parts: bool = True) -> None:
        """Raises a ValueError for the first value that is not allowed.

        Args:
            parts: whether to also create mixers, optimizers and so on to check their parameters.
                This initialises TensorFlow, after which a multi-worker strategy cannot be created.
        """
        self._check_types()
        config_checks.check_used(self)
        config_checks.check_run(self)
        if parts:
            config_checks.check_parts(self.resolve())

    def _check_types(self) -> None:
        """Raises a ValueError for values of the wrong type, which a JSON file may hold."""
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            kinds = typing.get_args(hints[field.name]) or (hints[field.name],)
            config_checks.check_type(flag_name(field), getattr(self, field.name), kinds)

    def replace(self, **changes: Any) -> "TrainingConfig":
        """Returns a config with some fields changed."""
        return dataclasses.replace(self, **changes)

    def with_values(self, values: dict[str, Any]) -> "TrainingConfig":
        """Returns a config with changed fields or parameters in call strings.

        Args:
            values: dictionary from fields ("k", "lambda_"), or fields and parameters
                ("mixer.sigma", "autoencoder_optimizer.learning_rate"), to values.

        Raises:
            ValueError: a field or parameter is unknown.
        """
        for name in values:
            field, dot, _ = name.partition(".")
            known = REGISTRIES if dot else [each.name for each in dataclasses.fields(self)]
            if field not in known:
                raise unknown_name("setting with parameters" if dot else "setting", field, known)
        fields = {name: value for name, value in values.items() if "." not in name}
        config = self.replace(**fields)
        for name, value in values.items():
            field, dot, parameter = name.partition(".")
            if dot:
                call = parse_call(getattr(config.resolve(), field), field)
                changed = REGISTRIES[field].parse(
                    Call(call.name, {**call.arguments, parameter: value})
                )
                config = config.replace(**{field: str(changed)})
        return config

    def to_json(self) -> str:
        """Returns a JSON document from which `from_json` restores the config."""
        return json.dumps({"amr_tf": __version__, **dataclasses.asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "TrainingConfig":
        """Restores a config from a JSON document.

        Raises:
            OtherVersion: the document has fields that this version does not know.
            ValueError: the text is not JSON, or a value has the wrong type.
        """
        values = parse_json(text)
        version = values.pop("amr_tf", None)
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            shown = ", ".join(name if name.isprintable() else repr(name) for name in unknown)
            written = f"amr_tf {version}" if _is_version(version) else "an earlier amr_tf"
            raise OtherVersion(
                f"It was written by {written} and has fields that amr_tf {__version__} does not "
                f"know: {shown}. Its models (.keras) can be loaded with keras.saving.load_model."
            )
        config = cls(**values)
        config._check_types()
        return config

    def as_flags(self) -> dict[str, Any]:
        """Returns a dictionary from flags to values, without those that are None."""
        values = {flag_name(field): getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def to_flagfile(self) -> str:
        """Returns a flagfile that repeats the run with `python -m amr_tf.train --flagfile=...`."""
        return "".join(f"--{name}={value}\n" for name, value in self.as_flags().items())

    def conflicts(self, other: "TrainingConfig") -> list[str]:
        """Returns the names of differing fields that must not change when a run is resumed."""
        return [
            field.name
            for field in dataclasses.fields(self)
            if field.name not in RESUMABLE
            and getattr(self, field.name) != getattr(other, field.name)
        ]


class OtherVersion(ValueError):
    """Raised for a config that another version of this package wrote."""


def _is_version(value: Any) -> bool:
    """Returns whether a JSON value can be printed as a version."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) < 40


def _default_k(mixer: str) -> int | None:
    """Returns a registered mixer's default `k`, or None if it takes no `k`."""
    if not mixers.MIXERS.takes(mixer, "k"):
        return None
    default = keyword_parameters(mixers.MIXERS.get(mixer))["k"].default
    if default is inspect.Parameter.empty:  # A function may use the base class's default.
        default = keyword_parameters(mixers.Mixer)["k"].default
    return default


def in_short(name: str, value: Any) -> Any:
    """Shortens a setting's value for display: call strings without default parameters.

    Args:
        name: a field's name.
        value: its value.
    """
    # User-defined entries may not be registered in this process.
    with contextlib.suppress(TypeError, ValueError):
        if name in REGISTRIES and value is not None:
            return REGISTRIES[name].short(value)
    return value


def flag_name(field: dataclasses.Field) -> str:
    """Returns the name of a field's flag, such as `lambda` for `lambda_`."""
    return field.name.rstrip("_")
