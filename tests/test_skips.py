"""In CI a test that is skipped has failed."""

import pathlib

import pytest

from tests import conftest

TESTS = """
import pytest

def test_passes():
    pass

@pytest.mark.skipif(True, reason="ffmpeg is not on PATH")
def test_tool():
    pass

def test_package():
    pytest.importorskip("no_such_package")

@pytest.mark.skipif(True, reason="no data beside the checkout")
def test_data():
    pass

@pytest.mark.xfail
def test_known():
    assert False
"""


@pytest.fixture
def outcomes(pytester, monkeypatch):
    """A function that runs the tests above, and a file that skips itself; returns the counts."""

    def run(no_skips):
        monkeypatch.setenv(conftest.NO_SKIPS, no_skips)
        pytester.makeconftest(pathlib.Path(conftest.__file__).read_text(encoding="utf-8"))
        pytester.makepyfile(test_some=TESTS, test_other="import pytest; pytest.importorskip('no')")
        return pytester.runpytest_inprocess("--continue-on-collection-errors").parseoutcomes()

    return run


def test_skips_are_failures_in_ci(outcomes):
    found = outcomes("1")
    assert found == {"passed": 1, "failed": 1, "errors": 2, "skipped": 1, "xfailed": 1}


def test_skips_are_skips_elsewhere(outcomes):
    assert outcomes("") == {"passed": 1, "skipped": 4, "xfailed": 1}
