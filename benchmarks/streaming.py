"""Memory and speed of a large image folder, kept in memory and on the disk.

    python benchmarks/streaming.py --images=200000 --image_size=128 --folder=/tmp/many

It fills the folder with generated photographs unless they exist. For each cache (disk or memory),
it loads and trains on them in a separate process. It prints the time to decode them and to load
them again, the peak memory of the process before and after some training steps, images per second
of the pipeline alone, and the share of time that a step waits for its batch.
"""

import argparse
import concurrent.futures
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

CLASSES = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="/tmp/many_images")
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--caches", default="disk,memory")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(measure(options))
        return
    make(pathlib.Path(options.folder), options.images, options.image_size)
    print("kept in   first load   next load   after load   after training   pipeline   waiting")
    for cache in options.caches.split(","):
        command = [sys.executable, *sys.argv, f"--measure={cache}"]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


def make(folder, count, size):
    """Writes JPEG files of smooth random pictures, all different."""

    def write(number):
        path = folder / f"class{number % CLASSES}" / f"{number:07}.jpg"
        if not path.exists():
            generator = np.random.default_rng(number)
            coarse = generator.integers(0, 256, (9, 9, 3), dtype="uint8")
            Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(path)

    for number in range(CLASSES):
        (folder / f"class{number}").mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for start in range(0, count, 4096):
            list(pool.map(write, range(start, min(start + 4096, count))))


def measure(options):
    """Returns one line of the table."""
    import amr_tf
    import tensorflow as tf
    from amr_tf import data as data_lib

    def load():
        begin = time.perf_counter()
        data = data_lib.load(
            f"image_folder(cache='{options.measure}')", options.folder, options.image_size
        )
        return data, time.perf_counter() - begin

    first = load()[1]
    data, again = load()
    loaded = peak()
    batches = data_lib.training_batches(data.train, options.batch, data.image_size)
    model = amr_tf.AMR.convolutional(data.image_shape, depth=4)
    model.compile()
    train = tf.function(lambda images: model.train_on(images)["loss"], autograph=False)
    iterator = iter(batches.map(lambda images, labels: images))
    ready = next(iterator)
    excess = []
    for _ in range(options.turns):  # In turn, so that the load of the machine affects both.
        fed = seconds(lambda: train(next(iterator)), 5)
        excess.append(fed / seconds(lambda: train(ready), 5) - 1)
    alone = seconds(lambda: next(iterator), 200)
    return (
        f"{options.measure:9} {first:8.0f} s {again:9.1f} s {loaded:8.2f} GiB {peak():12.2f} GiB "
        f"{options.batch / alone:8.0f}/s {100 * statistics.median(excess):8.1f} %"
    )


def seconds(call, count):
    call()
    begin = time.perf_counter()
    for _ in range(count):
        result = call()
    np.asarray(result)
    return (time.perf_counter() - begin) / count


def peak():
    """Returns the peak memory of this process in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
