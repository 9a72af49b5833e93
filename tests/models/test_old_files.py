"""Files that version 0.1 wrote before its settings changed: they load whole, and train on."""

import json
import pathlib
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest

from amr_tf import AMR, GAIA, VAE, AdamL2, OriginalACAI, SupervisedAMR, losses
from tests.models.helpers import values

FOLDER = pathlib.Path(__file__).parents[1] / "files_of_0_1"
CODES = np.load(FOLDER / "codes.npz")
IMAGES = CODES["images"]
LABELS = np.arange(len(IMAGES)) % 2

# What each was compiled with.
EXPECTED = {
    "amr": (
        AMR,
        {
            "reconstruction_loss": losses.mean_squared_error,
            # Measured so whatever the reconstruction loss, when the file was written.
            "consistency_loss": losses.mean_absolute_error,
            "gan_loss": losses.gan_binary_crossentropy,
            "lambda_": 10.0,
            "beta": 0.5,
        },
    ),
    "supervised_amr": (
        SupervisedAMR,
        {
            "reconstruction_loss": losses.mean_absolute_error,
            "gan_loss": losses.gan_binary_crossentropy,
            "class_weight": 2.0,
            "lambda_": 10.0,
        },
    ),
    "acai_original": (
        OriginalACAI,
        {
            "reconstruction_loss": losses.mean_squared_error,
            "gan_loss": losses.gan_least_squares,
            "lambda_": 1.0,
            "critic_blend": 0.3,
            "adversarial_weight": 0.5,
        },
    ),
    "gaia": (
        GAIA,
        {
            "reconstruction_loss": losses.mean_absolute_error,
            "gan_loss": None,  # The file names one, which GAIA never used.
            "lambda_": 10.0,
            "balance_target": 0.5,
            "balance_rate": 0.02,
        },
    ),
    "vae": (
        VAE,
        {
            "reconstruction_loss": losses.mean_absolute_error,
            "gan_loss": None,
            "lambda_": 1.0,
            "kl_weight": 2.0,
        },
    ),
}


def load(name):
    """The model in a file, loaded without a warning: one would say that something was skipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return keras.saving.load_model(FOLDER / f"{name}.keras")


def stored(path):
    """The numbers in a saved model by the name of their group."""
    found = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item)

    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as weights:
        h5py.File(weights).visititems(note)
    return found


def test_every_file_is_expected():
    assert {path.stem for path in FOLDER.glob("*.keras")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_codes_and_settings(name):
    method, settings = EXPECTED[name]
    model = load(name)
    assert type(model) is method
    np.testing.assert_allclose(model.encode(IMAGES), CODES[name], atol=1e-5)
    for setting, value in settings.items():
        assert getattr(model, setting) == value, setting
    assert model.generator_update_every == 1
    assert model.step == "one_pass"
    for player in model.players.values():
        assert type(player.optimizer) is AdamL2


@pytest.mark.parametrize("name", EXPECTED)
def test_saved_anew_it_holds_the_same_numbers(name, tmp_path):
    """Weights, states and all optimizers' moments, under the names that they had."""
    load(name).save(tmp_path / "again.keras")
    before, after = stored(FOLDER / f"{name}.keras"), stored(tmp_path / "again.keras")
    # Metrics are not what a training goes on with; there are more of them than there were.
    before, after = (
        {key: value for key, value in one.items() if "_trackers" not in key}
        for one in (before, after)
    )
    assert before.keys() == after.keys()
    assert len(before) > 60
    for key, value in before.items():
        np.testing.assert_array_equal(value, after[key], err_msg=key)


@pytest.mark.parametrize("name", EXPECTED)
def test_it_trains_on(name):
    model = load(name)
    steps = model.steps_made
    assert steps == 2
    for player in model.players.values():
        assert int(player.optimizer.iterations) == steps
        moments = values(player.optimizer.variables)[2:]
        assert moments
        assert max(np.abs(moment).max() for moment in moments) > 0
    before = values(model.autoencoder_variables)
    history = model.fit(IMAGES, LABELS, batch_size=8, verbose=0, shuffle=False).history
    assert model.steps_made == steps + 2
    assert all(np.isfinite(numbers).all() for numbers in history.values())
    for old, new in zip(before, values(model.autoencoder_variables), strict=True):
        assert not np.array_equal(old, new)


def test_the_next_step_is_made_with_the_moments_of_the_file():
    """Adam's third step, written out: a fresh optimizer would make its first."""
    model = load("amr")
    optimizer, variables = model.players["discriminator"]
    index = next(i for i, one in enumerate(variables) if "scale0_b" in one.path)
    momentum, velocity = (
        np.asarray(moments[index], "float64")
        for moments in (optimizer._momentums, optimizer._velocities)
    )
    before = np.asarray(variables[index], "float64")
    model.train_on(IMAGES, LABELS)
    # The gradient, from how the first moment moved.
    gradient = (np.asarray(optimizer._momentums[index]) - 0.5 * momentum) / 0.5
    first = (0.5 * momentum + 0.5 * gradient) / (1 - 0.5**3)
    second = (0.99 * velocity + 0.01 * gradient**2) / (1 - 0.99**3)
    expected = before - 1e-4 * first / (np.sqrt(second) + 1e-8)
    np.testing.assert_allclose(variables[index], expected, atol=1e-7)
    assert np.abs(expected - before).max() > 1e-5


def with_setting(name, path, **changes):
    """A copy of a file whose compile settings are others."""
    with zipfile.ZipFile(FOLDER / f"{name}.keras") as old, zipfile.ZipFile(path, "w") as new:
        for item in old.namelist():
            content = old.read(item)
            if item == "config.json":
                config = json.loads(content)
                config["compile_config"].update(changes)
                content = json.dumps(config)
            new.writestr(item, content)
    return path


def test_a_pixel_cross_entropy_without_logits_is_refused(tmp_path):
    """The loss was computed from any decoder's images; the model itself loads."""
    path = with_setting("amr", tmp_path / "amr.keras", reconstruction_loss="binary_crossentropy")
    with pytest.raises(ValueError, match="the decoder's last layer must be") as error:
        keras.saving.load_model(path)
    assert "\n" not in str(error.value)
    model = keras.saving.load_model(path, compile=False)
    np.testing.assert_allclose(model.encode(IMAGES), CODES["amr"], atol=1e-5)
    model.compile(reconstruction_loss="mean_squared_error")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("vae", {"beta": 0.0, "gan_loss": "least_squares"}),
        ("gaia", {"beta": 0.25, "gan_loss": "least_squares"}),
        ("acai_original", {"beta": 0.25}),
    ],
)
def test_settings_that_were_stored_without_a_use(name, changes, tmp_path):
    model = keras.saving.load_model(with_setting(name, tmp_path / "file.keras", **changes))
    assert model.beta == (0.0 if name == "vae" else 0.25)
    assert model.consistency_loss is losses.mean_absolute_error
    assert np.isfinite(model.train_on(IMAGES, LABELS)["loss"])
