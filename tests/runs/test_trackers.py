"""Trackers: each epoch once, whatever happens to the run, its processes or the server."""

import csv
import json
import logging
import math
import subprocess
import sys
import types

import keras
import pytest
from PIL import Image

from amr_tf.experiments import train
from amr_tf.runs import run as run_lib
from amr_tf.runs import trackers as trackers_lib
from amr_tf.runs.callbacks import StopOnSignal
from amr_tf.runs.folder import RunFolder
from amr_tf.runs.trackers import (
    TRACKERS,
    Tracker,
    check_trackers,
    make_trackers,
    tracker_calls,
    tracks_with,
)
from tests.runs.conftest import read_log, tiny_config

pytestmark = pytest.mark.usefixtures("tiny")

SERVER = "MLFLOW_TRACKING_URI"


class Memory(Tracker):
    """A tracker of one's own, whose server is a dictionary from ids to lists."""

    title = "Memory"
    server: dict[str, list] = {}
    down = ""

    def __init__(self, folder, config, word="x"):
        super().__init__(folder, config)
        self.word = word

    def begin(self):
        self._work("begin")
        if self.remembered_id() is None:
            self.remember_id(f"{self.word}{len(self.server)}")
        self.sent = self.server.setdefault(self.remembered_id(), [])
        return sum(kind == "epoch" for kind, *_ in self.sent)

    def log_epoch(self, epoch, values):
        self._work("log_epoch")
        self.sent.append(("epoch", epoch, values))

    def log_image(self, epoch, image):
        self._work("log_image")
        self.sent.append(("image", epoch, image.name))

    def log_results(self, epoch, values):
        self._work("log_results")
        self.sent.append(("results", epoch, values))

    def end(self, state):
        self.sent.append(("end", state))

    def _work(self, method):
        if self.down == method:
            raise ConnectionError(f"no route\nto {method}")


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The tracker above under the name "memory", with an empty server that is up."""
    monkeypatch.setattr(TRACKERS, "_entries", dict(TRACKERS._entries))
    TRACKERS.register("memory")(Memory)
    monkeypatch.setattr(Memory, "server", {})
    monkeypatch.setattr(Memory, "down", "")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name in (SERVER, "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def config(tmp_path):
    changes = {"architecture": "tiny", "trackers": "memory", "sample_every": 2}
    return tiny_config(tmp_path / "run", epochs=2, **changes)


def sent(kind):
    """What the only run on the server has of a kind."""
    (run,) = Memory.server.values()
    return [entry[1:] for entry in run if entry[0] == kind]


def curve(name="loss"):
    return [(epoch, values[name]) for epoch, values in sent("epoch")]


def logged(config, name="loss"):
    return [(int(row["epoch"]), row[name]) for row in read_log(RunFolder(config.run_dir).log)]


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


class Trained:
    """What a training does with its trackers and with the files that they read, and nothing else.

    Every second epoch draws samples; the results have one number.
    """

    def __init__(self, config):
        self.folder = RunFolder(config.run_dir)
        self.config = config.resolve()
        self.folder.samples.mkdir(parents=True, exist_ok=True)
        self.folder.config.write_text(config.to_json())

    def epochs(self, first, last, state="finished"):
        """Trains up to an epoch that is not included, and ends."""
        trackers = make_trackers(self.config, self.folder)
        callbacks = keras.callbacks.CallbackList(trackers)
        callbacks.on_train_begin()
        rows = self.read_log()[:first]
        for epoch in range(first, last):
            rows.append({"epoch": epoch, "loss": 1 / (epoch + 1), "val_loss": 0.25})
            self.write_log(rows)
            if epoch % 2:
                drawn = self.folder.samples / f"epoch_{epoch + 1:05d}.png"
                Image.new("L", (8, 8), epoch).save(drawn)
            logs = {name: value for name, value in rows[-1].items() if name != "epoch"}
            callbacks.on_epoch_end(epoch, logs)
        callbacks.on_train_end()
        results = {"test": {"accuracy": 0.5, "undefined": math.nan}, "best": None}
        self.folder.results.write_text(json.dumps(results))
        trackers_lib.end(trackers, state, results)

    def read_log(self):
        if not self.folder.log.exists():
            return []
        with self.folder.log.open(newline="") as file:
            return list(csv.DictReader(file))

    def write_log(self, rows):
        with self.folder.log.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


# Lists of trackers.


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("", []),
        ("none", []),
        ("tensorboard", ["tensorboard"]),
        (" tensorboard , mlflow", ["tensorboard", "mlflow"]),
        (
            "mlflow(experiment='a,b)'),my-own.one(k=(1, 2)),",
            ["mlflow(experiment='a,b)')", "my-own.one(k=(1, 2))"],
        ),
    ],
)
def test_a_list_of_calls(text, calls):
    assert tracker_calls(text) == calls


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mlfow", r"^Unknown tracker 'mlfow'\. Did you mean 'mlflow'\? Allowed: memory, mlflow, "),
        ("memory,memory(word='y')", r"^trackers names 'memory' twice; got "),
        ("memory(words='y')", r"^Unknown parameter of tracker 'memory': 'words'"),
        ("memory(folder='y')", r"^folder of tracker 'memory' is set by --run_dir, not in a call"),
        ("memory mlflow", r"^trackers 'memory mlflow' cannot be read: write names or calls"),
        ("x" * 10_001, r"^trackers 'x{80}' cannot be read"),
    ],
)
def test_what_is_wrong_with_a_list(text, message):
    with pytest.raises(ValueError, match=message):
        check_trackers(text)


@pytest.mark.parametrize(
    ("name", "absent", "message"),
    [
        ("mlflow", ("mlflow",), "needs mlflow (pip install 'amr-tf[mlflow]')."),
        (
            "mlflow",
            ("sqlalchemy", "alembic"),
            "needs sqlalchemy and alembic (pip install 'amr-tf[mlflow]').",
        ),
        ("wandb", ("wandb",), "needs wandb (pip install 'amr-tf[wandb]')."),
    ],
)
def test_a_missing_package_is_told_before_any_work(tmp_path, monkeypatch, name, absent, message):
    # What Python finds where there is a folder of that name in the working directory.
    folder = types.SimpleNamespace(origin=None)
    here = types.SimpleNamespace(origin="a file")
    monkeypatch.setattr(
        trackers_lib.importlib.util,
        "find_spec",
        lambda package: folder if package in absent else here,
    )
    with pytest.raises(ValueError) as caught:
        train(tiny_config(tmp_path / "run", trackers=f"tensorboard,{name}"))
    assert str(caught.value) == f"Tracker '{name}' {message}"
    assert not (tmp_path / "run").exists()


def test_a_server_needs_no_database_here(monkeypatch):
    monkeypatch.setenv(SERVER, "http://localhost:5000")
    assert TRACKERS.get("mlflow").packages() == ("mlflow",)


# Trainings.


def test_each_epoch_with_its_samples_and_the_results(config):
    """A run that is resumed is one run, also where nothing is left to train."""
    results = train(config, probes=())
    assert curve() == logged(config)
    assert sent("image") == [(1, "epoch_00002.png")]
    ((epoch, values),) = sent("results")
    assert epoch == 1
    assert values["results/test/loss"] == results["test"]["loss"]
    assert values["results/best_epoch"] == results["best_epoch"]
    train(config.replace(epochs=3), resume=True, probes=())
    assert curve() == logged(config)
    assert [epoch for epoch, _ in curve()] == [0, 1, 2]
    train(config.replace(epochs=3), resume=True, probes=())
    assert len(curve()) == 3
    assert [epoch for epoch, _ in sent("results")] == [1, 2, 2]
    assert sent("end") == 3 * [("finished",)]


def test_epochs_that_are_trained_again_are_not_doubled(config, monkeypatch, unevaluated):
    """Of three epochs two are in a checkpoint when the process ends."""

    class Kill(StopOnSignal):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise SystemExit

    monkeypatch.setattr(run_lib, "StopOnSignal", Kill)
    with pytest.raises(SystemExit):
        train(config.replace(epochs=4, checkpoint_every=2))
    assert [epoch for epoch, _ in curve()] == [0, 1, 2]
    monkeypatch.setattr(run_lib, "StopOnSignal", StopOnSignal)
    train(config.replace(epochs=4, checkpoint_every=2), resume=True)
    assert curve() == logged(config)
    assert [epoch for epoch, _ in curve()] == [0, 1, 2, 3]
    assert sent("end") == [("failed",), ("finished",)]


def test_an_interrupted_run_and_a_failed_evaluation(config, monkeypatch):
    class Interrupting(StopOnSignal):
        def on_train_batch_end(self, batch, logs=None):
            self.received = "SIGINT" if self.model.steps_made == 6 else None
            super().on_train_batch_end(batch, logs)

    def fail(model, data, probes):
        raise MemoryError

    monkeypatch.setattr(run_lib, "StopOnSignal", Interrupting)
    monkeypatch.setattr("amr_tf.experiments.evaluate", fail)
    assert train(config) is None
    assert sent("end") == [("interrupted",)]
    monkeypatch.setattr(run_lib, "StopOnSignal", StopOnSignal)
    with pytest.raises(MemoryError):
        train(config, resume=True)
    assert sent("end") == [("interrupted",), ("failed",)]
    assert curve() == logged(config)


def test_the_last_samples_of_a_run_that_ends_early(config, unevaluated):
    train(config.replace(epochs=9, sample_every=5, max_minutes=1e-6))
    assert len(curve()) == 1
    assert sent("image") == [(0, "epoch_00001.png")]


# What a tracker gets.


def test_a_tracker_that_comes_later_gets_the_epochs_before(config):
    Trained(config.replace(trackers="none")).epochs(0, 2)
    Trained(config.replace(trackers="memory(word='late')")).epochs(2, 4)
    assert list(Memory.server) == ["late0"]
    assert curve() == logged(config) == [(0, 1.0), (1, 0.5), (2, 1 / 3), (3, 0.25)]
    assert sent("image") == [(1, "epoch_00002.png"), (3, "epoch_00004.png")]
    assert sent("results") == [(3, {"results/test/accuracy": 0.5})]


@pytest.mark.parametrize("place", ["begin", "log_epoch", "log_image", "log_results"])
def test_a_failure_is_one_warning_and_the_next_training_sends_what_is_missing(
    config, monkeypatch, caplog, place
):
    monkeypatch.setattr(Memory, "down", place)
    run = Trained(config)
    run.epochs(0, 2)
    assert warnings_of(caplog) == [
        f"Memory has failed (ConnectionError: no route to {place}). Training continues without "
        "it; --resume sends what is missing."
    ]
    monkeypatch.setattr(Memory, "down", "")
    run.epochs(2, 3)
    assert curve() == logged(config)
    assert [epoch for epoch, _ in curve()] == [0, 1, 2]
    assert len(sent("results")) == 1


def test_a_failure_ends_no_training(config, monkeypatch, unevaluated):
    """And TensorBoard, which is the default, leaves no files where it is not in the list."""
    monkeypatch.setattr(Memory, "down", "begin")
    results = train(config.replace(epochs=1, sample_every=1))
    assert results["classes"] == 10
    folder = RunFolder(config.run_dir)
    assert json.loads(folder.results.read_text()) == results
    assert (folder.samples / "epoch_00001.png").is_file()
    assert not folder.trackers.exists()
    assert tracks_with("tensorboard", tiny_config("x").trackers)
    assert not tracks_with("tensorboard", config.trackers)
    assert not folder.tensorboard.exists()


@pytest.mark.parametrize("text", ["{", '{"Memory": "../../x"}', '{"Memory": 7.5}', "[]"])
def test_ids_that_are_none(config, caplog, text):
    """A run's folder may be someone else's."""
    run = Trained(config)
    run.folder.trackers.write_text(text)
    run.epochs(0, 1)
    (warning,) = warnings_of(caplog)
    assert warning.startswith("Memory has failed (ValueError: ")
    assert "trackers.json' is damaged: " in warning
    assert Memory.server == {}


def test_cells_that_are_no_numbers(config):
    run = Trained(config.replace(trackers="none"))
    run.epochs(0, 2)
    rows = run.read_log()
    run.write_log([{**rows[0], "loss": "NA"}, rows[1]])
    Trained(config).epochs(2, 2)
    assert [values for _, values in sent("epoch")] == [
        {"val_loss": 0.25},
        {"loss": 0.5, "val_loss": 0.25},
    ]


# MLflow itself.


def mlflow_runs(uri, experiment="amr_tf"):
    """A client, and the runs of an experiment."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    return client, client.search_runs([found.experiment_id])


def mlflow_curve(client, run, name):
    history = client.get_metric_history(run.info.run_id, name)
    return [(metric.step, metric.value) for metric in history]


def test_mlflow(tmp_path, config, caplog, capsys, unevaluated):
    """Beside the run's folder: one run for both trainings, with all that it shall have."""
    config = config.replace(trackers="tensorboard,mlflow", verbose=2, epochs=1)
    train(config)
    assert f"sqlite:///{tmp_path}/mlflow.db" in capsys.readouterr().out
    train(config.replace(epochs=3), resume=True)
    client, (run,) = mlflow_runs(f"sqlite:///{tmp_path}/mlflow.db")
    folder = RunFolder(config.run_dir)
    assert json.loads(folder.trackers.read_text()) == {"MLflow": run.info.run_id}
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    settings = config.resolve().as_flags()
    assert run.data.params == {name: str(value) for name, value in settings.items()}
    for name in ("loss", "val_probe_accuracy", "health_dead_maps"):
        assert mlflow_curve(client, run, name) == logged(config, name)
    assert mlflow_curve(client, run, "results/classes") == [(0, 10.0), (2, 10.0)]
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"config.json", "results.json", "samples"}
    copies = {path.name: path.read_bytes() for path in (tmp_path / "mlflow_artifacts").rglob("*.*")}
    originals = (folder.config, folder.results, *folder.samples.iterdir())
    assert copies == {path.name: path.read_bytes() for path in originals}
    assert warnings_of(caplog) == []


def test_mlflow_begins_anew_where_its_run_is_gone(tmp_path, config, monkeypatch):
    """In a database and an experiment of the user's own."""
    uri = f"sqlite:///{tmp_path}/own.db"
    monkeypatch.setenv(SERVER, uri)
    monkeypatch.chdir(tmp_path)  # There MLflow keeps the artifacts of such a database.
    run = Trained(config.replace(trackers="mlflow(experiment='mine')"))
    run.epochs(0, 2, "interrupted")
    client, (first,) = mlflow_runs(uri, "mine")
    assert first.info.status == "KILLED"
    client.delete_run(first.info.run_id)
    run.epochs(2, 3)
    client, (second,) = mlflow_runs(uri, "mine")
    assert second.info.run_id != first.info.run_id
    assert mlflow_curve(client, second, "loss") == logged(config)
    run.epochs(3, 3)  # The same results once more.
    assert mlflow_curve(client, second, "results/test/accuracy") == [(2, 0.5)]
    run.folder.trackers.write_text(json.dumps({"MLflow": "0" * 32}))
    run.epochs(3, 3)
    assert len(mlflow_runs(uri, "mine")[1]) == 2
    assert not (tmp_path / "mlflow.db").exists()


def test_mlflow_out_of_reach(config, monkeypatch, caplog):
    monkeypatch.setenv(SERVER, "http://127.0.0.1:9")
    Trained(config.replace(trackers="mlflow")).epochs(0, 2)
    (warning,) = warnings_of(caplog)
    assert warning.startswith("MLflow has failed (MlflowException: API request to http://127.0")


# W&B itself, which writes files.


def wandb_records(folder, kind):
    """The records of a kind in the newest file, as W&B's own command reads them."""
    newest = (folder.path / "wandb" / "latest-run").resolve()
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(newest)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    records = [json.loads(line) for line in out.splitlines()]
    return [record[kind] for record in records if record["type"] == kind]


def test_wandb(config, caplog):
    """Each training's file has the whole run, from the first epoch on."""
    run = Trained(config.replace(trackers="wandb(project='mine')"))
    run.epochs(0, 2, "interrupted")
    run.epochs(2, 4)
    assert warnings_of(caplog) == []
    items = [record["item"] for record in wandb_records(run.folder, "history")]
    assert [(item["_step"], item["loss"]) for item in items] == logged(config)
    drawn = [any(name.startswith("samples") for name in item) for item in items]
    assert drawn == [False, True, False, True]
    ids = {record["run_id"] for record in wandb_records(run.folder, "run")}
    assert ids == {json.loads(run.folder.trackers.read_text())["W&B"]}
    (made,) = [record for record in wandb_records(run.folder, "run") if record.get("project")]
    assert made["project"] == "mine"
    assert made["config"]["update"]["lambda"] == 10.0
    summary = {}
    for record in wandb_records(run.folder, "summary"):
        summary |= record["update"]
    assert summary["results/test/accuracy"] == 0.5
    files = run.folder.path / "wandb" / "latest-run" / "files"
    assert (files / "results.json").read_bytes() == run.folder.results.read_bytes()
