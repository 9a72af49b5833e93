"""Kills training runs at random moments and compares their results with an uninterrupted run.

    python benchmarks/kill_training.py --kills=100 --chains=5 --seed=0

Each chain is a run of `amr_tf.train` that is killed (SIGKILL) and resumed repeatedly, then trained
to its end. Its weights, optimizers, random states, best model, log and results must equal those of
an uninterrupted run, bit for bit. Every second kill waits until a checkpoint is being written and
comes up to 30 ms later; the others come at any time. To save seconds per command, the package is
imported once, and each command is a fork of this process, before TensorFlow starts its threads.
"""

import argparse
import contextlib
import csv
import io
import os
import pathlib
import random
import shlex
import signal
import sys
import tempfile
import time
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from amr_tf import train
from amr_tf.runs.checkpoints import read_state

FLAGS = (
    "--dataset=digits",
    "--image_size=8",
    "--architecture=convolutional(depth=4)",
    "--train_subset=512",
    "--batch_size=64",
    "--probe_optimizer=adam_l2(learning_rate=0.01)",
    "--sample_every=0",
    "--verbose=0",
)
WRITE_WINDOW = 0.03


def start(folder, given):
    """Forks a process that starts or resumes training in `folder`; returns its PID."""
    resume = (folder / "config.json").exists()
    flags = ["--resume"] if resume else shlex.split(given.flags)
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        log = os.open(f"{folder}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["amr_tf.train", *flags, f"--run_dir={folder}", f"--epochs={given.epochs}"]
        train.run()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        os._exit(code)


def ended(process):
    """Returns the exit code of a process, negative for a signal, or None while it runs."""
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def step_of(folder):
    """Returns the step of the newest checkpoint, or 0 without one."""
    state = read_state(folder / "checkpoints")
    return 0 if state is None else state["step"]


def processor_seconds(process):
    """Returns the processor time of a process, which does not depend on other load."""
    fields = (
        pathlib.Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    )
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait(process, until):
    """Waits until a condition holds, or the process ends; in that case returns its exit code."""
    while not until():
        code = ended(process)
        if code is not None:
            return code
        time.sleep(0.002)
    return None


def kill_once(folder, given, generator, lifetime, in_write):
    """Starts the command and kills it; returns the kill's phase, or "end" if it came too late."""
    before = step_of(folder)
    for left in (folder / "checkpoints").glob("partial-*"):
        left.unlink()  # Of an earlier kill, so that what is found afterwards is of this one.
    process = start(folder, given)
    moment = generator.uniform(0, lifetime)
    code = wait(process, lambda: processor_seconds(process) >= moment)
    if in_write and code is None:
        partial = folder / "checkpoints"
        code = wait(process, lambda: any(partial.glob("partial-*")))
        moment = time.monotonic() + generator.uniform(0, WRITE_WINDOW)
        if code is None:
            code = wait(process, lambda: time.monotonic() >= moment)
    if code is None:
        os.kill(process, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code != -signal.SIGKILL:
        if code:
            raise RuntimeError(f"Training ended with exit code {code}: see {folder}.txt.")
        return "end"
    if any((folder / "checkpoints").glob("partial-*")):
        return "in a write"
    return "in training" if step_of(folder) > before else "before the first checkpoint"


def finish(folder, given):
    """Runs the command to its end; returns the processor seconds until its first checkpoint."""
    process = start(folder, given)
    code = wait(process, (folder / "checkpoints" / "state.json").exists)
    if code is None:
        seconds = processor_seconds(process)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code:
        raise RuntimeError(f"Training ended with exit code {code}: see {folder}.txt.")
    return seconds


def arrays_of(path):
    """Reads all arrays of a `.keras` file into a dictionary from names to arrays."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights) as file:
        file.visititems(
            lambda name, item: (
                arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return arrays


def differences(folder, expected):
    """Returns the names of differing arrays of checkpoints, and of differing files, of two runs."""
    found = []
    for name in (read_state(expected / "checkpoints")["checkpoint"].name, "best.keras"):
        ours, theirs = (arrays_of(run / "checkpoints" / name) for run in (folder, expected))
        names = ours.keys() | theirs.keys()
        found += [
            f"{name}:{key}"
            for key in names
            if key not in ours or key not in theirs or not np.array_equal(ours[key], theirs[key])
        ]
    logs = []
    for run in (folder, expected):
        with (run / "log.csv").open(newline="") as file:
            logs.append(list(csv.reader(file)))
    if logs[0] != logs[1]:
        found.append("log.csv")
    if (folder / "results.json").read_text() != (expected / "results.json").read_text():
        found.append("results.json")
    return found


def main():
    """Kills runs and prints a table; the exit code is 1 if a run differs."""
    parser = argparse.ArgumentParser(description="Kills training runs at random moments.")
    parser.add_argument("--kills", type=int, default=100, help="kills in all")
    parser.add_argument("--chains", type=int, default=5, help="runs that share them")
    parser.add_argument("--epochs", type=int, default=60, help="epochs of each run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--flags", default=" ".join(FLAGS), help="the training's, as in a shell")
    parser.add_argument("--out", help="folder for the runs; by default one that is removed")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        out = given.out or stack.enter_context(tempfile.TemporaryDirectory())
        out = pathlib.Path(out)
        out.mkdir(parents=True, exist_ok=True)
        sys.exit(1 if _measure(given, out) else 0)


def _measure(given, out):
    began = time.monotonic()
    generator = random.Random(given.seed)
    expected = out / "uninterrupted"
    seconds = finish(expected, given)
    print(f"The first checkpoint came after {seconds:.1f} s of processor time.", flush=True)
    print("| chain | kills | in a write | in training | before the first checkpoint | differs |")
    print("|---|---|---|---|---|---|", flush=True)
    left, chain, wrong = given.kills, 0, []
    while left:
        folder = out / f"chain{chain}"
        share = left if chain + 1 >= given.chains else max(1, given.kills // given.chains)
        counts = {}
        for number in range(min(share, left)):
            in_write = bool(number % 2)
            # Longer than the first checkpoint takes, so that kills come before and after it.
            where = kill_once(folder, given, generator, 1.6 * seconds, in_write)
            if where == "end":
                break
            counts[where] = counts.get(where, 0) + 1
            left -= 1
        finish(folder, given)
        found = differences(folder, expected)
        wrong += found
        kinds = ("in a write", "in training", "before the first checkpoint")
        cells = [str(counts.get(kind, 0)) for kind in kinds]
        told = ", ".join(found[:3]) or "nothing"
        print(f"| {chain} | {sum(counts.values())} | {' | '.join(cells)} | {told} |", flush=True)
        chain += 1
    print(f"{given.kills} kills, seed {given.seed}, in {time.monotonic() - began:.0f} s.")
    return wrong


if __name__ == "__main__":
    main()
