"""What the training step does on a GPU: speed beside PyTorch's, the first step, memory, exactness.

    python benchmarks/gpu.py --golden='../shared/golden/*.npz' --out=gpu

Each case is a process of its own. All build their programs side by side; when the last is built,
they are timed one after the other. A line is printed as each ends, and `gpu.csv` and `checks.txt`
are written into --out. The checks follow, also side by side. On a machine without a GPU the same
cases run on the CPU: `--quick` makes them small.

A speed case is FRAMEWORK:PRECISION:BATCH:FORM, such as amr_tf:bfloat16:256:xla20. The forms of
amr_tf are `graph`, `xla` and `xla20`, 20 steps a call; `xla_untuned` leaves XLA's choice of
kernels to heuristics, `xla_parallel` builds them on all processors, and `xla_cached` is built
twice, the second time from XLA's caches. PyTorch's are `eager`, `channels_last`, `compile` and
`graph`, the whole step as one CUDA graph. float32 is without TF32, tf32 with it.
train:PRECISION:STEPS is `amr_tf.train` on KMNIST (--data_dir) with so many steps a call: the first
column is its first epoch, the others are of those that follow, with their validation and
checkpoints.
"""

import argparse
import concurrent.futures
import contextlib
import csv
import fcntl
import glob
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOCK = pathlib.Path(tempfile.gettempdir()) / "amr_tf_gpu_benchmark.lock"
CASES = (
    *("amr_tf:float32:64:xla", "torch:float32:64:eager", "torch:float32:64:graph"),
    *("amr_tf:bfloat16:256:xla", "torch:bfloat16:256:eager", "torch:bfloat16:256:graph"),
    *("amr_tf:float32:64:graph", "amr_tf:float32:64:xla_untuned", "amr_tf:float32:64:xla_cached"),
    *("amr_tf:float32:64:xla_parallel", "amr_tf:bfloat16:64:xla", "torch:bfloat16:64:graph"),
    *("amr_tf:tf32:64:xla20", "torch:tf32:64:graph", "torch:float32:64:channels_last"),
    *("amr_tf:tf32:1024:xla", "torch:tf32:1024:graph", "train:float32:1", "train:float32:16"),
)
CHECKS = ("golden", "replicas", "export")
_XLA_VARIANTS = {
    "untuned": "--xla_gpu_autotune_level=0",
    "parallel": "--xla_gpu_enable_llvm_module_compilation_parallelism=true "
    f"--xla_gpu_force_compilation_parallelism={os.cpu_count()}",
}
_BUILT = "built\n"
_COLUMNS = ("case", "first_step_s", "images_per_second", "step_ms", "peak_mib")


def main() -> None:
    options = parse()
    if options.worker:
        if not options.worker.startswith("torch"):
            import amr_tf  # noqa: F401, before TensorFlow, whose flags it sets.
        print(json.dumps(WORK[options.worker.partition(":")[0]](options)))
        return
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    print("".join(f"{name:>32}" if name == "case" else f"{name:>20}" for name in _COLUMNS))
    rows = []
    with built_together(len(split(options.cases))) as built:
        for name, result in results_of(split(options.cases), options, built):
            if "failed" in result:
                report(out, name, result)
                continue
            rows.append({"case": name, **result})
            values = [f"{result[column]:>20}" for column in _COLUMNS[1:]]
            print(f"{name:>32}" + "".join(values), flush=True)
            write_rows(out / "gpu.csv", rows)
    for name, result in results_of(split(options.checks), options):
        report(out, name, result)


def results_of(names: list[str], options: argparse.Namespace, built=None):
    """Yields the name and the result of each case as it ends."""
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(run_case, name, options, built): name for name in names}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()


def report(out: pathlib.Path, name: str, result: dict) -> None:
    line = f"{name}: {result}"
    print(line, flush=True)
    with (out / "checks.txt").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


@contextlib.contextmanager
def built_together(count: int):
    """Holds the lock that cases are timed under until `count` cases are built or have failed.

    Yields:
        A function to call once for each case.
    """
    with LOCK.open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        left, guard = [count], threading.Lock()

        def built():
            with guard:
                left[0] -= 1
                if left[0] == 0:
                    fcntl.flock(lock, fcntl.LOCK_UN)

        yield built


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--checks", default=",".join(CHECKS))
    parser.add_argument("--golden", default="../shared/golden/*.npz", help="Files to replay.")
    parser.add_argument("--out", default="gpu")
    parser.add_argument("--data_dir", default="../shared/tfds", help="With KMNIST, for training.")
    parser.add_argument("--jobs", type=int, default=20, help="Cases that build side by side.")
    parser.add_argument("--seconds", type=float, default=3.0, help="For which a case is timed.")
    parser.add_argument("--timeout", type=float, default=300.0, help="Seconds for a case.")
    parser.add_argument("--quick", action="store_true", help="Small networks, batches of 8.")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--build_only", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def split(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def run_case(name: str, options: argparse.Namespace, built=None) -> dict:
    """Runs a case in a separate process and returns its result.

    Args:
        name: name of the case or check.
        options: options of this program.
        built: called once, when the case is ready to be timed or has failed.
    """
    command = [sys.executable, __file__, f"--worker={name}", f"--seconds={options.seconds}"]
    command += [f"--golden={options.golden}", f"--data_dir={options.data_dir}"]
    command += ["--quick"] if options.quick else []
    places = [str(ROOT), *split(os.environ.get("PYTHONPATH", "").replace(os.pathsep, ","))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    environment.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    for variant, flags in _XLA_VARIANTS.items():
        if name.endswith(variant):
            add_flag(environment, "XLA_FLAGS", flags)
    lines = []
    with (
        tempfile.TemporaryDirectory() as caches,
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
    ):
        environment["AMR_TF_CACHE"] = caches  # No case finds another's compiled programs.
        if name.endswith("cached"):
            first = [*command, "--build_only"]
            quiet = subprocess.DEVNULL
            subprocess.run(first, env=environment, check=False, stdout=quiet, stderr=errors)
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as worker:
            timer = threading.Timer(options.timeout, worker.kill)
            timer.start()
            for line in worker.stdout:
                lines.append(line)
                if line == _BUILT and built:
                    built()
            timer.cancel()
        if built and _BUILT not in lines:
            built()
        if worker.returncode == -signal.SIGKILL:
            return {"failed": f"not ended after {options.timeout:.0f} s"}
        if worker.returncode:
            errors.seek(0)
            said = errors.read().strip().splitlines()[-1:]
            return {"failed": said or f"return code {worker.returncode}"}
    return json.loads(lines[-1])


def add_flag(environment: dict, name: str, flag: str) -> None:
    environment[name] = f"{environment.get(name, '')} {flag}".strip()


def write_rows(path: pathlib.Path, rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


# Speed.


def timed(step, wait, images_a_call: int, seconds: float) -> dict:
    """Measures the time of the first call, which builds, and the speed of further calls."""
    begin = time.perf_counter()
    step()
    wait()
    first = time.perf_counter() - begin
    print(_BUILT, end="", flush=True)
    with LOCK.open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(3):
            step()
        wait()
        calls, begin = 0, time.perf_counter()
        while calls < 3 or time.perf_counter() - begin < seconds:
            step()
            calls += 1
            if calls % 10 == 0:  # Calls are only queued; waiting keeps the queue short.
                wait()
        wait()
        passed = time.perf_counter() - begin
    speed = calls * images_a_call / passed
    return {"first_step_s": round(first, 1), "images_per_second": round(speed)}


def sizes(name: str, quick: bool) -> tuple[str, int, str, dict]:
    """Returns precision, batch size, form and network sizes of a case."""
    _, precision, batch, form = name.split(":")
    return precision, 8 if quick else int(batch), form, {"depth": 2 if quick else 16}


def amr_tf_case(options: argparse.Namespace) -> dict:
    import amr_tf
    import keras
    import tensorflow as tf

    precision, batch, form, networks = sizes(options.worker, options.quick)
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    if precision in ("bfloat16", "float16"):
        keras.config.set_dtype_policy(f"mixed_{precision}")
    model = amr_tf.AMR.convolutional((32, 32, 3), mixer="mixup", k=2, num_classes=10, **networks)
    model.compile(lambda_=10.0)
    images = tf.random.uniform((batch, 32, 32, 3), -1, 1)
    labels = tf.random.uniform((batch,), 0, 10, dtype="int32")
    form, _, _ = form.partition("_")
    steps = 1 if form == "graph" else int(form.removeprefix("xla") or 1)

    once = tf.autograph.experimental.do_not_convert(lambda: model.train_on(images, labels)["loss"])

    def repeated():
        loss = tf.zeros(())
        for _ in tf.range(steps):  # A loop in the graph: one program for any number of steps.
            loss = once()
        return loss

    train = tf.function(
        repeated if steps > 1 else once, autograph=steps > 1, jit_compile=form.startswith("xla")
    )
    last = []

    def call():
        last[:] = [train()]

    if options.build_only:
        call()
        return {}
    result = timed(call, lambda: last[0].numpy(), batch * steps, options.seconds)
    return {**result, "step_ms": _step_ms(result, batch), "peak_mib": _peak_mib()}


def _peak_mib():
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] // 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def torch_case(options: argparse.Namespace) -> dict:
    import torch
    from benchmarks import pytorch_amr

    precision, batch, form, networks = sizes(options.worker, options.quick)
    there = torch.cuda.is_available()
    device = torch.device("cuda" if there else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    with device:
        trainer = pytorch_amr.build_trainer(channels=3, k=2, lambda_=10.0, **networks)
    parts = [trainer.encoder, trainer.decoder, trainer.discriminator, trainer.probe]
    for part in parts:
        part.to(device)
    if form == "graph" and there:
        for name in ("generator", "discriminator", "probe"):
            for group in getattr(trainer, f"{name}_optimizer").param_groups:
                group["capturable"] = True
    if form == "compile":
        for name in ("encoder", "decoder", "discriminator"):
            setattr(trainer, name, torch.compile(getattr(trainer, name)))
    images = torch.rand(batch, 3, 32, 32, device=device) * 2 - 1
    if form == "channels_last":
        images = images.to(memory_format=torch.channels_last)
        for part in parts[:3]:
            part.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,), device=device)
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    identity = torch.arange(batch, device=device)

    def step():
        permutations = torch.stack([identity, torch.rand(batch, device=device).argsort()])
        share = torch.rand(batch, 1, device=device)
        coefficients = torch.cat([share, 1 - share], 1).reshape(batch, 2, 1, 1, 1)
        with torch.autocast(device.type, half) if half else contextlib.nullcontext():
            trainer.step(images, labels, permutations, coefficients)

    wait = torch.cuda.synchronize if there else lambda: None
    call = captured(step) if form == "graph" and there else step
    result = timed(call, wait, batch, options.seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if there:
        peak = torch.cuda.max_memory_allocated() // 2**20
    return {**result, "step_ms": _step_ms(result, batch), "peak_mib": peak}


def captured(step):
    """Returns a function that replays a step as one CUDA graph."""
    import torch

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _step_ms(result, batch):
    return round(1e3 * batch / result["images_per_second"], 2)


# Exactness.


def golden(options: argparse.Namespace) -> dict:
    """Replays the files of recorded steps without TF32; returns how many checks pass in each."""
    import tensorflow as tf
    from tests import replay_golden

    tf.config.experimental.enable_tensor_float_32_execution(False)
    found = {}
    for path in sorted(glob.glob(options.golden)):  # noqa: PTH207, as a shell expands it
        passed = [check.passed for check in replay_golden.replay(*replay_golden.read(path))]
        found[pathlib.Path(path).stem] = f"{sum(passed)} of {len(passed)}"
    return found


def train(options: argparse.Namespace) -> dict:
    """Runs a short `amr_tf.train` on KMNIST; times its first epoch, and the speed of the others."""
    import keras
    from amr_tf.runs import run
    from amr_tf.runs.config import TrainingConfig

    _, precision, steps = options.worker.split(":")
    begin, ends = time.perf_counter(), []
    lock = LOCK.open("w", encoding="utf-8")

    class Clock(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch:
                ends.append(time.perf_counter())
            else:
                self.first = time.perf_counter() - begin
                print(_BUILT, end="", flush=True)

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                fcntl.flock(lock, fcntl.LOCK_EX)
                ends.append(time.perf_counter())

    clock = Clock()
    with lock, tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(
            dataset="kmnist",
            data_dir=options.data_dir,
            run_dir=f"{folder}/run",
            epochs=3 if options.quick else 5,
            precision=precision,
            steps_per_execution=int(steps),
            sample_every=0,
            verbose=0,
        )
        if options.quick:
            small = {"architecture": "convolutional(depth=2)", "train_subset": 200}
            config = config.replace(dataset="digits", data_dir=None, **small)
        trained = run.train(config, make_callbacks=lambda config, data, folder: [clock])
    images = len(trained.data.train.images) * (len(ends) - 1)
    result = {"images_per_second": round(images / (ends[-1] - ends[0]))}
    result["step_ms"] = _step_ms(result, config.batch_size)
    return {"first_step_s": round(clock.first, 1), **result, "peak_mib": _peak_mib()}


def replicas(options: argparse.Namespace) -> dict:
    """Returns the mean difference of weights after three steps on one device and on two.

    Not the largest: if a weight's gradient is only a rounding error, its sign decides Adam's move.
    """
    import amr_tf
    import keras
    import numpy as np
    import tensorflow as tf

    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    half = {"memory_limit": 4096} if kind == "GPU" else {}
    logical = tf.config.LogicalDeviceConfiguration
    physical = tf.config.list_physical_devices(kind)[0]
    tf.config.set_logical_device_configuration(physical, [logical(**half), logical(**half)])
    tf.config.experimental.enable_tensor_float_32_execution(False)
    images = np.random.default_rng(0).uniform(-1, 1, (32, 32, 32, 3)).astype("float32")

    def trained(strategy):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            # Without mixes, because each replica draws its own.
            model = amr_tf.AEGAN.convolutional((32, 32, 3), depth=2)
            model.compile(jit_compile=False)
        batches = tf.data.Dataset.from_tensors(images).unbatch().batch(32).repeat()
        model.fit(batches, steps_per_epoch=3, verbose=0, shuffle=False)
        return model.get_weights()

    one = trained(tf.distribute.OneDeviceStrategy(f"{kind}:0"))
    two = trained(tf.distribute.MirroredStrategy([f"{kind}:0", f"{kind}:1"]))
    differences = np.concatenate([abs(a - b).ravel() for a, b in zip(one, two)])
    return {"mean_difference": float(differences.mean())}


def export(options: argparse.Namespace) -> dict:
    """Returns the largest difference between a model's codes and those of its reloaded export."""
    import amr_tf
    import numpy as np
    import tensorflow as tf
    from amr_tf.savedmodel.export import export_model

    tf.config.experimental.enable_tensor_float_32_execution(False)
    model = amr_tf.AMR.convolutional((32, 32, 3), depth=2)
    images = np.random.default_rng(0).uniform(-1, 1, (8, 32, 32, 3)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        version = export_model(model, pathlib.Path(folder) / "served", formats=())
        encode = tf.saved_model.load(str(version)).signatures["encode"]
        served = encode(images=tf.constant(images))["codes"]
    return {"largest_difference": float(abs(served - model.encode(images)).numpy().max())}


WORK = {
    "amr_tf": amr_tf_case,
    "torch": torch_case,
    **{check.__name__: check for check in (golden, train, replicas, export)},
}


if __name__ == "__main__":
    main()
