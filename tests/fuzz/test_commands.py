"""Every command with bad flags: exit code 2, one line that begins with `error: `, no traceback."""

import pytest

from tests.fuzz.command_cases import CASES, run_cases, what_is_wrong

pytestmark = pytest.mark.slow


def test_bad_flags_are_told_in_one_line():
    results = run_cases(CASES)
    assert len(results) == len(CASES)
    wrong = {str(case): what_is_wrong(result) for case, result in zip(CASES, results)}
    assert {case: problem for case, problem in wrong.items() if problem} == {}
