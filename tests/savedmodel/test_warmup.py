"""Warm-up requests: read back and replayed against the SavedModel."""

import sys

import pytest
import tensorflow as tf

from amr_tf.savedmodel.export import write_saved_model
from amr_tf.savedmodel.verify import example_requests
from amr_tf.savedmodel.warmup import WARMUP_FILE, write_warmup
from tests.savedmodel.conftest import make_images


def test_the_requests_are_answered(labels_model, tmp_path):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    requests = example_requests(labels_model, make_images(labels_model, 3))
    write_saved_model(labels_model, tmp_path / "1")
    assert write_warmup(tmp_path / "1", "faces", requests, pytest.fail)
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    seen = []
    for record in tf.data.TFRecordDataset(str(tmp_path / "1" / WARMUP_FILE)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "faces"
        name = request.model_spec.signature_name
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        answers = signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        for value in answers.values():
            assert value.shape[0] == 1
        seen.append(name)
    assert sorted(seen) == sorted(signatures)
    assert "mix_labels" in seen


def test_without_the_package(labels_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    said = []
    assert not write_warmup(tmp_path, "faces", {}, said.append)
    assert said == [
        "No warm-up requests: they need the package tensorflow-serving-api "
        "(pip install 'amr-tf[tf-serving]')."
    ]
    assert list(tmp_path.iterdir()) == []
