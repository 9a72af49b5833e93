"""Parity with recorded steps of PyTorch implementations; see replay_golden.py."""

import functools
import pathlib

import keras
import numpy as np
import pytest

from amr_tf import ACAI, AdamL2
from amr_tf.mixers import FoldedMixup
from amr_tf.models import OriginalACAI
from tests import replay_golden

HERE = pathlib.Path(__file__).parent
VENDORED = sorted((HERE / "golden").glob("*.npz"))
AE_GAN = HERE / "golden" / "aegan_every2.npz"
AMR_MSE = HERE / "golden" / "amr_mixup_k3_mse_beta1.npz"
ORIGINAL_ACAI = HERE / "golden" / "acai_original_k2.npz"
SHARED_FOLDER = HERE.parent.parent / "shared" / "golden"
PATTERNS = ("amr_*.npz", "aegan_*.npz", "acai_*.npz")
SHARED = [path for pattern in PATTERNS for path in sorted(SHARED_FOLDER.glob(pattern))]
ACAI_FILES = [path for path in SHARED if path.stem.startswith("acai")]


def failures(results):
    return [check for check in results if not check.passed]


@functools.cache
def replayed(path):
    return replay_golden.replay(*replay_golden.read(path))


def first_step(path, **change):
    """The checks of the first step alone, of a replay that is wrong in it."""
    meta, arrays = replay_golden.read(path)
    return replay_golden.replay({**meta, **change}, arrays, steps=1)


@pytest.mark.parametrize("path", VENDORED + SHARED, ids=lambda path: path.stem)
def test_replays(path):
    results = replayed(path)
    assert not failures(results)
    assert len(results) > 100


def test_vendored_cases_are_there():
    assert {AE_GAN, AMR_MSE, ORIGINAL_ACAI} <= set(VENDORED)
    assert len(VENDORED) >= 5


@pytest.mark.parametrize("path", VENDORED, ids=lambda path: path.stem)
def test_vendored_weights_to_tighter_bounds(path):
    """Our own recordings agree closely enough to tell a wrong epsilon or a missing decay."""
    for check in replayed(path):
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
    assert failures(first_step(HERE / "golden" / "amr_mixup_k3_beta.npz", **change))


class HalfTarget(ACAI):
    """The critic's target is min(alpha, 1 - alpha), as in the original's code."""

    def discriminator_losses(self, step):
        loss, terms = super().discriminator_losses(step)
        alpha = keras.ops.reshape(step.coefficients[:, 0], (-1,))
        right = 2 * keras.ops.minimum(alpha, 1 - alpha)
        loss = loss - self.gan_loss(step.logits["mix"], right)
        return loss + self.gan_loss(step.logits["mix"], right / 2), terms


class FromOnes(ACAI):
    """Real images have target 1, as a GAN's."""

    def discriminator_losses(self, step):
        loss, terms = super().discriminator_losses(step)
        loss = loss - self.gan_loss(step.logits["real"], 0.0)
        return loss + self.gan_loss(step.logits["real"], 1.0), terms


class OnesForReconstructions(ACAI):
    """Reconstructions have target 1."""

    def discriminator_losses(self, step):
        loss, terms = super().discriminator_losses(step)
        loss = loss - self.gan_loss(step.logits["reconstruction"], 0.0)
        return loss + self.gan_loss(step.logits["reconstruction"], 1.0), terms


class TowardsOnes(ACAI):
    """The auto-encoder drives D(mix) to 1, as a GAN's would."""

    def autoencoder_losses(self, step):
        loss, terms = super().autoencoder_losses(step)
        loss = loss - self.gan_loss(step.logits["mix"], 0.0)
        return loss + self.gan_loss(step.logits["mix"], 1.0), terms


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
        found = {check.name for check in failures(first_step(path))}
        assert f"step0/loss/{loss}" in found
        if network is not None:
            assert f"after/{network}: share off by more than 1e-06" in found


# The consistency of mixes.


@pytest.mark.parametrize("change", [{"consistency_loss": "mean_absolute_error"}, {"beta": 0.5}])
def test_another_consistency_fails(change):
    """AMR's default measures codes with the reconstruction loss, here the squared error."""
    assert "consistency_loss" not in replay_golden.read(AMR_MSE)[0]
    found = {check.name for check in failures(first_step(AMR_MSE, **change))}
    assert "step0/loss/gen_loss" in found
    assert ("step0/loss/consist" in found) == ("consistency_loss" in change)
    assert "step0/loss/d_x" not in found


def test_the_usual_consistency_by_name():
    meta, arrays = replay_golden.read(AMR_MSE)
    meta["consistency_loss"] = meta["reconstruction_loss"]
    assert not failures(replay_golden.replay(meta, arrays))


# The original ACAI.


def test_partners_of_the_original_acai():
    """The recorded partners are our mixer's, and alpha is folded."""
    _, arrays = replay_golden.read(ORIGINAL_ACAI)
    for step in ("step0", "step1"):
        perms = arrays[f"{step}/perms"]
        np.testing.assert_array_equal(FoldedMixup().draw_permutations(perms.shape[1]), perms)
        alpha = arrays[f"{step}/coefficients"][:, 0]
        assert 0 <= alpha.min() < alpha.max() <= 0.5
        np.testing.assert_allclose(alpha, 1 - arrays[f"{step}/coefficients"][:, 1], atol=1e-7)


@pytest.mark.parametrize(
    ("change", "loss"),
    [
        ({"lambda_": 2.0}, "gen_loss"),
        ({"adversarial_weight": 1.0}, "gen_loss"),
        ({"reconstruction_loss": "mean_absolute_error"}, "recon"),
        ({"critic_blend": 0.8}, "d_x"),
        ({"critic_blend": 0.0}, "d_x"),
        ({"gan_loss": "binary_crossentropy"}, "d_x"),
    ],
)
def test_another_setting_of_the_original_acai_fails(change, loss):
    found = {check.name for check in failures(first_step(ORIGINAL_ACAI, **change))}
    assert f"step0/loss/{loss}" in found


class PortTarget(OriginalACAI):
    """The critic's target is 2 alpha, as the port's."""

    def discriminator_losses(self, step):
        loss, terms = super().discriminator_losses(step)
        alpha = keras.ops.reshape(step.coefficients[:, 0], (-1,))
        loss = loss - self.gan_loss(step.logits["mix"], alpha)
        return loss + self.gan_loss(step.logits["mix"], 2 * alpha), terms


class PartnersTarget(OriginalACAI):
    """The critic's target is the partner's share."""

    def discriminator_losses(self, step):
        loss, terms = super().discriminator_losses(step)
        alpha = keras.ops.reshape(step.coefficients[:, 0], (-1,))
        loss = loss - self.gan_loss(step.logits["mix"], alpha)
        return loss + self.gan_loss(step.logits["mix"], 1 - alpha), terms


class TowardsHalf(OriginalACAI):
    """The auto-encoder drives D(mix) to 1/2."""

    def autoencoder_losses(self, step):
        loss, terms = super().autoencoder_losses(step)
        loss = loss - self.adversarial_weight * self.gan_loss(step.logits["mix"], 0.0)
        return loss + self.adversarial_weight * self.gan_loss(step.logits["mix"], 0.5), terms


@pytest.mark.parametrize(
    ("wrong", "loss"), [(PortTarget, "d_x"), (PartnersTarget, "d_x"), (TowardsHalf, "gen_loss")]
)
def test_another_target_of_the_original_acai_fails(wrong, loss, monkeypatch):
    monkeypatch.setitem(replay_golden.METHODS, "acai_original", wrong)
    found = {check.name for check in failures(first_step(ORIGINAL_ACAI))}
    assert f"step0/loss/{loss}" in found


@pytest.mark.parametrize("l2_weight_decay", [0.0, 1e-5])
def test_the_original_acai_does_not_use_adam_l2(l2_weight_decay, monkeypatch):
    """Its authors' Adam is TensorFlow's, with epsilon before the bias correction, and no decay."""

    def adam_l2(meta):
        moments = {name: meta[name] for name in ("beta_1", "beta_2", "epsilon")}
        return AdamL2(meta["learning_rate"], **moments, l2_weight_decay=l2_weight_decay)

    monkeypatch.setattr(replay_golden, "build_optimizer", adam_l2)
    found = {check.name for check in failures(first_step(ORIGINAL_ACAI))}
    for network in ("encoder", "decoder", "discriminator"):
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
    wrong = (
        check.name
        for path in VENDORED  # The first that finds it ends the search.
        for check in failures(first_step(path))
    )
    assert "after/discriminator: share off by more than 1e-06" in wrong


def test_wrong_weights_fail(tmp_path):
    with np.load(AE_GAN, allow_pickle=False) as archive:
        arrays = dict(archive)
    name = next(name for name in arrays if name.startswith("after/decoder/"))
    arrays[name] = arrays[name] + 1e-3
    np.savez(tmp_path / "wrong.npz", **arrays)
    assert replay_golden.main(["--quiet", str(tmp_path / "wrong.npz")]) == 1


def test_command(capsys):
    assert replay_golden.main([str(AE_GAN)]) == 0
    assert "step0/loss/gen_loss" in capsys.readouterr().out


def test_unknown_method_fails_and_the_others_still_run(tmp_path, capsys):
    with np.load(AE_GAN, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays["meta"] = np.array(str(arrays["meta"]).replace("ae_gan", "vae"))
    np.savez(tmp_path / "vae.npz", **arrays)
    assert replay_golden.main(["--quiet", str(tmp_path / "vae.npz"), str(AE_GAN)]) == 1
    printed = capsys.readouterr().out
    assert "method 'vae' is not one of amr, ae_gan" in printed
    assert "passed: " in printed


def test_not_a_golden_file(tmp_path):
    (tmp_path / "x.npz").write_text("no")
    with pytest.raises(SystemExit, match="is not a golden file"):
        replay_golden.main([str(tmp_path / "x.npz")])


@pytest.mark.parametrize(
    ("shares", "tried", "passed"),
    [
        ([0.0], 1, True),
        ([0.002, 0.002, 0.0], 3, True),
        ([0.02, 0.0], 1, False),
        ([0.002, 0.02, 0.0], 2, False),
        ([0.002] * 6 + [0.0], 7, True),
        ([0.002] * 7 + [0.0], 7, False),
    ],
)
def test_a_kink_is_tried_on_its_other_side(shares, tried, passed, monkeypatch):
    """A few weights that are off are replayed with pixels moved by rounding; many are not."""
    meta, arrays = replay_golden.read(AE_GAN)
    seen = []

    def replay_once(meta, arrays, steps):
        seen.append(arrays["step0/x"])
        difference = shares[len(seen) - 1]
        return [replay_golden.Check("after/decoder: share", difference, replay_golden.SHARE_0)]

    monkeypatch.setattr(replay_golden, "replay_once", replay_once)
    assert (not failures(replay_golden.replay(meta, arrays))) == passed
    assert len(seen) == tried
    for x in seen[1:]:
        assert 0 < np.abs(x - seen[0]).max() < 1e-6
