"""Exports in a TF1 session, as TF Serving holds them, where there is no amr_tf."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from amr_tf.savedmodel import replay
from amr_tf.savedmodel.export import write_saved_model
from amr_tf.savedmodel.signatures import endpoints
from amr_tf.savedmodel.verify import TOLERANCE, example_requests, write_record
from tests.savedmodel import session_replay
from tests.savedmodel.conftest import make_images, make_model

pytestmark = pytest.mark.slow


def replayed(models, folder):
    """What the script prints of each model's SavedModel."""
    arguments = []
    for number, model in enumerate(models):
        version, record = folder / str(number), folder / f"{number}.npz"
        write_saved_model(model, version)
        write_record(record, example_requests(model, make_images(model, 2)))
        arguments += [str(version), str(record)]
    hidden = {"PYTHONPATH", "CUDA_VISIBLE_DEVICES"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    script = pathlib.Path(session_replay.__file__).resolve()
    done = subprocess.run(
        [sys.executable, str(script), str(pathlib.Path(replay.__file__).resolve()), *arguments],
        cwd=folder,
        env={**environment, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_signature(model, labels_model, tmp_path):
    """Of models that between them have all that an export can have."""
    variational = make_model("vae", image_shape=(8, 8, 1), architecture="convolutional", depth=2)
    models = (model, labels_model, variational)
    answers = replayed(models, tmp_path)
    for one, differences in zip(models, answers, strict=True):
        assert set(differences) == set(endpoints(one))
        for name, (from_loaded, from_model) in differences.items():
            assert from_loaded <= 1e-6, name
            assert from_model <= 10 * TOLERANCE, name
    assert {"sample", "mix_labels", "encode_png", "decode_png"} < set().union(*answers)
