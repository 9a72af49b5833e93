"""The examples in docstrings run, and show what comes out."""

import doctest
import importlib
import pkgutil

import pytest

import amr_tf

MODULES = [
    module.name
    for module in pkgutil.walk_packages(amr_tf.__path__, "amr_tf.")
    if not module.name.endswith("__main__")
]
# Uploads a model; trains for minutes (tests/test_experiments.py has shorter runs).
LEFT_OUT = {"amr_tf.hub", "amr_tf.experiments"}


def examples_of(name):
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(importlib.import_module(name)) if test.examples]


@pytest.mark.parametrize("name", sorted({*MODULES} - LEFT_OUT))
def test_examples(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for test in examples_of(name):
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        assert runner.run(test).failed == 0


def test_there_are_examples():
    """What is tested above is found."""
    assert all(examples_of(name) for name in {"amr_tf.mixers.mixup", *LEFT_OUT})
