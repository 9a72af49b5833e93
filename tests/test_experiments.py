"""A run from its config to its results."""

import json

import pytest

from amr_tf.experiments import train
from amr_tf.training.folder import RunFolder
from tests.training.conftest import tiny_config


def test_final_probes_can_be_chosen_or_left_out(tmp_path):
    config = tiny_config(tmp_path / "run", epochs=1)
    results = train(config, probes=())
    assert list(results) == ["best_val_probe_accuracy", "best_epoch", "validation", "test"]
    assert json.loads(RunFolder(config.run_dir).results.read_text()) == results
    probed = train(config, resume=True, probes=("knn",))  # Nothing is left to train.
    assert probed.pop("knn_probe")["test_accuracy"] > 0.1
    assert probed == results


def test_an_unknown_final_probe_is_told_before_anything_is_trained(tmp_path):
    config = tiny_config(tmp_path / "run")
    with pytest.raises(ValueError, match="^Unknown probe 'svm'"):
        train(config, probes=("linear", "svm"))
    assert not (tmp_path / "run").exists()
