"""The description of a run: round trips, wrong values, conflicts, and the files in configs/."""

import dataclasses
import json
import pathlib
import re

import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf import commands
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
    "method": "ae_gan",
    "mixer": "bernoulli",
    "k": 3,
    "bernoulli_probability": "element",
    "lambda_": 0.1,
    "beta": 2.5,
    "reconstruction_loss": "mean_squared_error",
    "gan_loss": "least_squares",
    "generator_update_every": 5,
    "latent_channels": 64,
    "latent_width": 2,
    "depth": 8,
    "output_activation": "tanh",
    "epochs": 7,
    "batch_size": 16,
    "learning_rate": 3e-05,
    "probe_learning_rate": 0.001,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-07,
    "l2_weight_decay": 0.0,
    "seed": 12,
    "sample_every": 0,
    "checkpoint_every": 4,
    "verbose": 2,
}


def parse(*arguments):
    """A config as `amr_tf.train` reads it from its command line."""
    flag_values = flags.FlagValues()
    commands.define_flags(TrainingConfig, flag_values)
    flag_values(["amr_tf.train", *arguments])
    return commands.config_from_flags(TrainingConfig, flag_values=flag_values)


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
    commands.define_flags(TrainingConfig, flag_values)
    # The value of --seed is the default, but it was given.
    flag_values(["amr_tf.train", "--epochs=9", "--seed=0"])
    base = TrainingConfig(**OTHERS)
    config = commands.config_from_flags(TrainingConfig, base=base, flag_values=flag_values)
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


POSITIVE = (
    "k",
    "epochs",
    "batch_size",
    "generator_update_every",
    "latent_channels",
    "latent_width",
    "depth",
    "checkpoint_every",
)
NOT_NEGATIVE = (
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


def assert_refused(message, **changes):
    with pytest.raises(ValueError, match=message) as caught:
        TrainingConfig(**changes).validate()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", (0, -1, 1.5, "3", None, True))
@pytest.mark.parametrize("name", POSITIVE)
def test_positive_integers(name, value):
    message = rf"^{name} must be a positive integer; got {value!r}\.$"
    assert_refused(message, **{name: value})


@pytest.mark.parametrize("value", (-1, -1e-9, float("nan"), float("inf"), "3", None))
@pytest.mark.parametrize("name", NOT_NEGATIVE)
def test_numbers_that_are_not_negative(name, value):
    message = rf"^{name.rstrip('_')} must be a finite number of at least 0; got {value!r}\.$"
    assert_refused(message, **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "kind", "nearest"),
    [
        ("dataset", "mnits", "data set", "mnist"),
        ("dataset", "SVHN_cropped", "data set", "svhn_cropped"),
        ("mixer", "mixupp", "mixer", "mixup"),
        ("mixer", "bernouli", "mixer", "bernoulli"),
        ("reconstruction_loss", "mean_abs_error", "reconstruction loss", "mean_absolute_error"),
        ("gan_loss", "least_square", "GAN loss", "least_squares"),
        ("method", "amrr", "method", "amr"),
        ("method", "aegan", "method", "ae_gan"),
        ("output_activation", "tahn", "output_activation", "tanh"),
        ("bernoulli_probability", "elements", "bernoulli_probability", "element"),
    ],
)
def test_unknown_names(name, value, kind, nearest):
    message = rf"^Unknown {kind} '{value}'\. Did you mean '{nearest}'\? Allowed: .*{nearest}"
    assert_refused(message, **{name: value})


def test_a_mixer_needs_two_codes():
    assert_refused(r"^k must be at least 2; got 1\.$", k=1)
    TrainingConfig(method="ae_gan", k=1).validate()


def test_k_and_the_batch():
    TrainingConfig(k=4, batch_size=4).validate()
    assert_refused(r"^A batch of 4 is too small to mix k = 5 examples", k=5, batch_size=4)
    TrainingConfig(method="ae_gan", k=5, batch_size=4).validate()


def test_consistency_needs_mixes():
    assert_refused(r"^beta = 0\.5 needs mixes; method ae_gan makes none", method="ae_gan", beta=0.5)


def test_crossentropy_of_pixels_needs_tanh():
    loss = {"reconstruction_loss": "binary_crossentropy"}
    assert_refused("^reconstruction_loss=binary_crossentropy needs output_activation=tanh", **loss)
    TrainingConfig(**loss, output_activation="tanh").validate()


@pytest.mark.parametrize("value", (-1, 3))
def test_verbose(value):
    assert_refused(rf"^verbose must be 0, 1 or 2; got {value}\.$", verbose=value)


@pytest.mark.parametrize("value", (1.0, 1.5))
@pytest.mark.parametrize("name", ("beta_1", "beta_2"))
def test_moments_decay(name, value):
    assert_refused(name, **{name: value})


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
    assert config == TrainingConfig(
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
