"""Strategies: their checks in this process, their training in processes of their own."""

import json
import pathlib
import signal
import socket
import types

import numpy as np
import pytest
import tensorflow as tf

from amr_tf.runs.strategy import (
    agreement,
    check_shares,
    check_tf_config,
    distribute,
    is_chief,
    is_multi_worker,
    lost_worker,
    make_strategy,
)
from tests import forked
from tests.runs.conftest import checkpoint_arrays, read_log, tiny_config, wait_for

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = "tests.runs.worker_script"
TWO_DEVICES = {"AMR_TF_TEST_DEVICES": "2"}
WORKERS = {"worker": ["a:1", "b:2"]}


def tf_config(cluster=None, kind="worker", index=0):
    return json.dumps({"cluster": cluster or WORKERS, "task": {"type": kind, "index": index}})


def test_without_a_strategy():
    assert make_strategy("none") is None
    assert is_chief(None)
    assert not is_multi_worker(None)
    assert [agreement(None)(vote) for vote in ("SIGTERM", None)] == [True, False]
    assert lost_worker(tf.errors.UnavailableError(None, None, ""), None, "run") is None
    batches = tf.data.Dataset.range(4).batch(2)
    assert distribute(None, batches) is batches


def test_mirrored_on_one_device_trains_on_it_alone(caplog):
    assert len(tf.config.list_logical_devices()) == 1
    assert make_strategy("mirrored") is None
    assert "strategy mirrored found one device, /device:CPU:0: training on it alone." in caplog.text


@pytest.mark.parametrize("text", (None, ""))
def test_no_tf_config(text, monkeypatch):
    with pytest.raises(ValueError, match="^strategy multi_worker needs the environment variable"):
        check_tf_config(text)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="TF_CONFIG with cluster and task; it is not set.$"):
        make_strategy("multi_worker")


@pytest.mark.parametrize(
    "text",
    (
        "{",
        "[]",
        "7",
        "{}",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": 3}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "x"}}',
    ),
)
def test_malformed_tf_config(text):
    with pytest.raises(ValueError, match=r"^TF_CONFIG must be JSON such as .*; got .*\.$"):
        check_tf_config(text)


@pytest.mark.parametrize(
    "text, message",
    (
        (tf_config({"ps": ["a:1"], "worker": ["b:1"]}), "jobs must be worker and chief; got 'ps'"),
        (tf_config({"worker": ["a"]}), "addresses must be host:port; got 'a'"),
        (tf_config({"worker": ["a:x"]}), "addresses must be host:port; got 'a:x'"),
        (tf_config({"worker": ["a:1", "a:1"]}), "names an address twice"),
        (tf_config(index=2), "task worker 2 is not in its cluster"),
        (tf_config(index=-1), "task worker -1 is not in its cluster"),
        (tf_config(kind="chief"), "task chief 0 is not in its cluster"),
    ),
)
def test_a_cluster_that_cannot_be(text, message):
    with pytest.raises(ValueError, match=f"^TF_CONFIG.*{message}"):
        check_tf_config(text)


def test_clusters_that_can_be():
    check_tf_config(tf_config(index=1))
    check_tf_config(tf_config({"chief": ["c:1"], **WORKERS}, "chief"))
    check_tf_config(tf_config({"worker": ["[::1]:5000"]}))


def test_shares():
    two = types.SimpleNamespace(num_replicas_in_sync=2)
    check_shares(None, 3, 3)
    check_shares(two, 6, 3)
    with pytest.raises(ValueError, match=r"^batch_size = 5 .* divisible by the 2 replicas\.$"):
        check_shares(two, 5)
    with pytest.raises(ValueError, match=r"^A replica's share of 3 .* too small to mix k = 4"):
        check_shares(two, 6, 4)


class Recorder:
    """A strategy of 2 workers with 2 replicas each, that keeps what each worker reads."""

    def __init__(self, worker):
        self.context = tf.distribute.InputContext(2, worker, 4)

    def distribute_datasets_from_function(self, function):
        return function(self.context)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("labelled", (False, True))
def test_each_replica_reads_its_share(dynamic, labelled):
    images = np.arange(16.0)[:, None]
    data = (images, np.arange(16)) if labelled else images
    batches = tf.data.Dataset.from_tensor_slices(data).batch(8, drop_remainder=not dynamic)
    shares = [list(distribute(Recorder(worker), batches)) for worker in range(2)]
    first = [[(part[1] if labelled else part).numpy().ravel() for part in one] for one in shares]
    assert [[part.tolist() for part in one] for one in first] == [
        [[0, 1], [2, 3], [8, 9], [10, 11]],
        [[4, 5], [6, 7], [12, 13], [14, 15]],
    ]


@pytest.mark.parametrize("size", range(1, 10))
def test_a_smaller_last_batch_is_shared_whole(size):
    batches = tf.data.Dataset.range(size).batch(16)
    shares = [list(distribute(Recorder(worker), batches)) for worker in range(2)]
    assert [len(parts) for parts in shares] == [2, 2]
    parts = [part.numpy() for parts in shares for part in parts]
    assert np.concatenate(parts).tolist() == list(range(size))
    lengths = list(map(len, parts))
    assert max(lengths) - min(lengths) <= 1 and lengths == sorted(lengths, reverse=True)


def test_xla_with_a_strategy(tmp_path):
    config = tiny_config(tmp_path, strategy="mirrored", jit_compile="true")
    with pytest.raises(ValueError, match=r"^jit_compile=true needs strategy none.*got strategy mi"):
        config.validate()


# Training.

# 131 images: four steps an epoch.
FLAGS = {
    "dataset": "digits",
    "image_size": 8,
    "architecture": "tiny",
    "mixer": "halves",
    "train_subset": 131,
    "batch_size": 32,
    "epochs": 5,
    # A gradient that is 0 but for rounding would be a whole step with Adam's usual epsilon.
    "autoencoder_optimizer": "adam_l2(learning_rate=1e-3, epsilon=1e-3)",
    "discriminator_optimizer": "adam_l2(learning_rate=1e-3, epsilon=1e-3)",
    "probe_optimizer": "adam_l2(epsilon=1e-3)",
    "sample_every": 0,
    "verbose": 0,
    "jit_compile": "false",
}


def words(run_dir, **flags):
    arguments = {**FLAGS, "run_dir": run_dir, **flags}
    return [f"--{name}={value}" for name, value in arguments.items()]


def start(run_dir, environment=None, **flags):
    """A training process."""
    return forked.start(SCRIPT, *words(run_dir, **flags), cwd=ROOT, environment=environment)


def run(run_dir, environment=None, **flags):
    """Exit code and the two outputs of a training command."""
    return forked.run(SCRIPT, *words(run_dir, **flags), cwd=ROOT, environment=environment)


def start_workers(run_dirs, **flags):
    """Two workers on loopback, each with a run folder."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    return [
        start(
            run_dir,
            {"TF_CONFIG": tf_config(cluster, index=index)},
            strategy="multi_worker",
            **flags,
        )
        for index, run_dir in enumerate(run_dirs)
    ]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def finish(process, timeout=600):
    """Exit code and the two outputs of a process."""
    try:
        output, errors = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a run of 20 steps on one device."""
    run_dir = tmp_path_factory.mktemp("alone") / "run"
    code, _, errors = run(run_dir)
    assert code == 0, errors[-3000:]
    return run_dir


def newest(run_dir):
    return max((run_dir / "checkpoints").glob("last-*.keras"))


def assert_same_training(run_dir, expected):
    """Weights, optimizers and counters of two runs, and their metrics without those of mixes."""
    found, wanted = checkpoint_arrays(newest(run_dir)), checkpoint_arrays(newest(expected))
    assert found.keys() == wanted.keys()
    assert newest(run_dir).name == newest(expected).name == "last-00000020.keras"
    for name in wanted:
        # Moments can be large: they agree relative to their size.
        rtol = 1e-4 if "_optimizer/" in name else 0
        np.testing.assert_allclose(found[name], wanted[name], rtol=rtol, atol=1e-5, err_msg=name)
    rows, expected_rows = read_log(run_dir / "log.csv"), read_log(expected / "log.csv")
    assert len(rows) == len(expected_rows) == 5
    # A validation batch of 13 has other halves than shares.
    names = ("loss", "discriminator_loss", "probe_accuracy", "val_probe_accuracy", "val_probe_loss")
    for row, other in zip(rows, expected_rows):
        for name in (*names, "val_reconstruction_loss"):
            assert row[name] == pytest.approx(other[name], rel=1e-4), name


@pytest.mark.slow
def test_two_logical_devices_train_as_one(tmp_path, alone):
    code, _, errors = run(tmp_path / "run", TWO_DEVICES, strategy="mirrored")
    assert code == 0, errors[-3000:]
    assert_same_training(tmp_path / "run", alone)


@pytest.mark.slow
def test_two_workers_train_as_one_and_only_the_chief_writes(tmp_path, alone):
    folders = [tmp_path / "chief", tmp_path / "other"]
    ends = [finish(process) for process in start_workers(folders)]
    assert [code for code, *_ in ends] == [0, 0], ends[0][2][-3000:]
    assert_same_training(folders[0], alone)
    assert (folders[0] / "results.json").exists()
    assert not folders[1].exists()
    assert ends[1][1] == ""


@pytest.mark.slow
def test_a_killed_worker_stops_the_job_and_resume_continues(tmp_path):
    """And a signal to one worker of the resumed job stops all after the same step."""
    run_dir = tmp_path / "run"
    state = run_dir / "checkpoints" / "state.json"
    chief, other = start_workers([run_dir, run_dir], epochs=100_000)
    try:
        wait_for(state.exists, chief)
        other.send_signal(signal.SIGKILL)
        code, _, errors = finish(chief)
    finally:
        other.kill()
    assert code not in (0, None)
    assert "lost another worker of the job and stopped; start all workers again" in errors
    assert "Traceback" not in errors
    before = state.read_text()
    chief, other = start_workers([run_dir, run_dir], resume="true")
    wait_for(lambda: state.read_text() != before, chief)
    other.send_signal(signal.SIGTERM)
    ends = [finish(process) for process in (chief, other)]
    assert [code for code, *_ in ends] == [130, 130], ends[0][2][-3000:]
    assert "Stopped by a signal to another worker after step" in ends[0][1]
    assert json.loads(state.read_text())["step"] > json.loads(before)["step"]
    epochs = [int(row["epoch"]) for row in read_log(run_dir / "log.csv")]
    assert epochs == list(range(len(epochs)))


@pytest.mark.slow
def test_bad_input_is_told_in_one_line(tmp_path):
    code, _, errors = run(tmp_path / "run", {"TF_CONFIG": ""}, strategy="multi_worker")
    assert code == 2
    assert errors.strip().splitlines()[-1].startswith("error: strategy multi_worker needs the env")
    code, _, errors = run(tmp_path / "run", TWO_DEVICES, strategy="mirrored", batch_size=31)
    assert code == 2
    assert "error: batch_size = 31 is the global batch's and must be divisible" in errors
    assert not (tmp_path / "run").exists()
