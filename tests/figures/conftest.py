"""The model and images that the tests of figures share with those of metrics."""

from tests.metrics.conftest import model  # noqa: F401
