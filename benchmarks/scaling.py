"""How time and memory of a training step grow with batch, width, replicas, data and steps:

    python benchmarks/scaling.py batch width depth replicas data memory photos

`photos` is the recipe of configs/photos64.cfg at several image sizes, with batches of 4,096 / width
images, but at most 64. Each measurement runs in a separate process, because memory is measured per
process. Each line names the varied parameter.
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SWEEPS = {
    "batch": ("batch", (16, 64, 256)),
    "width": ("width", (16, 32, 64)),
    "depth": ("depth", (8, 16, 32)),
    "replicas": ("replicas", (1, 2)),
    "data": ("images", (1_000, 4_000, 16_000)),
    "memory": ("steps", (2_000,)),
    "photos": ("photos", (16, 32, 64, 128, 256)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweeps", nargs="*", help=", ".join(SWEEPS))
    for name, default in (
        ("batch", 64),
        ("width", 32),
        ("depth", 16),
        ("replicas", 1),
        ("images", 0),
        ("steps", 20),
        ("photos", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(measure(options), flush=True)
        return
    for sweep in options.sweeps or SWEEPS:
        name, values = SWEEPS[sweep]
        for value in values:
            # These sweeps take many steps; a small model finishes them in minutes.
            small = ["--batch=16", "--width=16", "--depth=8"] if sweep in ("memory", "data") else []
            command = [sys.executable, __file__, "--one", *small, f"--{name}={value}"]
            path = str(pathlib.Path(__file__).resolve().parents[1])
            environment = {**os.environ, "PYTHONPATH": path}
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment
            )
            print(f"{name}={value}: {done.stdout.strip()}", flush=True)


def measure(options):
    """Returns one measurement as text."""
    import tensorflow as tf

    if options.replicas > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        logical = [tf.config.LogicalDeviceConfiguration()] * options.replicas
        tf.config.set_logical_device_configuration(cpu, logical)
        devices = [f"CPU:{number}" for number in range(options.replicas)]
        with tf.distribute.MirroredStrategy(devices).scope():
            return fitted(options)
    return fitted(options)


def fitted(options):
    """Trains with `fit` on noise for the given steps; returns speed and memory as text."""
    import numpy as np

    if options.photos:
        options.width, options.batch = options.photos, min(64, 4096 // options.photos)
        options.steps = 10
    model = photo_model(options.width) if options.photos else paper_model(options)
    steps_per_epoch = (options.images or options.batch * options.steps) // options.batch
    steps_per_epoch = min(steps_per_epoch, 250) if options.steps > 250 else steps_per_epoch
    epochs = max(1, options.steps // steps_per_epoch)
    shape = (steps_per_epoch * options.batch, options.width, options.width, 3)
    images = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
    watch = Watch()
    model.fit(
        images, batch_size=options.batch, epochs=epochs, verbose=0, callbacks=[watch.callback]
    )
    rate = options.batch / statistics.median(watch.durations[3:])
    text = f"{rate:.0f} images/s, peak {peak_mib()} MiB"
    if options.photos:
        networks = (model.encoder, model.decoder, model.discriminator)
        counts = ", ".join(f"{network.count_params():,}" for network in networks)
        codes = "x".join(map(str, model.latent_shape))
        text += f", batch {options.batch}, codes {codes}, parameters {counts}"
    if len(watch.memory) > 1:
        text += ", memory after each epoch " + ", ".join(map(str, watch.memory)) + " MiB"
    return text


def paper_model(options):
    import amr_tf

    model = amr_tf.AMR.convolutional((options.width, options.width, 3), depth=options.depth)
    model.compile()
    return model


def photo_model(width):
    from amr_tf.runs.build import build_model

    from photos import config_of

    root = pathlib.Path(__file__).resolve().parents[1]
    config = config_of([f"--flagfile={root}/configs/photos64.cfg", f"--image_size={width}"])
    return build_model(config, (width, width, 3), None)


class Watch:
    """Records the durations of steps, and the memory after epochs."""

    def __init__(self):
        import keras

        self.durations, self.memory = [], []
        self.last = time.perf_counter()
        self.callback = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: self.step(),
            on_epoch_end=lambda epoch, logs: self.memory.append(resident_mib()),
        )

    def step(self):
        now = time.perf_counter()
        self.durations.append(now - self.last)
        self.last = now


def resident_mib():
    """Returns the current memory of this process in MiB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() // 2**20


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
