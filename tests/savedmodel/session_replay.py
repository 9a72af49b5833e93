"""Replays requests as TF Serving does: python session_replay.py REPLAY.py FOLDER RECORD.npz [...]

A TF1 session holds the SavedModel, and a signature's tensors are fed and fetched by name. It
imports nothing of this package: of `amr_tf/savedmodel/replay.py`, a script as well, it takes the
functions that read and compare. For each SavedModel it prints a line of JSON: from each signature's
name to the largest differences from what `tf.saved_model.load` answers, and from what the model
answered.
"""

import json
import runpy
import sys

import tensorflow as tf


def main(replay, *arguments):
    """Prints the differences of each (folder, record)."""
    sys.modules["amr_tf"] = None  # An import of it fails.
    replay = runpy.run_path(replay)
    for folder, record in zip(arguments[::2], arguments[1::2], strict=True):
        print(json.dumps(differences(folder, record, replay)), flush=True)


def differences(folder, record, replay):
    """From each signature's name to a pair of the largest absolute differences."""
    requests = replay["read_requests"](record)
    answers = _in_a_session(folder, requests)
    loaded = tf.saved_model.load(folder).signatures
    found = {}
    for name, (inputs, expected) in requests.items():
        here = answers[name]
        others = loaded[name](**{key: tf.constant(value) for key, value in inputs.items()})
        assert set(here) == set(others) == set(expected)
        found[name] = (
            max(_difference(here[key], others[key].numpy()) for key in here),
            max(replay["compare"](here[key], expected[key], name) for key in here),
        )
    assert set(found) == set(loaded)
    return found


def _in_a_session(folder, requests):
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder).signature_def
        return {
            name: session.run(
                {key: info.name for key, info in signatures[name].outputs.items()},
                {signatures[name].inputs[key].name: value for key, value in inputs.items()},
            )
            for name, (inputs, _) in requests.items()
        }


def _difference(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if found.dtype == object:
        return 0.0 if found.tolist() == expected.tolist() else 1.0
    return float(abs(found.astype("float64") - expected).max())


if __name__ == "__main__":
    main(*sys.argv[1:])
