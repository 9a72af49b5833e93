"""Parity with recorded steps of PyTorch implementations; see replay_golden.py."""

import pathlib

import keras
import numpy as np
import pytest

from amr_tf import AdamL2
from tests import replay_golden

HERE = pathlib.Path(__file__).parent
VENDORED = sorted((HERE / "golden").glob("*.npz"))
SHARED_FOLDER = HERE.parent.parent / "shared" / "golden"
SHARED = sorted(SHARED_FOLDER.glob("amr_*.npz")) + sorted(SHARED_FOLDER.glob("aegan_*.npz"))


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
