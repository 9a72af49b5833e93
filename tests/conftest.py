"""What all tests share: steps without a graph, the order of the files, skips that are failures."""

import collections
import contextlib
import os

import pytest

import amr_tf  # noqa: F401, before TensorFlow, which reads the environment once.

# CI sets it where it has installed all that tests may need.
NO_SKIPS = "AMR_TF_NO_SKIPS"
# What a reason says of data that lie beside some checkouts only: nothing can be installed for them.
DATA = "beside"


@contextlib.contextmanager
def without_graphs():
    """Lets functions run eagerly: of a few steps, making the graph takes most of the time."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture
def eager():
    """For tests of what surrounds a few training steps, not of the steps' graph."""
    with without_graphs():
        yield


@pytest.fixture(scope="module")
def tiny():
    """The name of `tests.runs.tiny`, which `--architecture` takes in the module's tests alone."""
    from tests.runs.tiny import registered

    with registered() as name:
        yield name


def pytest_configure(config):
    """xdist would deal the files out by their number of tests alone; see below."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Long files come first, so that no process is left with one at the end.

    These are files with slow tests, however few, and then those with many tests.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    counts = collections.Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -counts[item.path], item.path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _unskipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _unskipped((yield))


def _unskipped(report):
    """The report of a test or file; one that was skipped has failed where CI allows no skips."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(NO_SKIPS):
        reason = report.longrepr[2]
        if DATA not in reason:
            report.outcome = "failed"
            report.longrepr = f"{NO_SKIPS} is set, and the test was left out. {reason}"
    return report
