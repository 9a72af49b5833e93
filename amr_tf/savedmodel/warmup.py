"""Warm-up requests that TF Serving replays when it loads a version, so that no client waits."""

import pathlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from amr_tf.savedmodel.verify import Requests

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def write_warmup(
    path: str | pathlib.Path,
    name: str,
    requests: Requests,
    notify: Callable[[str], Any] = print,
) -> bool:
    """Writes a version's warm-up file: one request with a single example for each signature.

    Args:
        path: the version folder.
        name: the servable's name.
        requests: dictionary from signatures to pairs of dictionaries of arrays, inputs and outputs.
        notify: called with a message if tensorflow-serving-api is not installed, in which case
            nothing is written.

    Returns:
        Whether the file was written.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        notify(
            "No warm-up requests: they need the package tensorflow-serving-api "
            "(pip install 'amr-tf[tf-serving]')."
        )
        return False
    file = pathlib.Path(path) / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, (inputs, _) in requests.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            for key, value in inputs.items():
                # Scalars, such as a seed, have no batch axis.
                one = value if value.ndim == 0 else value[:1]
                request.inputs[key].CopyFrom(tf.make_tensor_proto(one))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
    return True
