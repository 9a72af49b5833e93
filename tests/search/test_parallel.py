"""Chief and workers: in one process without training, and as commands of which some are killed."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc
import pytest
from keras_tuner.src.distribute import oracle_client

from amr_tf.search import ORACLES, SearchSpace, make_tuner, parallel
from tests.runs.conftest import tiny_config, wait_for

SPACE = SearchSpace.parse(["lambda:2,10", "k:2,3"])
TIMEOUT = 1.5
EPOCHS = 3  # Of a real trial.


@pytest.fixture
def address(monkeypatch):
    """A free port, as KerasTuner's variables name it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = dict(zip(parallel.VARIABLES, ("chief", "127.0.0.1", str(port))))
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


class Chief(threading.Thread):
    """A chief's service in a thread."""

    def __init__(self, tuner, timeout):
        super().__init__(daemon=True)
        self.oracle, self.error, self._timeout = tuner.oracle, None, timeout
        self.start()

    def run(self):
        try:
            parallel.serve(self.oracle, self._timeout)
        except OSError as error:
            self.error = error


@pytest.fixture
def start_chief(address, tmp_path):
    def start(oracle="grid", timeout=60.0, **arguments):
        tuner = make_tuner(tiny_config("unused"), SPACE, tmp_path, oracle, **arguments)
        tuner.oracle.verbose = 0
        tuner.save()
        return Chief(tuner, timeout)

    return start


@pytest.fixture
def worker(address, monkeypatch, tmp_path):
    """Makes a worker's client of the oracle, and its connection."""

    def connect(name):
        monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
        oracle = ORACLES.get("grid")(SPACE, None, 3, 1)
        client = oracle_client.OracleClient(oracle)
        connection = parallel.Connection(client, TIMEOUT)
        connection.wait()
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
        return client, connection

    return connect


def finish(client, trial):
    client.update_trial(trial.trial_id, {"val_probe_accuracy": 0.5})
    trial.status = "COMPLETED"
    client.end_trial(trial)


def finish_in(oracle, trial_id):
    oracle.update_trial(trial_id, {"val_probe_accuracy": 0.5})
    trial = oracle.trials[trial_id]
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def next_trial(client):
    """The next trial that there is, or None at the end."""
    while (trial := client.create_trial(client.tuner_id)).status == "IDLE":
        time.sleep(0.1)
    return None if trial.status == "STOPPED" else trial


def finish_all(client):
    made = []
    while trial := next_trial(client):
        finish(client, trial)
        made.append(trial.trial_id)
    return made


@pytest.mark.parametrize("oracle", ["grid", "random"])
def test_a_lost_workers_trial_goes_to_another(start_chief, worker, oracle):
    chief = start_chief(oracle, TIMEOUT, max_trials=4)
    lost, left = worker("worker0")[0], worker("worker1")[0]
    trial = next_trial(lost)  # And no sign of life from here on.
    assert trial.trial_id in finish_all(left)
    chief.join()
    assert chief.error is None
    assert [trial.status for trial in chief.oracle.trials.values()] == ["COMPLETED"] * 4


def test_signs_of_life_keep_a_trial(start_chief, worker):
    chief = start_chief(timeout=2 * TIMEOUT)  # A busy machine may be late with signs.
    (slow, connection), (left, _) = worker("worker0"), worker("worker1")
    trial = next_trial(slow)
    with connection.signs_of_life(trial.trial_id):
        rest = threading.Thread(target=finish_all, args=(left,), daemon=True)
        rest.start()
        time.sleep(4 * TIMEOUT)
        assert chief.oracle.ongoing_trials["worker0"].trial_id == trial.trial_id
    finish(slow, trial)
    assert finish_all(slow) == []
    chief.join()
    assert chief.error is None


def test_a_worker_that_was_given_up_is_refused(start_chief, worker):
    chief = start_chief()
    lost, left = worker("worker0")[0], worker("worker1")[0]
    trial = next_trial(lost)
    chief.oracle.give_up("worker0")
    assert next_trial(left).trial_id == trial.trial_id
    with pytest.raises(grpc.RpcError, match="worker0 was given up as lost") as error:
        finish(lost, trial)
    assert parallel.lost(error.value).endswith("its chief says: worker0 was given up as lost.")


def test_two_workers_of_one_name(start_chief, worker):
    start_chief()
    first, second = worker("worker0")[0], worker("worker0")[0]
    trial = next_trial(first)
    assert next_trial(second).trial_id == trial.trial_id  # As if the first had been killed.
    with pytest.raises(grpc.RpcError, match="another process is called worker0"):
        finish(first, trial)
    finish(second, trial)


def test_a_chief_that_is_started_again(start_chief, worker, address, tmp_path):
    """Trials that were running stay their workers', finished ones are finished."""
    chief = start_chief()
    busy, left = worker("worker0")[0], worker("worker1")[0]
    trial = next_trial(busy)
    finish(left, next_trial(left))
    again = make_tuner(tiny_config("unused"), SPACE, tmp_path).oracle
    assert {name: trial.trial_id for name, trial in again.ongoing_trials.items()} == {
        "worker0": trial.trial_id
    }
    assert [trial.status for trial in again.trials.values()] == ["RUNNING", "COMPLETED"]
    finish(busy, trial)
    finish_all(left)
    finish_all(busy)
    chief.join()
    finish_in(again, trial.trial_id)  # Its report of the trial's end, too.
    assert chief.error is None


def test_a_chief_without_workers_ends(start_chief, monkeypatch):
    monkeypatch.setattr(parallel, "PATIENCE", 1)
    chief = start_chief(timeout=TIMEOUT)
    chief.join()
    assert str(chief.error).startswith("No worker was heard of for 1.5 s. 0 trials are finished")


def test_a_worker_without_chief_ends(worker, monkeypatch):
    monkeypatch.setattr(parallel, "PATIENCE", 1)
    with pytest.raises(OSError, match="^No chief answered at 127.0.0.1:[0-9]+ for 1.5 s: start"):
        worker("worker0")


def test_an_address_that_is_in_use(start_chief, address):
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(address["KERASTUNER_ORACLE_PORT"])))
        other.listen()
        chief = start_chief()
        chief.join()
    assert str(chief.error).startswith("The chief cannot listen at 127.0.0.1:")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((None, "127.0.0.1", "1234"), "^KERASTUNER_TUNER_ID is not set"),
        (("worker0", None, None), "^KERASTUNER_ORACLE_IP is not set"),
        (("chief", "127.0.0.1", ""), "^KERASTUNER_ORACLE_PORT is not set"),
        (("chief", "127.0.0.1", "x"), "^KERASTUNER_ORACLE_PORT must be a port .* got 'x'"),
        (("chief", "127.0.0.1", "70000"), "^KERASTUNER_ORACLE_PORT must be a port"),
        (("chief1", "127.0.0.1", "1234"), "^KERASTUNER_TUNER_ID must be chief or .* got 'chief1'"),
    ],
)
def test_variables_that_are_refused(monkeypatch, tmp_path, values, message):
    for name, value in zip(parallel.VARIABLES, values):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        make_tuner(tiny_config("x"), SPACE, tmp_path)
    assert not list(tmp_path.iterdir())


def start(name, address, out):
    """The command as a chief or worker, in a process group of its own."""
    flags = tiny_config("unused", epochs=EPOCHS, verbose=0)
    (out / "flags.cfg").write_text(flags.to_flagfile())
    command = [sys.executable, "-m", "amr_tf.tune", f"--flagfile={out / 'flags.cfg'}"]
    command += ["--search=lambda:2,10,20", f"--out={out / 'search'}"]
    log = (out / f"{name}.log").open("w")
    return subprocess.Popen(
        [*command, "--worker_timeout=10"],
        env={**os.environ, **address, "KERASTUNER_TUNER_ID": name},
        stdout=log,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.slow
def test_a_killed_worker(address, tmp_path):
    """The other worker takes its trial over and goes on with its run; the chief reports all."""
    processes = {name: start(name, address, tmp_path) for name in ("chief", "worker0", "worker1")}
    state = tmp_path / "search" / "tuner" / "oracle.json"
    try:

        def in_the_middle():
            trials = json.loads(state.read_text())["ongoing_trials"] if state.is_file() else {}
            run = tmp_path / "search" / "runs" / f"trial{trials.get('worker0')}_run0"
            return (run / "checkpoints" / "state.json").is_file() and not (
                run / "results.json"
            ).is_file()

        wait_for(in_the_middle, processes["chief"])
        processes["worker0"].send_signal(signal.SIGKILL)
        codes = {name: process.wait(timeout=300) for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
    log = (tmp_path / "chief.log").read_text()
    assert codes == {"chief": 0, "worker0": -signal.SIGKILL, "worker1": 0}, log
    assert "worker0 was not heard of for 10 s: trial " in log
    with (tmp_path / "search" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(float(row["lambda"]) for row in rows) == [2, 10, 20]
    for row in rows:
        with (
            tmp_path / "search" / "runs" / f"trial{row['trial']}_run0" / "log.csv"
        ).open() as file:
            assert len(file.readlines()) == 1 + EPOCHS  # Each epoch once.
