"""A few examples of each target; `benchmarks/fuzz.py` runs thousands."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.targets import TARGETS, outcome

EXAMPLES = 40


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_a_valid_result_or_one_sentence(name):
    fuzzed = TARGETS[name]
    limited = settings(
        deadline=None,
        max_examples=max(EXAMPLES // fuzzed.cost, 8),
        suppress_health_check=list(HealthCheck),
    )

    @limited
    @given(fuzzed.strategy)
    def check(case):
        outcome(fuzzed, case)

    check()
