"""Times amr_tf's training step against the same step in PyTorch, in turn on the same machine:

    python benchmarks/train_step.py --k=2,3,8 --latent_channels=2,16 --out=step.csv

Each opponent is a process of its own that builds its model, warms up, and waits; they take turns
of a few steps, so that a machine that slows down does so for all. What is compared is the ratio
of a turn to amr_tf's turn next to it, and its median over the turns. The PyTorch step
(`pytorch_amr.py`) is the usual two-pass form: eager, eager with images and weights in PyTorch's
"channels last" format, or through `torch.compile`. All use as many threads, on the same processors.

PyTorch may live in another environment: --torch_python=/path/to/python.
"""

import argparse
import csv
import itertools
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
OPPONENTS = (
    "amr_tf",
    "amr_tf_two_pass",
    "amr_tf_xla",
    "torch_eager",
    "torch_channels_last",
    "torch_compile",
)
_COLUMNS = ("d_h", "k", "batch", "precision", "opponent", "images_per_second", "ratio", "peak_mib")


def main():
    options = parse()
    if options.worker:
        work(options)
        return
    rows = []
    grid = (options.latent_channels, options.k, options.batch, options.precision)
    for latent_channels, k, batch, precision in itertools.product(*grid):
        cell = {"latent_channels": latent_channels, "k": k, "batch": batch, "precision": precision}
        for row in measure(cell, options):
            rows.append(row)
            print("  ".join(f"{name}={row[name]}" for name in _COLUMNS), flush=True)
        write(rows, options.out)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    integers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    texts = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--latent_channels", type=integers, default=[2], help="d_h / 16.")
    parser.add_argument("--k", type=integers, default=[2])
    parser.add_argument("--batch", type=integers, default=[64])
    parser.add_argument("--precision", type=texts, default=["float32"], help="float32,bfloat16")
    parser.add_argument("--opponents", type=texts, default=["amr_tf", "torch_eager"])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="At least, for a turn.")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--torch_python", default=sys.executable)
    parser.add_argument("--out", default=None, help="CSV file.")
    parser.add_argument("--worker", choices=OPPONENTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(cell, options):
    """Yields the rows of one cell: each opponent's speed, and the first one's relative to it."""
    workers = {name: start(name, cell, options) for name in options.opponents}
    speeds = {name: [] for name in workers}
    for worker in workers.values():
        ask(worker)  # Builds and warms up, one after the other.
    for _ in range(options.turns):
        for name, worker in workers.items():
            speeds[name].append(float(ask(worker)))
    first = options.opponents[0]
    for name, worker in workers.items():
        peak = stop(worker)
        ratios = [mine / other for mine, other in zip(speeds[first], speeds[name])]
        yield {
            "d_h": 16 * cell["latent_channels"],
            "k": cell["k"],
            "batch": cell["batch"],
            "precision": cell["precision"],
            "opponent": name,
            "images_per_second": round(statistics.median(speeds[name])),
            "ratio": round(statistics.median(ratios), 2),
            "peak_mib": peak,
        }


def start(name, cell, options):
    """Starts the process of an opponent."""
    python = options.torch_python if name.startswith("torch") else sys.executable
    threads = str(options.threads)
    command = [python, __file__, f"--worker={name}", f"--seconds={options.seconds}"]
    command += [f"--{key}={value}" for key, value in cell.items()] + [f"--threads={threads}"]
    settings = dict.fromkeys(
        ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), threads
    )
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **settings, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)},
    )


def ask(worker):
    """Makes a worker run one turn, and returns its images per second."""
    worker.stdin.write("turn\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise SystemExit(f"{' '.join(worker.args)} ended without an answer.")
    return answer


def stop(worker):
    """Ends a worker and returns its peak memory in MiB."""
    worker.stdin.write("stop\n")
    worker.stdin.flush()
    peak = int(worker.stdout.readline())
    worker.wait()
    return peak


def write(rows, path):
    if path is None:
        return
    with pathlib.Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


# The opponents' processes.


def work(options):
    """Answers `turn` with images per second and `stop` with the peak memory."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Keeps the output of libraries apart from the answers.
    cell = (options.latent_channels[0], options.k[0], options.batch[0], options.precision[0])
    build = torch_step if options.worker.startswith("torch") else tensorflow_step
    step = build(options.worker, *cell, options.threads)
    for _ in range(4):
        step()
    for line in sys.stdin:
        if line.strip() == "stop":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=answers)
            answers.flush()
            return
        steps, begin = 0, time.perf_counter()
        while steps < 3 or time.perf_counter() - begin < options.seconds:
            step()
            steps += 1
        speed = steps * cell[2] / (time.perf_counter() - begin)
        print(speed, file=answers, flush=True)


def tensorflow_step(name, latent_channels, k, batch, precision, threads):
    del threads  # TensorFlow reads the number of threads from the environment.
    import amr_tf
    import keras
    import tensorflow as tf

    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = amr_tf.AMR.convolutional(
        (32, 32, 3), mixer="mixup", k=k, num_classes=10, latent_channels=latent_channels
    )
    model.compile(lambda_=10.0, step="two_pass" if name.endswith("two_pass") else "one_pass")
    images = tf.random.uniform((batch, 32, 32, 3), -1, 1)
    labels = tf.random.uniform((batch,), 0, 10, dtype="int32")
    train = tf.function(model.train_on, autograph=False, jit_compile=name.endswith("xla"))
    return lambda: {key: float(value) for key, value in train(images, labels).items()}


def torch_step(name, latent_channels, k, batch, precision, threads):
    import contextlib

    import torch
    from benchmarks import pytorch_amr

    torch.set_num_threads(threads)
    trainer = pytorch_amr.build_trainer(
        channels=3, latent_channels=latent_channels, k=k, lambda_=10.0
    )
    if name == "torch_compile":
        for part in ("encoder", "decoder", "discriminator"):
            setattr(trainer, part, torch.compile(getattr(trainer, part)))
    images = torch.rand(batch, 3, 32, 32) * 2 - 1
    if name == "torch_channels_last":
        images = images.to(memory_format=torch.channels_last)
        for part in (trainer.encoder, trainer.decoder, trainer.discriminator):
            part.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    dirichlet = torch.distributions.Dirichlet(torch.ones(k))
    half = precision == "bfloat16"

    def step():
        others = [torch.randperm(batch) for _ in range(k - 1)]
        permutations = torch.stack([torch.arange(batch), *others])
        coefficients = dirichlet.sample((batch,)).reshape(batch, k, 1, 1, 1)
        with torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext():
            losses = trainer.step(images, labels, permutations, coefficients)
        return {key: float(value) for key, value in losses.items()}

    return step


if __name__ == "__main__":
    main()
