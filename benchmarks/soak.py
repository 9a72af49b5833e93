"""Checks that memory stays flat and losses stay finite over thousands of training steps.

    python benchmarks/soak.py --methods=amr,acai,supervised_amr --steps=10000 --out=soak

Each method trains in a separate process, with the checkpoints, log, samples and callbacks of
`amr_tf.train`, on scikit-learn's digits at 16x16. Every 500 steps, a row with the resident memory
and the losses is appended to `soak/METHOD.csv`. At the end, a table is printed. Memory is flat if a
straight line through the rows of the second half rises by less than 2 % in 10,000 steps.
"""

import argparse
import csv
import gc
import math
import os
import pathlib
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
ROW_EVERY = 500
STEPS_PER_EPOCH = 40  # 1294 digits in batches of 32.
CHECKPOINT_EVERY = 10


def resident_mib():
    """Returns this process's resident memory in MiB, after a garbage collection."""
    gc.collect()
    with pathlib.Path("/proc/self/status").open(encoding="utf-8") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def soak(method, steps, out):
    """Trains one method and writes its rows."""
    import keras
    from amr_tf.experiments import sample_grids
    from amr_tf.runs import run
    from amr_tf.runs.config import TrainingConfig

    class Record(keras.callbacks.Callback):
        """Appends a row every `ROW_EVERY` steps."""

        began = time.perf_counter()

        def on_train_batch_end(self, batch, logs=None):
            step = int(self.model.step_counter)
            if step % ROW_EVERY:
                return
            losses = {name: value for name, value in logs.items() if name.endswith("loss")}
            seconds = round(time.perf_counter() - self.began, 1)
            row = {"step": step, "seconds": seconds, "rss_mib": round(resident_mib(), 1), **losses}
            new = not path.exists()
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, row)
                if new:
                    writer.writeheader()
                writer.writerow(row)

    path = out / f"{method}.csv"
    path.unlink(missing_ok=True)
    config = TrainingConfig(
        run_dir=str(out / f"{method}_run"),
        method=method,
        image_size=16,
        architecture="convolutional(depth=8)",
        batch_size=32,
        epochs=math.ceil(steps / STEPS_PER_EPOCH),
        checkpoint_every=CHECKPOINT_EVERY,
        sample_every=50,
        verbose=0,
    )
    run.train(config, make_callbacks=lambda *given: [*sample_grids(*given), Record()])


def summary(path):
    """Returns a row of the table: steps, memory and its trend, and the first and last loss."""
    with path.open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    half = rows[len(rows) // 2 :]
    steps, memory = ([row[name] for row in half] for name in ("step", "rss_mib"))
    rise = 10_000 * np.polyfit(steps, memory, 1)[0] if len(half) > 1 else math.nan
    finite = all(math.isfinite(value) for row in rows for value in row.values())
    return [
        path.stem,
        f"{steps[-1]:.0f}",
        f"{rows[0]['rss_mib']:.0f}",
        f"{memory[0]:.0f}",
        f"{memory[-1]:.0f}",
        f"{rise:+.1f}",
        "yes" if rise < 0.02 * memory[0] else "no",
        "yes" if finite else "no",
        f"{rows[0]['loss']:.3f}",
        f"{rows[-1]['loss']:.3f}",
    ]


def main():
    """Runs one process for each method and prints the table."""
    parser = argparse.ArgumentParser(description="A long training of several methods.")
    parser.add_argument("--methods", default="amr,acai,supervised_amr", help="comma-separated")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("soak"))
    parser.add_argument("--one", action="store_true", help="train the one method in this process")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    methods = given.methods.split(",")
    if given.one:
        soak(methods[0], given.steps, given.out)
        return
    for method in methods:
        command = [sys.executable, __file__, "--one", f"--methods={method}"]
        command += [f"--steps={given.steps}", f"--out={given.out}"]
        subprocess.run(command, check=True)
    print(
        f"| method | steps | MiB at step {ROW_EVERY} | half way | at the end | "
        "trend of the second half, MiB in 10,000 steps | flat | losses finite | first loss | last |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for method in methods:
        print(f"| {' | '.join(summary(given.out / f'{method}.csv'))} |")


if __name__ == "__main__":
    main()
