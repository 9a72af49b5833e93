"""Callbacks: stopping between two steps, and curves of epochs only."""

import os
import re
import signal

import pytest
import tensorflow as tf

from amr_tf.runs.callbacks import EpochTensorBoard, Interrupted, ProgressBar, StopOnSignal


@pytest.fixture
def default_handlers():
    """Python's own handlers, whatever a test does to them."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", ("SIGINT", "SIGTERM", "SIGHUP"))
@pytest.mark.parametrize("place", ("on_train_batch_end", "on_epoch_end"))
def test_a_signal_stops_between_two_steps(default_handlers, name, place):
    with StopOnSignal() as stop:
        stop.set_params({"epochs": 9, "steps": 9})
        getattr(stop, place)(0)  # Nothing has come yet.
        os.kill(os.getpid(), getattr(signal, name))
        assert stop.received == name
        with pytest.raises(Interrupted, match=name):
            getattr(stop, place)(1)


def test_a_second_signal_acts_at_once(default_handlers):
    with StopOnSignal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_under_nohup_a_closed_terminal_stops_nothing(default_handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopOnSignal() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == "SIGTERM"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_handlers_come_back(default_handlers):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(RuntimeError), StopOnSignal():
        inside = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        raise RuntimeError
    assert all(handler not in before for handler in inside)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_batches_are_not_summarised(tmp_path, model, monkeypatch):
    """Keras' own callback would, to no effect, and memory would grow with each step."""
    callback = EpochTensorBoard(tmp_path, write_graph=False)
    callback.set_model(model)
    callback.on_train_begin()
    made = []
    monkeypatch.setattr(tf.summary, "scalar", lambda *args, **kwargs: made.append(args))
    callback.on_train_batch_end(0, {"loss": 1.0})
    assert made == []
    callback.on_epoch_end(0, {"loss": 1.0})
    assert made


LOGS = {"adversarial_loss": -0.68, "loss": 3.1, "probe_loss": 2e-5, "reconstruction_loss": 0.3175}


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (70, []),
        (80, ["reconstruction_loss"]),
        (110, ["reconstruction_loss", "adversarial_loss"]),
        (300, ["reconstruction_loss", "adversarial_loss", "loss", "probe_loss"]),
    ],
)
def test_the_progress_bar_fits_in_the_terminal(monkeypatch, capsys, columns, shown):
    monkeypatch.setenv("COLUMNS", str(columns))
    bar = ProgressBar()
    bar.set_params({"verbose": 1, "epochs": 2, "steps": 100})
    bar.on_train_begin()
    bar.on_epoch_begin(0)
    bar.on_train_batch_end(41, LOGS)
    line = re.sub(r"\x1b\[\d+m|\x08", "", capsys.readouterr().out).rpartition("\r")[2]
    assert line.startswith(" 42/100 ")
    assert re.findall(r"(\w+):", line.partition("/step")[2]) == shown
    assert len(line) <= columns
    bar.on_epoch_end(0, {**LOGS, "val_loss": 2.0})
    assert re.findall(r"(\w+):", capsys.readouterr().out) == [
        *shown,
        *(name for name in [*LOGS, "val_loss"] if name not in shown),
    ]
