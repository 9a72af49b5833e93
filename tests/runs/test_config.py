"""The description of a run: defaults, round trips, canonical forms, and what is refused."""

import dataclasses
import json
import pathlib
import re

import pytest
from absl import flags
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import amr_tf
from amr_tf.layers import Blur2D
from amr_tf.mixers import MIXERS
from amr_tf.models import METHODS
from amr_tf.registry import parse_call
from amr_tf.runs import flagfiles
from amr_tf.runs.build import build_model
from amr_tf.runs.config import (
    COMPILED,
    CREATED,
    RESUMABLE,
    OtherVersion,
    TrainingConfig,
    flag_name,
)
from amr_tf.runs.folder import RunFolder
from amr_tf.version import __version__
from tests.runs.conftest import OLD_CONFIG

CONFIGS = sorted((pathlib.Path(__file__).resolve().parents[2] / "configs").glob("*.cfg"))
PACKAGE = pathlib.Path(amr_tf.__file__).parent
NAMES = [field.name for field in dataclasses.fields(TrainingConfig)]
# A value for every field that is allowed and not the default.
OTHERS = {
    "run_dir": "elsewhere/run 2",
    "epochs": 7,
    "batch_size": 16,
    "seed": 12,
    "sample_every": 0,
    "monitor": "val_loss:min",
    "patience": 3,
    "max_minutes": 2.5,
    "trackers": "tensorboard,mlflow(experiment='a, b')",
    "checkpoint_every": 4,
    "verbose": 2,
    "dataset": "celeba(attributes=('Male', 'Wearing_Lipstick'), crop=128)",
    "data_dir": "/data",
    "image_size": 64,
    "validation_fraction": 0.3,
    "train_subset": 1000,
    "labelled": 100,
    "augmentation": "standard(flip=None, shift=0.1)",
    "method": "acai_original(adversarial_weight=0.25, critic_blend=0.75)",
    "mixer": "bernoulli(probability='element')",
    "k": 3,
    "lambda_": 0.1,
    "beta": 2.5,
    "reconstruction_loss": "mean_squared_error",
    "gan_loss": "least_squares",
    "consistency_loss": "mean_absolute_error",
    "supervision": 0.5,
    "feature_matching": 10.0,
    "look_matching": 5.0,
    "adversarial_warmup": 300,
    "discriminator_augmentation": "diff_augment(cutout=0.25)",
    "architecture": "convolutional(depth=8, latent_dim=12, output_activation='tanh')",
    "probe": "mlp(hidden=(64, 32))",
    "autoencoder_optimizer": "adam(learning_rate=cosine_decay(initial_learning_rate=0.001, "
    "decay_steps=1000))",
    "discriminator_optimizer": "sgd(learning_rate=3e-05, momentum=0.9)",
    "probe_optimizer": "adam_l2(beta_1=0.9, l2_weight_decay=0.0)",
    "ema": 0.998,
    "generator_update_every": 5,
    "step": "two_pass",
    "on_nan": "rollback",
    "precision": "mixed_bfloat16",
    "jit_compile": "false",
    "steps_per_execution": 3,
    "strategy": "mirrored",
    "deterministic": True,
}
ADAM_L2 = (
    "adam_l2(learning_rate=0.0001, beta_1=0.5, beta_2=0.99, epsilon=1e-08, l2_weight_decay=1e-05"
)
ADAM = "adam(learning_rate=0.0001, beta_1=0.9, beta_2=0.999, epsilon=1e-08"


def parse(*arguments):
    """A config as `amr_tf.train` reads it from its command line."""
    flag_values = flags.FlagValues()
    flagfiles.define_flags(TrainingConfig, flag_values)
    flag_values(["amr_tf.train", *arguments])
    return flagfiles.config_from_flags(TrainingConfig, flag_values=flag_values)


def assert_refused(message, **changes):
    with pytest.raises(ValueError, match=message) as caught:
        TrainingConfig(**changes).validate()
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")


# Flags, JSON and flagfiles.


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


def test_json_says_who_wrote_it():
    assert json.loads(TrainingConfig().to_json())["amr_tf"] == __version__


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
        {"run_dir": paths, "lambda_": finite, "beta": finite, "supervision": finite},
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


def test_json_without_some_fields_has_their_defaults():
    assert TrainingConfig.from_json('{"k": 3}') == TrainingConfig(k=3)


@pytest.mark.parametrize(
    ("document", "writer", "fields"),
    [
        ({"k": 3, "kk": 4, "depht": 2}, "an earlier amr_tf", "depht, kk"),
        ({"amr_tf": "9.1.0", "kk": 4}, r"amr_tf 9\.1\.0", "kk"),
        ({"amr_tf": 9, "kk": 4}, "an earlier amr_tf", "kk"),
        (OLD_CONFIG, "an earlier amr_tf", "beta_1, .*, latent_channels, .*learning_rate, .*"),
    ],
)
def test_json_of_another_version(document, writer, fields):
    message = (
        rf"^It was written by {writer} and has fields that amr_tf {re.escape(__version__)} does "
        rf"not know: {fields}\. Its models \(\.keras\) can be loaded with keras\.saving\.load_model"
    )
    with pytest.raises(OtherVersion, match=message):
        TrainingConfig.from_json(json.dumps(document))


@pytest.mark.parametrize("version", ("1\n--k=3", "\x1b[2J", "x" * 1000))
def test_a_version_that_is_none_is_not_repeated(version):
    with pytest.raises(OtherVersion) as caught:
        TrainingConfig.from_json(json.dumps({"amr_tf": version, "kk": 4}))
    assert "written by an earlier amr_tf and" in str(caught.value)


# Defaults, which stand in the classes.

_AMR = {
    "mixer": "mixup",
    "k": 2,
    "lambda_": 10.0,
    "reconstruction_loss": "mean_absolute_error",
    "gan_loss": "binary_crossentropy",
    "architecture": "convolutional(latent_channels=2, latent_width=4, depth=16)",
    "autoencoder_optimizer": ADAM_L2,
    "discriminator_optimizer": ADAM_L2,
}
_VAE = {
    **_AMR,
    "lambda_": 1.0,
    "reconstruction_loss": "binary_crossentropy",
    "gan_loss": None,
    "architecture": "convolutional(latent_channels=2, latent_width=4, depth=16, "
    "output_activation='tanh')",
    "discriminator_optimizer": None,
}
METHOD_VALUES = {
    "amr": _AMR,
    "ae_gan": {**_AMR, "mixer": "none", "k": None},
    "pixel_mixup": _AMR,
    "acai": _AMR,
    "acai_original": {
        "method": "acai_original(adversarial_weight=0.5, critic_blend=0.2)",
        "mixer": "folded",
        "k": 2,
        "lambda_": 1.0,
        "reconstruction_loss": "mean_squared_error",
        "gan_loss": "least_squares",
        "architecture": "acai(latent_channels=2, latent_width=4, depth=16)",
        "autoencoder_optimizer": ADAM,
        "discriminator_optimizer": ADAM,
    },
    "gaia": {
        **_AMR,
        "method": "gaia(balance_target=0.5, balance_rate=0.01)",
        "mixer": "gaussian(sigma=0.25)",
        "gan_loss": None,
    },
    "supervised_amr": {**_AMR, "mixer": "none", "k": None},
    "vae": {**_VAE, "method": "vae(kl_weight=1.0)"},
    "beta_vae": {**_VAE, "method": "beta_vae(kl_weight=4.0)"},
}
each_method = pytest.mark.parametrize("method", METHOD_VALUES)


def test_every_method_is_here():
    assert sorted(METHOD_VALUES) == METHODS.names()


@each_method
def test_what_is_left_to_the_method(method):
    config = TrainingConfig(method=method)
    config.validate()
    resolved = config.resolve()
    for name, value in METHOD_VALUES[method].items():
        found = getattr(resolved, name)
        if str(value).startswith("adam"):  # Keras' own parameters may follow.
            assert found.startswith(value), name
        else:
            assert found == value, name
    # What belongs to the run is left as it is.
    assert all(
        getattr(resolved, name) == getattr(config, name)
        for name in {*NAMES} - {*CREATED, *COMPILED, "method", "dataset"}
    )
    assert all(getattr(config, name) is None for name in (*CREATED, *COMPILED))


@each_method
def test_what_is_set_is_kept(method):
    values = {"lambda_": 0.0, "reconstruction_loss": "mean_squared_error", "seed": 3}
    values["architecture"] = "mlp(latent_dim=3, hidden=(8,), output_activation='relu')"
    resolved = TrainingConfig(method=method, **values).resolve()
    assert {name: getattr(resolved, name) for name in values} == values
    if method not in ("acai", "acai_original", "gaia"):  # These need one.
        assert TrainingConfig(method=method, mixer="none").resolve().mixer == "none"


@each_method
def test_a_resolved_config_is_that_of_its_flagfile(method, tmp_path):
    """And nothing is left to resolve."""
    resolved = TrainingConfig(method=method).resolve()
    resolved.validate()
    assert resolved.resolve() == resolved
    (tmp_path / "flagfile.cfg").write_text(resolved.to_flagfile())
    again = parse(f"--flagfile={tmp_path / 'flagfile.cfg'}")
    again.validate()
    assert again == resolved


def comparable(config):
    """The config of a Keras object without seeds, and with names that do not count up."""
    if isinstance(config, dict):
        return {
            key: comparable(value)
            for key, value in config.items()
            if key not in ("seed", "jit_compile", "shared_object_id")
        }
    if isinstance(config, (list, tuple)):
        return [comparable(value) for value in config]
    return re.sub(r"_\d+$", "", config) if isinstance(config, str) else config


@each_method
def test_flags_and_python_make_the_same_model(method):
    """`--method=NAME`, and `convolutional` and `compile` of its class with no arguments."""
    kind = METHODS.get(method)
    # Without a beta, what the consistency loss would be plays no part.
    beta = {"beta": 1.0} if kind.trains_on_mixes and method != "supervised_amr" else {}
    by_flags = build_model(TrainingConfig(method=method, **beta).resolve(), (8, 8, 1), 3)
    in_python = kind.convolutional((8, 8, 1), num_classes=3, name=method)
    in_python.compile(**beta)
    assert type(by_flags) is type(in_python)
    configs = [comparable(model.get_config()) for model in (by_flags, in_python)]
    assert configs[0] == configs[1]
    compiled = [comparable(model.get_compile_config()) for model in (by_flags, in_python)]
    assert sorted(compiled[0]) == sorted(compiled[1])
    for name, value in compiled[1].items():
        # A flag holds the call string of what Python may leave out.
        assert compiled[0][name] == value, name


def test_a_method_of_ones_own_has_the_common_defaults(monkeypatch):
    monkeypatch.setitem(METHODS._entries, "mine", METHODS.get("amr"))
    resolved = TrainingConfig(method="mine").resolve()
    method = "mine(adversarial_weight=1.0, mix_weight=1.0, real_weight=1.0, r1=0.0, mix_steps=0)"
    assert resolved == TrainingConfig().resolve().replace(method=method)
    resolved.validate()


def test_the_k_of_a_mixer_of_ones_own(monkeypatch):
    """A function may leave its default to the base class, or take no k at all."""

    def without_default(k, seed=None):
        return amr_tf.Mixup(k, seed)

    def without_k(seed=None):
        return amr_tf.Mixup(2, seed)

    monkeypatch.setitem(MIXERS._entries, "without_default", without_default)
    monkeypatch.setitem(MIXERS._entries, "without_k", without_k)
    for name, k in (("without_default", 2), ("without_k", None)):
        config = TrainingConfig(mixer=name)
        config.validate()
        assert config.resolve().k == k
        config.resolve().validate()
        assert build_model(config, (8, 8, 1)).mixer.k == 2
    assert TrainingConfig(mixer="without_default", k=3).resolve().k == 3
    assert_refused(r"^mixer without_k does not use k \(got 3\)", mixer="without_k", k=3)


def test_what_a_method_of_ones_own_does_not_use(monkeypatch):
    """Its defaults are None; some of its settings may be no flags."""

    class Plain(amr_tf.AMR):
        unused_settings = ("beta", "gan_loss", "metrics")

        def compile(self, *optimizers, gan_loss=None, **kwargs):
            super().compile(*optimizers, gan_loss=gan_loss, **kwargs)

    monkeypatch.setitem(METHODS._entries, "plain", Plain)
    resolved = TrainingConfig(method="plain").resolve()
    assert (resolved.gan_loss, resolved.lambda_) == (None, 10.0)
    resolved.validate()
    assert_refused("^method plain does not use gan_loss", method="plain", gan_loss="least_squares")


def test_an_unknown_method_is_not_resolved():
    with pytest.raises(ValueError, match=r"^Unknown method 'amrr'\. Did you mean 'amr'\?"):
        TrainingConfig(method="amrr").resolve()


# Canonical forms.


@pytest.mark.parametrize(
    ("field", "texts"),
    [
        ("mixer", ("bernoulli", "bernoulli()", "bernoulli(probability='batch')")),
        ("mixer", ("bernoulli", ' bernoulli ( probability = "batch" ) ')),
        ("mixer", ("composite(mixers=['mixup'])", "composite(mixers=('mixup',))")),
        ("architecture", ("convolutional", "convolutional(latent_width=4, depth=16)")),
        ("architecture", ("convolutional", "convolutional(latent_dim=None)")),
        ("architecture", ("convolutional", "convolutional(output_activation=None)")),
        ("dataset", ("digits", "digits()")),
        ("dataset", ("image_folder", "image_folder(crop=None)")),
        (
            "dataset",
            ("celeba(attributes=('a',), crop=140)", "celeba(crop=140, attributes=('a',))"),
        ),
        ("reconstruction_loss", ("mean_absolute_error", "mean_absolute_error()")),
        ("probe", ("mlp", "mlp(hidden=[256])")),
        ("autoencoder_optimizer", ("adam_l2", "adam_l2(learning_rate=1e-4, beta_1=5e-1)")),
        (
            "autoencoder_optimizer",
            ("sgd(learning_rate=0.1)", "sgd(learning_rate=0.1, nesterov=False)"),
        ),
        (
            "autoencoder_optimizer",
            ("sgd(clipnorm=1.0, clipvalue=2.0)", "sgd(clipvalue=2.0, clipnorm=1.0)"),
        ),
    ],
)
def test_two_ways_to_write_the_same(field, texts):
    first, *others = (TrainingConfig(**{field: text}).resolve() for text in texts)
    for other in others:
        assert other == first
        assert first.conflicts(other) == []


@pytest.mark.parametrize(
    ("written", "mixer"),
    [
        ("style", "style(contrast=0.0, shared_scale=False)"),
        ("style(contrast=0.1)", "style(contrast=0.1, shared_scale=False)"),
    ],
)
def test_a_run_from_before_a_parameter_goes_on_as_it_began(tmp_path, written, mixer):
    config = TrainingConfig(mixer="style", run_dir=str(tmp_path)).resolve()
    folder = RunFolder(tmp_path)
    folder.config.write_text(config.replace(mixer=written).to_json())
    assert folder.read_config().mixer == folder.read_config().resolve().mixer == mixer
    assert config.conflicts(folder.read_config()) == ["mixer"]
    folder.config.write_text(config.to_json())
    assert folder.read_config() == config


def test_an_older_runs_networks_stay_without_blur(tmp_path):
    config = TrainingConfig(architecture="residual", run_dir=str(tmp_path)).resolve()
    assert "blur=True" in config.architecture
    older = config.architecture.replace(", blur=True", "")
    folder = RunFolder(tmp_path)
    folder.config.write_text(config.replace(architecture=older).to_json())
    read = folder.read_config().resolve()
    assert read.architecture == config.architecture.replace("blur=True", "blur=False")
    assert config.conflicts(read) == ["architecture"]
    decoder = build_model(read, (64, 64, 3), None).decoder
    assert not any(isinstance(layer, Blur2D) for layer in decoder.layers)


def test_only_what_is_younger_is_completed():
    for name in MIXERS.names():
        config = TrainingConfig(mixer=name).resolve()
        assert config.completed() == config
    unknown = config.replace(mixer="of_someone(a=1)", method="amr")
    assert unknown.completed() == unknown


def test_what_the_method_asks_of_an_architecture_may_be_written_out():
    asked = TrainingConfig(method="vae", architecture="convolutional(depth=2)")
    written = "convolutional(output_activation='tanh', depth=2)"
    assert asked.replace(architecture=written).resolve() == asked.resolve()
    # What is set is kept, also where the method would ask for something else.
    relu = asked.replace(architecture="convolutional(depth=2, output_activation='relu')")
    assert "output_activation='relu'" in relu.resolve().architecture
    # A default of None is a value here, too.
    none = asked.replace(architecture="convolutional(depth=2, output_activation=None)")
    assert none.resolve().resolve() == none.resolve() != asked.resolve()


def test_different_settings_stay_different():
    base = TrainingConfig().resolve()
    for field, text in (
        ("mixer", "bernoulli(probability='example')"),
        ("architecture", "convolutional(depth=32)"),
        ("autoencoder_optimizer", "adam_l2(learning_rate=1e-3)"),
        ("dataset", "mnist"),
    ):
        assert base.conflicts(base.replace(**{field: text}).resolve()) == [field]


METHOD_TEXTS = [
    *METHOD_VALUES,
    "acai_original(critic_blend=0.5)",
    "beta_vae(kl_weight=1e2)",
    "gaia(balance_rate=0)",
    "supervised_amr(class_weight=2, label_mixer='supervised_bernoulli(condition=\"parents\")')",
    "supervised_amr(label_mixer=supervised_bernoulli(estimator='concrete', temperature=0.1))",
]
MIXER_TEXTS = [
    *("none", "mixup", "channelwise", "spatial", "folded", "gaussian(sigma=1)", "bernoulli"),
    *("bernoulli(probability='example')", "composite(mixers=('mixup', 'spatial'), weights=(2, 1))"),
    "composite(mixers=('bernoulli(probability=\"example\")', 'gaussian'))",
]
OPTIMIZER_TEXTS = [
    *("adam_l2", "sgd(learning_rate=1e-3)", "adamw(weight_decay=0.01)", "lion(clipnorm=1.0)"),
    "rmsprop(learning_rate=exponential_decay(initial_learning_rate=1e-3, decay_steps=9, "
    "decay_rate=0.5))",
]
ARCHITECTURE_TEXTS = [
    *("convolutional", "convolutional(latent_dim=7)", "acai(depth=4)", "dsprites"),
    *("dsprites(output_activation=None)", "mlp(hidden=(3, 4))", "mlp(hidden=[5])"),
]


@settings(deadline=None, max_examples=60)
@given(
    changes=st.fixed_dictionaries(
        {"method": st.sampled_from(METHOD_TEXTS)},
        optional={
            "mixer": st.sampled_from(MIXER_TEXTS),
            "k": st.integers(2, 4),
            "beta": st.sampled_from([0.0, 0.5]),
            "lambda_": finite,
            "architecture": st.sampled_from(ARCHITECTURE_TEXTS),
            "probe": st.sampled_from(["linear", "mlp", "mlp(hidden=(9, 9))"]),
            "autoencoder_optimizer": st.sampled_from(OPTIMIZER_TEXTS),
            "probe_optimizer": st.sampled_from(OPTIMIZER_TEXTS),
            "dataset": st.sampled_from(["digits", "celeba(crop=9)", "image_folder(crop=9)"]),
            "consistency_loss": st.sampled_from(["mean_absolute_error", "mean_squared_error"]),
        },
    )
)
def test_every_valid_config_resolves_to_itself(changes, tmp_path_factory):
    config = TrainingConfig(**changes)
    try:
        config.validate()
    except ValueError:
        assume(False)
    resolved = config.resolve()
    assert resolved.resolve() == resolved
    resolved.validate()
    assert TrainingConfig.from_json(resolved.to_json()) == resolved
    path = tmp_path_factory.getbasetemp() / "resolved.cfg"
    path.write_text(resolved.to_flagfile())
    assert parse(f"--flagfile={path}") == resolved


# What is refused.

# Settings that something chosen does not use, and what the sentence says.
UNUSED = [
    ({"method": "ae_gan", "mixer": "mixup"}, r"^method ae_gan does not use mixer \(got mixup\)"),
    ({"method": "ae_gan", "k": 3}, r"^method ae_gan does not use k \(got 3\): leave it out\.$"),
    ({"method": "ae_gan", "beta": 1.0}, r"^method ae_gan does not use beta \(got 1\.0\)"),
    ({"method": "ae_gan", "consistency_loss": "mean_squared_error"}, "ae_gan does not use consist"),
    ({"method": "vae", "beta": 1.0}, r"^method vae does not use beta \(got 1\.0\)"),
    (
        {"method": "vae", "gan_loss": "least_squares"},
        "^method vae does not use gan_loss .got least",
    ),
    (
        {"method": "beta_vae", "discriminator_optimizer": "adam"},
        r"^method beta_vae does not use discriminator_optimizer \(got adam\)",
    ),
    ({"method": "vae", "consistency_loss": "mean_squared_error"}, "vae does not use consistency_l"),
    ({"method": "gaia", "gan_loss": "least_squares"}, "^method gaia does not use gan_loss"),
    ({"mixer": "none", "k": 3}, "^k = 3 says how many codes a mix combines, but there is no mixer"),
    ({"method": "supervised_amr", "k": 3}, "^k = 3 says .*, but there is no mixer"),
    ({"method": "vae", "mixer": "none", "k": 3}, "^k = 3 says .*, but there is no mixer"),
    ({"mixer": "none", "look_matching": 2.0}, "^look_matching = 2 weighs the look of mixes, but"),
    ({"method": "vae", "look_matching": 1.0}, r"^method vae does not use look_matching \(got 1"),
    ({"mixer": "none", "beta": 0.5}, "^beta = 0.5 weighs .* method amr with mixer none makes none"),
    (
        {"method": "supervised_amr", "beta": 0.5},
        "^beta = 0.5 weighs .* method supervised_amr with mixer none makes none",
    ),
    (
        {"consistency_loss": "mean_absolute_error"},
        "^consistency_loss = mean_absolute_error is used with a beta above 0 only",
    ),
    ({"data_dir": "/data"}, r"^Data set 'digits' reads no files: leave out data_dir \(got '/data'"),
    ({"dataset": "spiral", "data_dir": "x"}, "^Data set 'spiral' reads no files"),
    ({"dataset": "digits(crop=3)"}, r"^Unknown parameter of data set 'digits': 'crop'\. It takes "),
    ({"method": "amr(class_weight=2.0)"}, r"^Unknown parameter of method 'amr': 'class_weight'"),
    ({"method": "vae(critic_blend=0.2)"}, r"^Unknown parameter of method 'vae': 'critic_blend'"),
    ({"mixer": "mixup(sigma=0.3)"}, "^Unknown parameter of mixer 'mixup': 'sigma'"),
    (
        {"architecture": "dsprites(latent_width=4)"},
        "^Unknown parameter of architecture 'dsprites': 'latent_width'. Did you mean 'latent_dim'",
    ),
    ({"probe": "linear(hidden=(3,))"}, "^Unknown parameter of probe 'linear': 'hidden'"),
    (
        {"autoencoder_optimizer": "sgd(beta_1=0.5)"},
        "^Unknown parameter of optimizer 'sgd': 'beta_1'",
    ),
    ({"gan_loss": "least_squares(target=0.9)"}, "^Unknown parameter of GAN loss 'least_squares'"),
    ({"mixer": "bernoulli(probability='example')", "k": 3}, "^probability is for k = 2 only"),
    (
        {"method": "supervised_amr(label_mixer='supervised_bernoulli(temperature=0.1)')"},
        "^temperature is the concrete estimator's",
    ),
    ({"jit_compile": "true", "strategy": "mirrored"}, "^jit_compile=true needs strategy none"),
    ({"patience": 3, "strategy": "multi_worker"}, "^patience needs strategy none or mirrored"),
    # Set elsewhere.
    ({"mixer": "mixup(k=3)"}, "^k of mixer 'mixup' is set by --k, not in a call"),
    ({"mixer": "mixup(seed=3)"}, "^seed of mixer 'mixup' is set by --seed, not in a call"),
    ({"dataset": "image_folder(data_dir='x')"}, "^data_dir of data set .* is set by --data_dir"),
    ({"architecture": "mlp(num_classes=3)"}, "^num_classes of architecture 'mlp' is set by the da"),
    ({"method": "amr(lambda_=3)"}, "^Unknown parameter of method 'amr': 'lambda_'"),
]


@pytest.mark.parametrize(("changes", "message"), UNUSED, ids=str)
def test_a_setting_that_is_not_used(changes, message):
    assert_refused(message, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "vae", "k": 3},  # Its mixer is for the trained model.
        {"method": "supervised_amr", "mixer": "mixup", "k": 3, "beta": 0.5},
        {"method": "ae_gan", "mixer": "none", "beta": 0.0},
        {"method": "vae", "beta": 0.0},
        {"beta": 1.0, "consistency_loss": "mean_squared_error"},
        {"dataset": "mnist", "data_dir": "/data"},
        *({"method": name, "beta": 0.5} for name in ("amr", "acai", "gaia", "pixel_mixup")),
    ],
    ids=str,
)
def test_a_setting_that_is_used(changes):
    TrainingConfig(**changes).validate()


POSITIVE = ("epochs", "batch_size", "checkpoint_every", "steps_per_execution")
POSITIVE_OR_NONE = ("patience", "generator_update_every", "image_size", "train_subset", "labelled")
NOT_NEGATIVE = ("seed", "sample_every")
NOT_NEGATIVE_OR_NONE = ("lambda_", "beta", "supervision", "feature_matching", "look_matching")
# One wrong name for each flag that takes a name; further ones for some.
WRONG_NAMES = [
    ("dataset", "mnits", "data set", "mnist"),
    ("dataset", "SVHN_cropped", "data set", "svhn_cropped"),
    ("mixer", "mixupp", "mixer", "mixup"),
    ("mixer", "bernouli", "mixer", "bernoulli"),
    ("mixer", "composite(mixers=('mixup', 'bernouli'))", "mixer", "bernoulli"),
    ("method", "supervised_amr(label_mixer='supervised')", "mixer", "supervised_bernoulli"),
    ("reconstruction_loss", "mean_abs_error", "reconstruction loss", "mean_absolute_error"),
    ("gan_loss", "least_square", "GAN loss", "least_squares"),
    ("method", "amrr", "method", "amr"),
    ("method", "aegan", "method", "ae_gan"),
    ("architecture", "convolution", "architecture", "convolutional"),
    ("probe", "linera", "probe", "linear"),
    ("augmentation", "standart", "augmentation", "standard"),
    (
        "discriminator_augmentation",
        "diff_augmentation",
        "discriminator augmentation",
        "diff_augment",
    ),
    ("autoencoder_optimizer", "adam_12", "optimizer", "adam_l2"),
    ("discriminator_optimizer", "rmsdrop", "optimizer", "rmsprop"),
    ("probe_optimizer", "sgdd", "optimizer", "sgd"),
    (
        "autoencoder_optimizer",
        "adam(learning_rate=cosine_decays(decay_steps=3))",
        "learning rate schedule",
        "cosine_decay",
    ),
    ("on_nan", "rolback", "on_nan", "rollback"),
    ("step", "two_passes", "step", "two_pass"),
    ("precision", "mixed_float61", "precision", "mixed_float16"),
    ("jit_compile", "ture", "jit_compile", "true"),
    ("strategy", "mirored", "strategy", "mirrored"),
    ("trackers", "tensorbord", "tracker", "tensorboard"),
]
# What cannot be told before the data are there (see test_run.py), or has a test of its own.
NEED_THE_DATA = ("run_dir", "data_dir", "validation_fraction", "monitor")
OTHER_TESTS = ("k", "consistency_loss", "verbose", "deterministic")
OTHER_TESTS += ("max_minutes", "adversarial_warmup", "ema")


def test_every_flag_is_checked():
    checked = {*POSITIVE, *POSITIVE_OR_NONE, *NOT_NEGATIVE, *NOT_NEGATIVE_OR_NONE, *OTHER_TESTS}
    checked.update(name for name, *_ in WRONG_NAMES)
    assert checked.isdisjoint(NEED_THE_DATA)
    assert checked.union(NEED_THE_DATA) == set(NAMES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_minutes": 0.0}, r"^max_minutes must be a finite number above 0; got 0\.0"),
        ({"max_minutes": float("inf")}, "^max_minutes must be a finite number"),
        (
            {"adversarial_warmup": -1},
            "^adversarial_warmup must be an integer of at least 0; got -1",
        ),
        ({"adversarial_warmup": 1.5}, "^adversarial_warmup must be of type int"),
        ({"ema": 1.0}, r"^ema must be at least 0 and below 1; got 1\.0"),
        ({"ema": -0.5}, "^ema must be a finite number of at least 0"),
        ({"method": "vae", "feature_matching": 1.0}, "^method vae does not use feature_matching"),
        (
            {"method": "vae", "discriminator_augmentation": "diff_augment"},
            "^method vae does not use discriminator_augmentation",
        ),
        (
            {"method": "gaia", "discriminator_augmentation": "diff_augment"},
            "^method gaia does not use discriminator_augmentation",
        ),
    ],
    ids=str,
)
def test_settings_for_photographs(changes, message):
    assert_refused(message, **changes)


@pytest.mark.parametrize("name", ["augmentation", "discriminator_augmentation"])
def test_none_takes_back_what_a_flagfile_sets(name):
    config = TrainingConfig(**{name: "none"})
    config.validate()
    assert getattr(config.resolve(), name) is None


@pytest.mark.parametrize("value", ("yes", 1, None))
def test_truth_values(value):
    assert_refused(
        f"^deterministic must be of type bool; got {value!r}", **{"deterministic": value}
    )


@pytest.mark.parametrize("value", (0, -1, 1.5, "3", None, True))
@pytest.mark.parametrize("name", POSITIVE + POSITIVE_OR_NONE)
def test_positive_integers(name, value):
    if value is None and name in POSITIVE_OR_NONE:
        TrainingConfig(**{name: None}).validate()
        return
    wanted = "a positive integer" if type(value) is int else "of type int.*"
    assert_refused(rf"^{name} must be {wanted}; got {value!r}\.$", **{name: value})


@pytest.mark.parametrize("value", (-1, -1e-9, float("nan"), float("inf"), "3", None))
@pytest.mark.parametrize("name", NOT_NEGATIVE + NOT_NEGATIVE_OR_NONE)
def test_numbers_that_are_not_negative(name, value):
    if value is None and name in NOT_NEGATIVE_OR_NONE:  # Left to the method.
        TrainingConfig(**{name: None}).validate()
        return
    right = type(value) in ((int,) if name in NOT_NEGATIVE else (int, float))
    wanted = "a finite number of at least 0" if right else "of type (int|float or null)"
    assert_refused(rf"^{name.rstrip('_')} must be {wanted}; got {value!r}\.$", **{name: value})


@pytest.mark.parametrize("name", NOT_NEGATIVE + NOT_NEGATIVE_OR_NONE)
def test_zero_is_allowed(name):
    TrainingConfig(**{name: 0}).validate()


@pytest.mark.parametrize(("name", "value", "kind", "nearest"), WRONG_NAMES)
def test_unknown_names(name, value, kind, nearest):
    wrong = re.findall(r"\w+", value)
    message = rf"^Unknown {kind} '({'|'.join(wrong)})'\. Did you mean '{nearest}'\? Allowed: .*"
    assert_refused(message + nearest, **{name: value})


@pytest.mark.parametrize("name", [*CREATED, *COMPILED, "method", "dataset"])
def test_a_name_that_is_empty(name):
    """`--mixer=` is no way to say none."""
    if not isinstance(OTHERS[name], str):
        return
    beta = {"beta": 1.0} if name == "consistency_loss" else {}
    kind = "reconstruction loss" if name == "consistency_loss" else name.split("_")[-1]
    assert_refused(rf"(?i)^Unknown .*{kind.removeprefix('data')}.* ''\.", **{name: ""}, **beta)


@pytest.mark.parametrize("name", ("probe", "architecture", "autoencoder_optimizer", "gan_loss"))
def test_only_a_mixer_may_be_none(name):
    assert_refused("^Unknown .* 'none'\\.", **{name: "none"})


# A wrong value in a call string, for each kind of thing that has parameters.
WRONG_CALLS = [
    ({"mixer": "gaussian(sigma=0)"}, "^sigma must be a finite number above 0; got 0"),
    (
        {"mixer": "gaussian(sigma='wide')"},
        "^sigma of mixer 'gaussian' must be a number, such as 0.",
    ),
    ({"mixer": "gaussian(sigma=wide)"}, "sigma must be a finite number, True, .*: 'wide', or"),
    ({"mixer": "gaussian(0.3)"}, "every value needs its parameter's name, parameter=value"),
    ({"mixer": "gaussian(sigma=0.3"}, r"^mixer 'gaussian\(sigma=0.3' cannot be read: write NAME"),
    ({"mixer": "gaussian(sigma=0.3, sigma=0.4)"}, "^mixer .* cannot be read"),
    ({"mixer": "gaussian(sigma=1e999)"}, "sigma must be .*finite"),
    ({"mixer": "bernoulli(probability='elements')"}, "^probability must be one of batch, example"),
    ({"mixer": "composite(mixers='folded')"}, "^mixers must be a list of at least one mixer"),
    ({"mixer": "composite(mixers=('folded',))"}, "^FoldedMixup .* cannot join"),
    ({"mixer": "composite(mixers=())"}, "^mixers must be a list of at least one mixer"),
    ({"mixer": "composite(mixers=3)"}, "mixers"),
    ({"mixer": "composite(weights=3)"}, "weights"),
    ({"mixer": "composite(weights=('a', 'b'))"}, "weights"),
    (
        {"method": "acai_original(critic_blend=1.01)"},
        r"^critic_blend must lie in 0 to 1; got 1\.01",
    ),
    ({"method": "acai_original(adversarial_weight=-1)"}, "^adversarial_weight must be a finite"),
    ({"method": "gaia(balance_target=2)"}, "^balance_target must lie in 0 to 1; got 2"),
    ({"method": "gaia(balance_rate=1e999)"}, "balance_rate must be .*finite"),
    ({"method": "beta_vae(kl_weight=-4)"}, "^kl_weight must be a finite number of at least 0"),
    ({"method": "supervised_amr(class_weight='x')"}, "^class_weight of method .* must be a number"),
    (
        {"method": "supervised_amr(label_mixer='mixup')"},
        "^label_mixer must be a mixer that mixes b",
    ),
    ({"method": "supervised_amr(label_mixer=None)"}, "label_mixer"),
    (
        {"method": "supervised_amr(label_mixer='supervised_bernoulli(condition=\"parent\")')"},
        "^Unknown condition 'parent'. Did you mean 'parents'",
    ),
    (
        {"method": "supervised_amr(label_mixer='supervised_bernoulli(hidden_units=5)')"},
        "hidden_units",
    ),
    (
        {"autoencoder_optimizer": "adam_l2(beta_1=1.0)"},
        r"^beta_1 must be at least 0 and below 1; got 1",
    ),
    (
        {"discriminator_optimizer": "adam_l2(epsilon=-1e-9)"},
        "^epsilon must be a finite number of at",
    ),
    ({"probe_optimizer": "adam_l2(learning_rate=1e999)"}, "learning_rate must be .*finite"),
    ({"probe_optimizer": "adam(learning_rate=1e999)"}, "learning_rate must be .*finite"),
    ({"autoencoder_optimizer": "adam_l2(weight_decay=0.1)"}, "^AdamL2 takes l2_weight_decay"),
    ({"autoencoder_optimizer": "adam(clipnorm='x')"}, "clipnorm"),
    ({"autoencoder_optimizer": "adam(gradient_accumulation_steps='x')"}, "gradient_accumulation"),
    (
        {"autoencoder_optimizer": "adam(learning_rate=cosine_decay(decay_steps=3))"},
        "^learning rate schedule 'cosine_decay' needs its parameter initial_learning_rate",
    ),
    (
        {
            "autoencoder_optimizer": "adam(learning_rate=cosine_decay(initial_learning_rate=1e-3, "
            "decay_steps='x'))"
        },
        "decay_steps",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_CALLS, ids=str)
def test_a_wrong_value_in_a_call(changes, message):
    assert_refused(message, **changes)


@pytest.mark.parametrize("value", (-1, 3))
def test_verbose(value):
    assert_refused(rf"^verbose must be 0, 1 or 2; got {value}\.$", verbose=value)


@pytest.mark.parametrize("changes", ({}, {"method": "vae"}, {"mixer": "composite"}))
def test_a_mixer_needs_two_codes(changes):
    assert_refused(r"^k must be an integer of at least 2; got 1\.$", k=1, **changes)


def test_k_and_the_batch():
    TrainingConfig(k=4, batch_size=4).validate()
    assert_refused(r"^A batch of 4 is too small to mix k = 5 examples", k=5, batch_size=4)


@pytest.mark.parametrize(("method", "kind"), [("acai", "ACAI"), ("acai_original", "OriginalACAI")])
def test_acai_needs_pairs(method, kind):
    message = rf"^{kind} needs a mixer of k = 2, .*; got "
    assert_refused(message + r"k = 3\.$", method=method, mixer="mixup", k=3)
    assert_refused(message + r"none\.$", method=method, mixer="none")


@pytest.mark.parametrize("method", sorted({*METHOD_VALUES} - {"ae_gan"}))
def test_a_mixer_by_labels_is_no_mixer_of_codes(method):
    message = "^mixer supervised_bernoulli mixes by labels: it is for supervised_amr, as its label"
    assert_refused(message, method=method, mixer="supervised_bernoulli")


# Changed settings.


def test_replace_leaves_the_original():
    config = TrainingConfig()
    assert config.replace(k=3) == TrainingConfig(k=3)
    assert config == TrainingConfig()


def test_values_of_fields_and_of_parameters():
    config = TrainingConfig(mixer="gaussian")
    changed = config.with_values({"mixer.sigma": 0.3, "lambda_": 5.0})
    assert changed == config.replace(mixer="gaussian(sigma=0.3)", lambda_=5.0)
    assert config == TrainingConfig(mixer="gaussian")
    # A field may be chosen together with its parameters, in any order.
    changed = TrainingConfig().with_values({"mixer.sigma": 0.3, "mixer": "gaussian", "k": 2})
    assert (changed.mixer, changed.k) == ("gaussian(sigma=0.3)", 2)
    # Other parameters are kept, and two of one field are both set.
    start = TrainingConfig(architecture="convolutional(latent_channels=3)")
    changed = start.with_values({"architecture.depth": 8, "architecture.latent_width": 2})
    assert parse_call(changed.architecture).arguments == {
        "latent_channels": 3,
        "latent_width": 2,
        "depth": 8,
    }


@pytest.mark.parametrize("method", ("acai_original", "vae"))
def test_parameters_of_what_is_left_to_the_method(method):
    values = {"autoencoder_optimizer.learning_rate": 0.5, "architecture.depth": 4}
    config = TrainingConfig(method=method).with_values(values)
    config.validate()
    resolved = TrainingConfig(method=method).resolve()
    for field, parameter, value in (
        ("autoencoder_optimizer", "learning_rate", 0.5),
        ("architecture", "depth", 4),
    ):
        call = parse_call(getattr(resolved, field))
        assert parse_call(getattr(config.resolve(), field)) == call._replace(
            arguments={**call.arguments, parameter: value}
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mixer.sigma": 0.3}, "^Unknown parameter of mixer 'mixup': 'sigma'"),
        ({"mixer.sigma": "x", "mixer": "gaussian"}, "^sigma of mixer 'gaussian' must be a number"),
        ({"method": "ae_gan", "mixer.sigma": 0.3}, "mixer"),
        (
            {"method": "vae", "discriminator_optimizer.learning_rate": 0.3},
            "discriminator_optimizer",
        ),
        ({"run_dir.x": 3}, "run_dir"),
        ({"nonsense": 3}, "nonsense"),
        ({"nonsense.x": 3}, "nonsense"),
    ],
    ids=str,
)
def test_values_of_what_is_not_there(values, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig().with_values(values)


# Resumed runs.


def test_what_may_change_in_a_resumed_run():
    assert set(RESUMABLE) == {
        "run_dir",
        "data_dir",
        "epochs",
        "sample_every",
        "checkpoint_every",
        "patience",
        "max_minutes",
        "verbose",
        "steps_per_execution",
        "on_nan",
        "trackers",
    }


@pytest.mark.parametrize("name", NAMES)
def test_conflicts(name):
    config = TrainingConfig()
    expected = [] if name in RESUMABLE else [name]
    assert config.conflicts(config.replace(**{name: OTHERS[name]})) == expected


def test_all_conflicts_are_named():
    expected = [name for name in NAMES if name not in RESUMABLE]
    assert TrainingConfig().conflicts(TrainingConfig(**OTHERS)) == expected


# The files in configs/. What the paper says: section 4.1 and the captions and best rows of tables
# 1 and 3.
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
    dataset, k, lambda_, latent_size, epochs = PAPER[name]
    assert (
        parse(f"--flagfile={path}").resolve()
        == TrainingConfig(
            run_dir=f"runs/{name}",
            dataset=dataset,
            method="amr",
            mixer="mixup",
            k=k,
            lambda_=lambda_,
            beta=0.0,
            reconstruction_loss="mean_absolute_error",
            gan_loss="binary_crossentropy",
            architecture=f"convolutional(latent_channels={latent_size // 16})",
            epochs=epochs,
            batch_size=64,
            **dict.fromkeys(
                ("autoencoder_optimizer", "discriminator_optimizer", "probe_optimizer"),
                ADAM_L2 + ")",
            ),
        ).resolve()
    )
    # What the comment says is what the flags say.
    comment = path.read_text().split("--", 1)[0]
    assert re.search(r"d_h = (\d+)", comment).group(1) == str(latent_size)
    if match := re.search(r"k = (\d+)", comment):
        assert match.group(1) == str(k)
