"""The description of a run: round trips, wrong values, conflicts, and the files in configs/."""

import dataclasses
import json
import pathlib
import re

import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf.models import METHODS
from amr_tf.training import flagfiles
from amr_tf.training.config import RESUMABLE, TrainingConfig, flag_name

CONFIGS = sorted((pathlib.Path(__file__).resolve().parents[2] / "configs").glob("*.cfg"))
NAMES = [field.name for field in dataclasses.fields(TrainingConfig)]
# A value for every field that is allowed and not the default.
OTHERS = {
    "run_dir": "elsewhere/run 2",
    "dataset": "mnist",
    "data_dir": "/data",
    "image_size": 64,
    "validation_fraction": 0.3,
    "train_subset": 1000,
    "labelled": 100,
    "attributes": "Male,Wearing_Lipstick",
    "crop": 128,
    "method": "ae_gan",
    "mixer": "bernoulli",
    "k": 3,
    "bernoulli_probability": "element",
    "gaussian_sigma": 0.5,
    "composite_mixers": "mixup,spatial",
    "label_mixer": "mine",
    "mask_estimator": "concrete",
    "mask_temperature": 0.1,
    "mask_condition": "parents",
    "label_alphas": "attribute",
    "lambda_": 0.1,
    "beta": 2.5,
    "supervision": 0.5,
    "class_weight": 3.0,
    "adversarial_weight": 0.25,
    "critic_blend": 0.75,
    "kl_weight": 100.0,
    "balance_target": 0.7,
    "balance_rate": 0.001,
    "reconstruction_loss": "mean_squared_error",
    "gan_loss": "least_squares",
    "generator_update_every": 5,
    "architecture": "mlp",
    "latent_channels": 64,
    "latent_width": 2,
    "latent_dim": 12,
    "depth": 8,
    "output_activation": "tanh",
    "probe": "mlp",
    "epochs": 7,
    "batch_size": 16,
    "learning_rate": 3e-05,
    "probe_learning_rate": 0.001,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-07,
    "l2_weight_decay": 0.0,
    "seed": 12,
    "deterministic": True,
    "on_nan": "rollback",
    "step": "two_pass",
    "precision": "mixed_bfloat16",
    "jit_compile": "false",
    "steps_per_execution": 3,
    "strategy": "mirrored",
    "sample_every": 0,
    "checkpoint_every": 4,
    "verbose": 2,
}


def parse(*arguments):
    """A config as `amr_tf.train` reads it from its command line."""
    flag_values = flags.FlagValues()
    flagfiles.define_flags(TrainingConfig, flag_values)
    flag_values(["amr_tf.train", *arguments])
    return flagfiles.config_from_flags(TrainingConfig, flag_values=flag_values)


def test_every_field_has_a_value_here():
    assert list(OTHERS) == NAMES
    for name, value in OTHERS.items():
        assert value != getattr(TrainingConfig(), name)


def test_the_defaults_are_valid_and_are_those_of_the_flags():
    TrainingConfig().validate()
    assert parse() == TrainingConfig()


def test_every_flag_has_a_help_text():
    assert all(len(field.metadata["help"]) > 10 for field in dataclasses.fields(TrainingConfig))


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_a_flag(name):
    flag = flag_name(next(f for f in dataclasses.fields(TrainingConfig) if f.name == name))
    config = parse(f"--{flag}={OTHERS[name]}")
    assert config == TrainingConfig().replace(**{name: OTHERS[name]})
    assert type(getattr(config, name)) is type(OTHERS[name])


def test_lambda_is_called_lambda():
    assert parse("--lambda=20").lambda_ == 20.0


def test_json_round_trip():
    for config in (TrainingConfig(), TrainingConfig(**OTHERS)):
        assert TrainingConfig.from_json(config.to_json()) == config


def test_flagfile_round_trip(tmp_path):
    path = tmp_path / "flagfile.cfg"
    for config in (TrainingConfig(), TrainingConfig(**OTHERS)):
        path.write_text(config.to_flagfile())
        assert parse(f"--flagfile={path}") == config


finite = st.floats(min_value=0, max_value=1e30)
paths = st.text("abz09 ._-/=#'\"\\é~$", min_size=1).filter(lambda text: text == text.strip())


@settings(deadline=None, max_examples=40)
@given(
    changes=st.fixed_dictionaries(
        {"run_dir": paths, "lambda_": finite, "learning_rate": finite, "epsilon": finite},
        optional={
            "data_dir": st.none() | paths,
            "train_subset": st.none() | st.integers(1, 10**9),
            "seed": st.integers(0, 2**32 - 1),
        },
    )
)
def test_round_trips_keep_every_digit_and_every_path(changes, tmp_path_factory):
    config = TrainingConfig(**changes)
    assert TrainingConfig.from_json(config.to_json()) == config
    path = tmp_path_factory.getbasetemp() / "flagfile.cfg"
    path.write_text(config.to_flagfile())
    assert parse(f"--flagfile={path}") == config


def test_a_later_flag_overrides_the_flagfile(tmp_path):
    path = tmp_path / "flagfile.cfg"
    path.write_text(TrainingConfig(**OTHERS).to_flagfile())
    config = parse(f"--flagfile={path}", "--run_dir=new")
    assert config == TrainingConfig(**OTHERS).replace(run_dir="new")


def test_only_flags_that_were_given_override_a_base():
    flag_values = flags.FlagValues()
    flagfiles.define_flags(TrainingConfig, flag_values)
    # The value of --seed is the default, but it was given.
    flag_values(["amr_tf.train", "--epochs=9", "--seed=0"])
    base = TrainingConfig(**OTHERS)
    config = flagfiles.config_from_flags(TrainingConfig, base=base, flag_values=flag_values)
    assert config == base.replace(epochs=9, seed=0)


def test_json_that_is_no_json():
    with pytest.raises(ValueError):
        TrainingConfig.from_json("{")


def test_json_with_unknown_fields():
    text = json.dumps({"k": 3, "kk": 4, "depht": 2})
    with pytest.raises(ValueError, match=r"^The config holds unknown fields: depht, kk\.$"):
        TrainingConfig.from_json(text)


def test_json_without_some_fields_has_their_defaults():
    assert TrainingConfig.from_json('{"k": 3}') == TrainingConfig(k=3)


# What flags that are not set stand for: the values of `TrainingConfig` in this order.
RESOLVED = ("mixer", "lambda_", "reconstruction_loss", "gan_loss", "output_activation")
_AMR = ("mixup", 10.0, "mean_absolute_error", "binary_crossentropy", "none")
_VAE = ("mixup", 1.0, "binary_crossentropy", "binary_crossentropy", "tanh")
METHOD_VALUES = {
    "amr": _AMR,
    "ae_gan": _AMR,
    "pixel_mixup": _AMR,
    "acai": _AMR,
    "acai_original": ("folded", 1.0, "mean_squared_error", "least_squares", "none"),
    "gaia": ("gaussian", *_AMR[1:]),
    "supervised_amr": ("none", *_AMR[1:]),
    "vae": _VAE,
    "beta_vae": _VAE,
}


def test_every_method_is_here():
    assert sorted(METHOD_VALUES) == METHODS.names()


@pytest.mark.parametrize("method", METHOD_VALUES)
def test_what_is_left_to_the_method(method):
    config = TrainingConfig(method=method)
    config.validate()
    resolved = config.resolve()
    assert tuple(getattr(resolved, name) for name in RESOLVED) == METHOD_VALUES[method]
    # Nothing else is touched, and nothing is left to do.
    assert resolved == config.replace(**dict(zip(RESOLVED, METHOD_VALUES[method])))
    assert resolved.resolve() == resolved
    resolved.validate()
    assert all(getattr(config, name) is None for name in RESOLVED)


@pytest.mark.parametrize("method", METHOD_VALUES)
def test_what_is_set_is_kept(method):
    # Zero and "none" are values, too.
    values = ("channelwise", 0.0, "mean_squared_error", "least_squares", "none")
    config = TrainingConfig(method=method, **dict(zip(RESOLVED, values)))
    assert config.resolve() == config
    none = TrainingConfig(method=method, mixer="none")
    assert none.resolve().mixer == "none"


def test_a_method_of_ones_own_has_the_common_defaults(monkeypatch):
    monkeypatch.setitem(METHODS._entries, "mine", METHODS.get("amr"))
    resolved = TrainingConfig(method="mine").resolve()
    assert tuple(getattr(resolved, name) for name in RESOLVED) == _AMR
    resolved.validate()


def test_an_unknown_method_is_not_resolved():
    with pytest.raises(ValueError, match=r"^Unknown method 'amrr'\. Did you mean 'amr'\?"):
        TrainingConfig(method="amrr").resolve()


POSITIVE = (
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
POSITIVE_OR_NONE = ("image_size", "crop", "train_subset", "labelled", "latent_dim")
NOT_NEGATIVE = (
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
SHARES = ("critic_blend", "balance_target")
ABOVE_ZERO = ("gaussian_sigma", "mask_temperature")
# One wrong name for each flag that takes a name; further ones for some.
WRONG_NAMES = [
    ("dataset", "mnits", "data set", "mnist"),
    ("dataset", "SVHN_cropped", "data set", "svhn_cropped"),
    ("mixer", "mixupp", "mixer", "mixup"),
    ("mixer", "bernouli", "mixer", "bernoulli"),
    ("label_mixer", "supervised", "mixer", "supervised_bernoulli"),
    ("reconstruction_loss", "mean_abs_error", "reconstruction loss", "mean_absolute_error"),
    ("gan_loss", "least_square", "GAN loss", "least_squares"),
    ("method", "amrr", "method", "amr"),
    ("method", "aegan", "method", "ae_gan"),
    ("architecture", "convolution", "architecture", "convolutional"),
    ("probe", "linera", "probe", "linear"),
    ("output_activation", "tahn", "output_activation", "tanh"),
    ("bernoulli_probability", "elements", "bernoulli_probability", "element"),
    ("mask_estimator", "straightthrough", "mask_estimator", "straight_through"),
    ("mask_condition", "parent", "mask_condition", "parents"),
    ("label_alphas", "attributes", "label_alphas", "attribute"),
    ("on_nan", "rolback", "on_nan", "rollback"),
    ("step", "two_passes", "step", "two_pass"),
    ("precision", "mixed_float61", "precision", "mixed_float16"),
    ("jit_compile", "ture", "jit_compile", "true"),
    ("strategy", "mirored", "strategy", "mirrored"),
]
# What cannot be told before the data are there; see test_run.py.
NEED_THE_DATA = ("run_dir", "data_dir", "validation_fraction", "attributes", "composite_mixers")


def assert_refused(message, **changes):
    with pytest.raises(ValueError, match=message) as caught:
        TrainingConfig(**changes).validate()
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")


def test_every_flag_is_checked():
    checked = {*POSITIVE, *POSITIVE_OR_NONE, *NOT_NEGATIVE, *SHARES, *ABOVE_ZERO}
    checked |= {"verbose", "deterministic"}
    checked.update(name for name, *_ in WRONG_NAMES)
    assert checked.isdisjoint(NEED_THE_DATA)
    assert checked.union(NEED_THE_DATA) == set(NAMES)


@pytest.mark.parametrize("value", ("yes", 1, None))
def test_truth_values(value):
    assert_refused(f"deterministic must be True or False; got {value!r}", deterministic=value)


@pytest.mark.parametrize("value", (0, -1, 1.5, "3", None, True))
@pytest.mark.parametrize("name", POSITIVE + POSITIVE_OR_NONE)
def test_positive_integers(name, value):
    if value is None and name in POSITIVE_OR_NONE:
        TrainingConfig(**{name: None}).validate()
        return
    message = rf"^{name} must be a positive integer; got {value!r}\.$"
    assert_refused(message, **{name: value})


@pytest.mark.parametrize("value", (-1, -1e-9, float("nan"), float("inf"), "3", None))
@pytest.mark.parametrize("name", NOT_NEGATIVE + SHARES + ABOVE_ZERO)
def test_numbers_that_are_not_negative(name, value):
    if value is None and name == "lambda_":  # Left to the method.
        TrainingConfig(lambda_=None).validate()
        return
    message = rf"^{name.rstrip('_')} must be a finite number of at least 0; got {value!r}\.$"
    assert_refused(message, **{name: value})


@pytest.mark.parametrize("name", NOT_NEGATIVE + SHARES)
def test_zero_is_allowed(name):
    TrainingConfig(**{name: 0}).validate()


@pytest.mark.parametrize("name", SHARES)
def test_shares(name):
    TrainingConfig(**{name: 1.0}).validate()
    assert_refused(rf"^{name} must lie in 0 to 1; got 1\.01\.$", **{name: 1.01})


@pytest.mark.parametrize("name", ABOVE_ZERO)
def test_numbers_above_zero(name):
    TrainingConfig(**{name: 1e-9}).validate()
    assert_refused(rf"^{name} must be above 0; got 0\.0\.$", **{name: 0.0})


@pytest.mark.parametrize(("name", "value", "kind", "nearest"), WRONG_NAMES)
def test_unknown_names(name, value, kind, nearest):
    message = rf"^Unknown {kind} '{value}'\. Did you mean '{nearest}'\? Allowed: .*{nearest}"
    assert_refused(message, **{name: value})


@pytest.mark.parametrize("value", (-1, 3))
def test_verbose(value):
    assert_refused(rf"^verbose must be 0, 1 or 2; got {value}\.$", verbose=value)


@pytest.mark.parametrize("value", (1.0, 1.5))
@pytest.mark.parametrize("name", ("beta_1", "beta_2"))
def test_moments_decay(name, value):
    assert_refused(rf"^{name} must be below 1; got {value}\.$", **{name: value})


# Methods and settings with which nothing is mixed in training, or at all.
NO_MIXER = [{"method": "ae_gan"}, {"method": "supervised_amr"}, {"mixer": "none"}]
NO_MIXER += [{"method": "vae", "mixer": "none"}]


def test_a_mixer_needs_two_codes():
    assert_refused(r"^k must be at least 2; got 1\.$", k=1)


@pytest.mark.parametrize("method", ("vae", "beta_vae"))
def test_a_mixer_for_the_trained_model_needs_two_codes(method):
    assert_refused(r"^k must be at least 2; got 1\.$", k=1, method=method)


@pytest.mark.parametrize("changes", NO_MIXER)
def test_k_plays_no_part_without_a_mixer(changes):
    TrainingConfig(k=1, **changes).validate()
    TrainingConfig(k=5, batch_size=4, **changes).validate()


def test_k_and_the_batch():
    TrainingConfig(k=4, batch_size=4).validate()
    assert_refused(r"^A batch of 4 is too small to mix k = 5 examples", k=5, batch_size=4)


@pytest.mark.parametrize("method", ("acai", "acai_original"))
def test_acai_needs_pairs(method):
    message = rf"^method {method} needs a mixer of k = 2, .*; got "
    assert_refused(message + r"k = 3\.$", method=method, k=3)
    assert_refused(message + r"mixer none\.$", method=method, mixer="none")


@pytest.mark.parametrize("method", sorted({*METHOD_VALUES} - {"ae_gan"}))
def test_a_mixer_by_labels_is_no_mixer_of_codes(method):
    name = "supervised_bernoulli"
    message = rf"^mixer {name} mixes by labels: use --method=supervised_amr --label_mixer={name}\.$"
    assert_refused(message, method=method, mixer=name)


@pytest.mark.parametrize("changes", [*NO_MIXER, {"method": "vae"}, {"method": "beta_vae"}])
def test_consistency_needs_mixes(changes):
    method = changes.get("method", "amr")
    assert_refused(rf"^beta = 0\.5 weighs .* method {method} with mixer", beta=0.5, **changes)


@pytest.mark.parametrize("method", ("amr", "acai", "acai_original", "gaia", "pixel_mixup"))
def test_consistency_of_methods_with_mixes(method):
    TrainingConfig(method=method, beta=0.5).validate()
    TrainingConfig(method="supervised_amr", mixer="mixup", beta=0.5).validate()


def test_crossentropy_of_pixels_needs_tanh():
    loss = {"reconstruction_loss": "binary_crossentropy"}
    message = "^reconstruction_loss=binary_crossentropy needs output_activation=tanh"
    assert_refused(message, **loss)
    assert_refused(message, method="vae", output_activation="none")
    TrainingConfig(**loss, output_activation="tanh").validate()
    TrainingConfig(
        method="vae", output_activation="none", reconstruction_loss="mean_squared_error"
    ).validate()


def test_a_label_mixer_mixes_by_labels():
    assert_refused("label_mixer.*labels", method="supervised_amr", label_mixer="mixup")


def test_replace_leaves_the_original():
    config = TrainingConfig()
    assert config.replace(k=3) == TrainingConfig(k=3)
    assert config == TrainingConfig()


def test_what_may_change_in_a_resumed_run():
    assert set(RESUMABLE) == {
        "run_dir",
        "data_dir",
        "epochs",
        "sample_every",
        "checkpoint_every",
        "verbose",
        "steps_per_execution",
        "on_nan",
    }


@pytest.mark.parametrize("name", NAMES)
def test_conflicts(name):
    config = TrainingConfig()
    expected = [] if name in RESUMABLE else [name]
    assert config.conflicts(config.replace(**{name: OTHERS[name]})) == expected


def test_all_conflicts_are_named():
    expected = [name for name in NAMES if name not in RESUMABLE]
    assert TrainingConfig().conflicts(TrainingConfig(**OTHERS)) == expected


# What the paper says: section 4.1 and the captions and best rows of tables 1 and 3.
PAPER = {
    "mnist": ("mnist", 2, 10, 32, 2000),
    "kmnist": ("kmnist", 2, 10, 32, 2000),
    "svhn": ("svhn_cropped", 3, 10, 32, 3500),
    "svhn256": ("svhn_cropped", 8, 5, 256, 3500),
    "cifar10_256": ("cifar10", 3, 50, 256, 3500),
    "cifar10_1024": ("cifar10", 4, 50, 1024, 3500),
}


def test_every_config_is_checked():
    assert {path.stem for path in CONFIGS} >= {*PAPER, "digits"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_files(path):
    config = parse(f"--flagfile={path}")
    config.validate()
    assert config.run_dir == f"runs/{path.stem}"
    assert config.data_dir is None
    assert config.seed == 0
    # Each flag once: a second one would silently win.
    lines = [line for line in path.read_text().splitlines() if line.startswith("--")]
    names = [line.split("=")[0] for line in lines]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_values(name):
    path = next(path for path in CONFIGS if path.stem == name)
    config = parse(f"--flagfile={path}")
    dataset, k, lambda_, latent_size, epochs = PAPER[name]
    assert config.latent_channels * config.latent_width**2 == latent_size
    assert config.resolve() == TrainingConfig(
        run_dir=f"runs/{name}",
        dataset=dataset,
        method="amr",
        mixer="mixup",
        k=k,
        lambda_=lambda_,
        beta=0.0,
        reconstruction_loss="mean_absolute_error",
        gan_loss="binary_crossentropy",
        latent_channels=latent_size // 16,
        latent_width=4,
        depth=16,
        output_activation="none",
        epochs=epochs,
        batch_size=64,
        learning_rate=1e-4,
        probe_learning_rate=1e-4,
        beta_1=0.5,
        beta_2=0.99,
        epsilon=1e-8,
        l2_weight_decay=1e-5,
    )
    # What the comment says is what the flags say.
    comment = path.read_text().split("--", 1)[0]
    assert re.search(r"d_h = (\d+)", comment).group(1) == str(latent_size)
    if match := re.search(r"k = (\d+)", comment):
        assert match.group(1) == str(k)
