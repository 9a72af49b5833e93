"""Parity with recorded steps of PyTorch implementations; see replay_golden.py."""

import pathlib

import keras
import numpy as np
import pytest

from amr_tf import ACAI, AdamL2
from tests import replay_golden

HERE = pathlib.Path(__file__).parent
VENDORED = sorted((HERE / "golden").glob("*.npz"))
SHARED_FOLDER = HERE.parent.parent / "shared" / "golden"
PATTERNS = ("amr_*.npz", "aegan_*.npz", "acai_*.npz")
SHARED = [path for pattern in PATTERNS for path in sorted(SHARED_FOLDER.glob(pattern))]
ACAI_FILES = [path for path in SHARED if path.stem.startswith("acai")]


def failures(results):
    return [check for check in results if not check.passed]


@pytest.mark.parametrize("path", VENDORED + SHARED, ids=lambda path: path.stem)
def test_replays(path):
    results = replay_golden.replay(*replay_golden.read(path))
    assert not failures(results)
    assert len(results) > 100


def test_vendored_cases_are_there():
    assert len(VENDORED) >= 3


@pytest.mark.parametrize("path", VENDORED, ids=lambda path: path.stem)
def test_vendored_weights_to_tighter_bounds(path):
    """Our own recordings agree closely enough to tell a wrong epsilon or a missing decay."""
    results = replay_golden.replay(*replay_golden.read(path))
    for check in results:
        if check.name.startswith("after/") and "share" in check.name:
            assert check.difference == 0
        if check.name.startswith("after_last/") and "mean" in check.name:
            assert check.difference < 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"lambda_": 11.0},
        {"learning_rate": 2e-4},
        {"l2_weight_decay": 0.0},
        {"reconstruction_loss": "mean_squared_error"},
        {"gan_loss": "least_squares"},
        {"beta": 0.0},
        {"leaky_relu_slope": 0.2},
    ],
)
def test_another_setting_fails(change):
    """The replay can fail: each setting matters to the recorded numbers."""
    path = HERE / "golden" / "amr_mixup_k3_beta.npz"
    meta, arrays = replay_golden.read(path)
    assert failures(replay_golden.replay({**meta, **change}, arrays))


class HalfTarget(ACAI):
    """The critic's target is min(alpha, 1 - alpha), as in the original's code."""

    def discriminator_losses(self, step):
        loss, terms = super().discriminator_losses(step)
        alpha = keras.ops.reshape(step.coefficients[:, 0], (-1,))
        right = 2 * keras.ops.minimum(alpha, 1 - alpha)
        loss = loss - self._gan_loss(step.verdicts["mix"], right)
        return loss + self._gan_loss(step.verdicts["mix"], right / 2), terms


class FromOnes(ACAI):
    """Real images have target 1, as a GAN's."""

    def discriminator_losses(self, step):
        loss, terms = super().discriminator_losses(step)
        loss = loss - self._gan_loss(step.verdicts["real"], 0.0)
        return loss + self._gan_loss(step.verdicts["real"], 1.0), terms


class OnesForReconstructions(ACAI):
    """Reconstructions have target 1."""

    def discriminator_losses(self, step):
        loss, terms = super().discriminator_losses(step)
        loss = loss - self._gan_loss(step.verdicts["reconstruction"], 0.0)
        return loss + self._gan_loss(step.verdicts["reconstruction"], 1.0), terms


class TowardsOnes(ACAI):
    """The auto-encoder drives D(mix) to 1, as a GAN's would."""

    def autoencoder_losses(self, step):
        loss, terms = super().autoencoder_losses(step)
        loss = loss - self._gan_loss(step.verdicts["mix"], 0.0)
        return loss + self._gan_loss(step.verdicts["mix"], 1.0), terms


@pytest.mark.skipif(not ACAI_FILES, reason="no ACAI golden file beside this checkout")
@pytest.mark.parametrize(
    ("wrong", "loss", "network"),
    [
        (HalfTarget, "d_x", "discriminator"),
        (FromOnes, "d_x", "discriminator"),
        (OnesForReconstructions, "d_x", "discriminator"),
        (TowardsOnes, "gen_loss", None),
    ],
)
def test_another_target_of_acai_fails(wrong, loss, network, monkeypatch):
    """The recorded numbers tell the variants apart.

    In the critic's update, too; the auto-encoder's first one follows the sign of a gradient that
    is the reconstruction's nearly everywhere.
    """
    monkeypatch.setitem(replay_golden.METHODS, "acai", wrong)
    for path in ACAI_FILES:
        results = replay_golden.replay(*replay_golden.read(path))
        found = {check.name for check in failures(results)}
        assert f"step0/loss/{loss}" in found
        if network is not None:
            assert f"after/{network}: share off by more than 1e-06" in found


# The pixels whose error has no sure sign.


def test_no_pixel_is_moved_where_the_signs_agree():
    x = np.linspace(-1, 1, 9, dtype="float32")
    ours = x + np.float32(0.1) * np.array([1, -1, 1] * 3, "float32")
    recorded = ours + np.float32(1e-3)
    np.testing.assert_array_equal(replay_golden.off_the_kink(x, ours, recorded), x)
    np.testing.assert_array_equal(replay_golden.off_the_kink(x, x, x), x)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("rounding", [1e-7, 1e-6, 4e-5])
def test_pixels_on_the_kink_are_moved_to_the_recorded_side(rounding, side):
    x = np.linspace(-1, 1, 9, dtype="float32").reshape(3, 3)
    ours, recorded = x + np.float32(0.1), x + np.float32(0.1)
    ours[1, 1] = x[1, 1] + side * rounding
    recorded[1, 1] = x[1, 1] - side * rounding
    moved = replay_golden.off_the_kink(x, ours, recorded)
    assert moved.dtype == "float32"
    changed = np.zeros((3, 3), bool)
    changed[1, 1] = True
    np.testing.assert_array_equal(moved != x, changed)
    assert np.sign(moved[1, 1] - ours[1, 1]) == side == np.sign(x[1, 1] - recorded[1, 1])
    assert abs(moved[1, 1] - x[1, 1]) <= replay_golden.IMAGE_0


@pytest.mark.parametrize("error", [1e-2, 2e-4])
def test_a_real_disagreement_is_left(error):
    """Then nothing is moved, not even a pixel that is on the kink."""
    x = np.zeros((3, 3), "float32")
    ours, recorded = x + np.float32(0.1), x + np.float32(0.1)
    ours[0, 0], recorded[0, 0] = 1e-7, -1e-7
    assert replay_golden.off_the_kink(x, ours, recorded)[0, 0] != 0
    ours[1, 1], recorded[1, 1] = error, -error
    np.testing.assert_array_equal(replay_golden.off_the_kink(x, ours, recorded), x)


def test_epsilon_before_the_bias_correction_fails(monkeypatch):
    """Keras' Adam puts it there: its updates are not the recorded ones."""

    class KerasEpsilon(AdamL2):
        def update_step(self, gradient, variable, learning_rate):
            gradient = gradient + self.l2_weight_decay * keras.ops.convert_to_tensor(variable)
            keras.optimizers.Adam.update_step(self, gradient, variable, learning_rate)

    monkeypatch.setattr(replay_golden, "AdamL2", KerasEpsilon)
    wrong = set()
    for path in VENDORED:
        wrong |= {check.name for check in failures(replay_golden.replay(*replay_golden.read(path)))}
    assert "after/discriminator: share off by more than 1e-06" in wrong


def test_wrong_weights_fail(tmp_path):
    with np.load(VENDORED[0], allow_pickle=False) as archive:
        arrays = dict(archive)
    name = next(name for name in arrays if name.startswith("after/decoder/"))
    arrays[name] = arrays[name] + 1e-3
    np.savez(tmp_path / "wrong.npz", **arrays)
    assert replay_golden.main(["--quiet", str(tmp_path / "wrong.npz")]) == 1


def test_command(capsys):
    assert replay_golden.main([str(VENDORED[0])]) == 0
    assert "step0/loss/gen_loss" in capsys.readouterr().out


def test_unknown_method_fails_and_the_others_still_run(tmp_path, capsys):
    with np.load(VENDORED[0], allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays["meta"] = np.array(str(arrays["meta"]).replace("ae_gan", "vae"))
    np.savez(tmp_path / "vae.npz", **arrays)
    assert replay_golden.main(["--quiet", str(tmp_path / "vae.npz"), str(VENDORED[0])]) == 1
    printed = capsys.readouterr().out
    assert "method 'vae' is not one of amr, ae_gan" in printed
    assert "passed: " in printed


def test_not_a_golden_file(tmp_path):
    (tmp_path / "x.npz").write_text("no")
    with pytest.raises(SystemExit, match="is not a golden file"):
        replay_golden.main([str(tmp_path / "x.npz")])
