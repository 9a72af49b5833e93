"""Measures the latency of a decoder in several runtimes.

    python benchmarks/serving.py --export=saved_models/demo/1

All rows require an export with `--formats=keras,onnx`; rows whose file or package is missing are
left out. It prints the median and the 99th percentile of single calls in this process, without a
server's network and batching. `--threads` limits the threads per operation, in TensorFlow and in
onnxruntime. "Identity" is a TensorFlow function that does nothing, which shows the cost of a call.
"""

import argparse
import importlib.util
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import amr_tf  # noqa: F401, registers the classes that model.keras holds
import keras
import numpy as np
import tensorflow as tf

BATCHES = (1, 64)
WARM_UP = 10


def saved_model(version):
    """Returns the SavedModel's signature `decode`, as a function from codes to images."""
    decode = tf.saved_model.load(str(version)).signatures["decode"]

    def call(codes):
        return decode(codes=tf.constant(codes))["images"].numpy()

    call.keep = decode  # `main` reads the shape of codes from the signature.
    return call


def keras_predict(version):
    """Returns Keras' `predict` on the decoder of `model.keras`, or None without the file."""
    path = version / "model.keras"
    if not path.is_file():
        return None
    decoder = keras.saving.load_model(path).decoder
    return lambda codes: decoder.predict(codes, batch_size=len(codes), verbose=0)


def identity(version):
    """Returns a TensorFlow function that returns its input."""
    del version

    def same(codes):
        return tf.identity(codes)

    spec = tf.TensorSpec(None)
    same = tf.function(same, input_signature=[spec], autograph=False).get_concrete_function()
    return lambda codes: same(codes=tf.constant(codes)).numpy()


def onnx_runtime(version):
    """Returns onnxruntime's `run` on `decoder.onnx`, or None without the file or the package."""
    path = version / "decoder.onnx"
    if not path.is_file() or importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = tf.config.threading.get_intra_op_parallelism_threads()
    session = onnxruntime.InferenceSession(path, options)
    name = session.get_inputs()[0].name
    return lambda codes: session.run(None, {name: codes})[0]


RUNTIMES = {
    "SavedModel signature": saved_model,
    "Keras predict": keras_predict,
    "onnxruntime": onnx_runtime,
    "Identity": identity,
}


def milliseconds(call, codes, calls):
    """Measures the durations of single calls after a warm-up."""
    for _ in range(WARM_UP):
        call(codes)
    durations = []
    for _ in range(calls):
        began = time.perf_counter()
        call(codes)
        durations.append(1000 * (time.perf_counter() - began))
    return durations


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Latency of the decoder.")
    parser.add_argument("--export", type=pathlib.Path, required=True, help="a version's folder")
    parser.add_argument("--calls", type=int, default=200, help="calls that are timed")
    parser.add_argument("--threads", type=int, default=0, help="0 for one for each core")
    given = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    runtimes = {name: make(given.export) for name, make in RUNTIMES.items()}
    reference = runtimes["SavedModel signature"]
    shape = reference.keep.structured_input_signature[1]["codes"].shape[1:]
    print("| batch | runtime | p50 ms | p99 ms | p50 relative to the SavedModel |")
    print("|---|---|---|---|---|")
    for batch in BATCHES:
        codes = np.random.default_rng(0).normal(size=(batch, *shape)).astype("float32")
        first = None
        for name, call in runtimes.items():
            if call is None:
                continue
            if name != "Identity":
                np.testing.assert_allclose(call(codes), reference(codes), atol=1e-4)
            found = milliseconds(call, codes, given.calls)
            middle, late = np.percentile(found, (50, 99))
            first = first or middle
            print(f"| {batch} | {name} | {middle:.2f} | {late:.2f} | {middle / first:.2f} |")


if __name__ == "__main__":
    main()
