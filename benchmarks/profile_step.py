"""Where the time of a training step goes, and how far it is from the machine's convolution peak:

    python benchmarks/profile_step.py

The table sums the durations of TensorFlow's operations by network and kind. Operations that run at
the same time are counted separately, so the sum exceeds the duration of the step. The peak is the
best speed of single convolutions of the networks' shapes when nothing else runs.
"""

import argparse
import collections
import os
import pathlib
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import amr_tf
import keras
import tensorflow as tf
from amr_tf.fused import DeferredConv2D, UpsampledConv2D
from tensorflow.tsl.profiler.protobuf import xplane_pb2

STEPS = 10
_NETWORKS = ("discriminator", "encoder", "decoder")
_KINDS = (("_norm", "normalisation"), ("relu", "activation"), ("pool", "pooling"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--k", type=int, default=2)
    parser.add_argument("--latent_channels", type=int, default=2)
    parser.add_argument("--precision", default="float32", help="float32 or mixed_bfloat16")
    options = parser.parse_args()
    peak = convolution_peak(options.precision)
    keras.config.set_dtype_policy(options.precision)
    model = amr_tf.AMR.convolutional(
        (32, 32, 3), k=options.k, latent_channels=options.latent_channels, num_classes=10
    )
    model.compile()
    images = tf.random.uniform((options.batch, 32, 32, 3), -1, 1)
    labels = tf.random.uniform((options.batch,), 0, 10, dtype="int32")
    train = tf.function(model.train_on, autograph=False)
    durations, totals, operations = profiled(lambda: float(train(images, labels)["loss"]))
    step = statistics.median(durations)
    for (network, kind), milliseconds in totals.most_common():
        share = 100 * milliseconds / sum(totals.values())
        print(f"{network:14} {kind:14} {milliseconds:7.1f} ms {share:5.1f} %")
    work = 2 * options.batch * products(model)
    print(f"A step takes {1e3 * step:.0f} ms, {options.batch / step:.0f} images/s (profiled).")
    print(f"It is {operations} operations.")
    print(
        f"Its convolutions: {work / 1e9:.1f} GFLOP, {work / step / 1e9:.0f} GFLOP/s over the step."
    )
    print(f"Peak of single convolutions: {peak / 1e9:.0f} GFLOP/s.")


def profiled(step):
    """Returns durations of steps in s, ms per step by network and kind, and operations per step."""
    for _ in range(3):
        step()
    durations = []
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(STEPS):
            begin = time.perf_counter()
            step()
            durations.append(time.perf_counter() - begin)
        tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace()
        space.ParseFromString(next(pathlib.Path(folder).rglob("*.xplane.pb")).read_bytes())
    totals, operations = collections.Counter(), 0
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if is_operation(name):
                    totals[classify(name)] += event.duration_ps / 1e9 / STEPS
                    operations += 1
    return durations, totals, operations // STEPS


def is_operation(name):
    """Whether an event is an operation, `path/of/layer:Type`, not a function or a frame."""
    return ":" in name and "::" not in name and not name.startswith("EagerLocal")


def classify(name):
    """Returns the network and the kind of an operation."""
    path, operation = name.rsplit(":", 1)
    network = next((part for part in _NETWORKS if part in path), "optimizers, rest")
    if "Conv" in operation:
        return network, "convolution"
    return network, next((kind for text, kind in _KINDS if text in path), "rest")


def products(model):
    """Counts the multiplications of a step in convolutions, per image of the batch.

    Each image passes once through the encoder, twice through the decoder (reconstruction and mix)
    and three times through the discriminator. The gradients of inputs and weights take twice that.
    The encoder's first layer needs no gradient of its input, which is counted nevertheless.
    """
    passes = {model.encoder: 1, model.decoder: 2, model.discriminator: 3}
    return sum(3 * times * forward_products(network) for network, times in passes.items())


def forward_products(network):
    """Counts the multiplications of one image's pass through a network's convolutions."""
    total = 0
    for layer in network.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is None or isinstance(layer, DeferredConv2D):
            continue
        height, width, outputs = layer.output.shape[1:]
        inputs = layer.input[0] if isinstance(layer.input, (list, tuple)) else layer.input
        # An upsampled convolution needs four products per pixel instead of nine.
        convolution = getattr(layer, "layer", layer)
        upsampled = isinstance(convolution, UpsampledConv2D)
        taps = 4 if upsampled else kernel.shape[0] * kernel.shape[1]
        total += height * width * outputs * inputs.shape[-1] * taps
    return total


def convolution_peak(precision):
    """Returns the FLOP per second of the fastest of several convolutions, forward only."""
    dtype = "float32" if precision == "float32" else "bfloat16"
    best = 0.0
    for width, channels in ((34, 16), (17, 32), (8, 64), (16, 128)):
        images = tf.cast(tf.random.normal((192, width, width, channels)), dtype)
        kernel = tf.cast(tf.random.normal((3, 3, channels, channels)), dtype)
        run = tf.function(lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"))
        for _ in range(3):
            run(images, kernel)
        for _ in range(20):
            begin = time.perf_counter()
            run(images, kernel)[0, 0, 0, 0].numpy()
            taken = time.perf_counter() - begin
            best = max(best, 2 * 192 * width**2 * channels**2 * 9 / taken)
    return best


if __name__ == "__main__":
    main()
