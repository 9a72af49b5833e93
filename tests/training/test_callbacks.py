"""Callbacks: stopping between two steps, and curves of epochs only."""

import os
import signal

import pytest
import tensorflow as tf

from amr_tf.training.callbacks import EpochTensorBoard, Interrupted, StopOnSignal


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
