"""Whether the input pipeline keeps up with the training step:

    python benchmarks/input_pipeline.py --data_dir=../shared/tfds

For each data set, it prints the time per batch of the pipeline alone, the time per training step,
and the share of time that the step waits for its batch. This is the time of steps on the pipeline
relative to that of the same steps on a single prepared batch, measured in turn.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import amr_tf
import tensorflow as tf
from amr_tf import data as data_lib

DATASETS = ("digits", "mnist", "cifar10", "lines", "dsprites")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--data_dir", default=None, help="TFDS' folder, for mnist and cifar10.")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    print("dataset    image          pipeline      step   waiting")
    for name in options.datasets.split(","):
        print(measure(name, options), flush=True)


def measure(name, options):
    """Returns one line of the table."""
    data_dir = options.data_dir if name in ("mnist", "cifar10") else None
    data = data_lib.load(name, data_dir=data_dir)
    batches = data_lib.training_batches(data.train, options.batch, data.image_size)
    alone = seconds_per_batch(iter(batches), options.steps * 4)
    model = amr_tf.AMR.convolutional(data.image_shape, depth=options.depth)
    model.compile()
    train = tf.function(lambda images: model.train_on(images)["loss"], autograph=False)
    images = batches.map(lambda images, *labels: images)
    iterator, ready = iter(images), next(iter(images))
    train(ready)
    excess, steps = [], []
    for _ in range(options.turns):
        fed = seconds_per_step(lambda: train(next(iterator)), options.steps)
        still = seconds_per_step(lambda: train(ready), options.steps)
        excess.append(fed / still - 1)
        steps.append(still)
    shape = "x".join(map(str, data.image_shape))
    step = 1e3 * statistics.median(steps)
    waiting = 100 * statistics.median(excess)
    return f"{name:10} {shape:10} {1e3 * alone:8.1f} ms {step:8.1f} ms {waiting:7.1f} %"


def seconds_per_batch(iterator, count):
    next(iterator)
    begin = time.perf_counter()
    for _ in range(count):
        next(iterator)
    return (time.perf_counter() - begin) / count


def seconds_per_step(step, count):
    float(step())
    begin = time.perf_counter()
    for _ in range(count):
        loss = step()
    float(loss)
    return (time.perf_counter() - begin) / count


if __name__ == "__main__":
    main()
