"""Parity with recorded steps of PyTorch implementations; see replay_golden.py."""

import pathlib

import numpy as np
import pytest

from tests import replay_golden

HERE = pathlib.Path(__file__).parent
VENDORED = sorted((HERE / "golden").glob("*.npz"))
SHARED_FOLDER = HERE.parent.parent / "shared" / "golden"
SHARED = sorted(SHARED_FOLDER.glob("amr_*.npz")) + sorted(SHARED_FOLDER.glob("aegan_*.npz"))


def failures(results):
    return [check for check in results if not check.passed]


@pytest.mark.parametrize("path", VENDORED + SHARED, ids=lambda path: path.stem)
def test_replays(path):
    _, results = replay_golden.replay(path)
    assert not failures(results)
    assert len(results) > 100


def test_vendored_cases_are_there():
    assert len(VENDORED) >= 3


@pytest.mark.parametrize("path", VENDORED, ids=lambda path: path.stem)
def test_vendored_weights_to_tighter_bounds(path):
    """Our own recordings agree closely enough to tell a wrong epsilon or a missing decay."""
    _, results = replay_golden.replay(path)
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
def test_another_setting_fails(change, monkeypatch):
    """The replay can fail: each setting matters to the recorded numbers."""
    path = HERE / "golden" / "amr_mixup_k3_beta.npz"
    meta, arrays = replay_golden.read(path)
    monkeypatch.setattr(replay_golden, "read", lambda _: ({**meta, **change}, arrays))
    assert failures(replay_golden.replay(path)[1])


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


def test_not_a_golden_file(tmp_path):
    (tmp_path / "x.npz").write_text("no")
    with pytest.raises(SystemExit, match="is not a golden file"):
        replay_golden.main([str(tmp_path / "x.npz")])
