"""Fuzzes the package with thousands of cases: python -m benchmarks.fuzz --examples=1000 --seed=0

Each target of `tests/fuzz/targets.py` gets random input, close to valid input and far from it. The
table counts the outcomes: a valid result, one clear sentence, or anything else, which is a bug.
With --commands, the commands are also run with bad flags, in forks. The exit code is 1 if there is
a traceback.
"""

import argparse
import collections
import pathlib
import time
import traceback
import warnings

from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.fuzz.command_cases import CASES, run_cases, what_is_wrong
from tests.fuzz.targets import TARGETS, outcome

HEAD = ["kind of bad input", "cases", "clear errors", "accepted", "tracebacks", "seconds"]


def fuzz(fuzzed, examples, number):
    """Fuzzes one target; returns counts of its outcomes, and the first traceback or None."""
    counts, first = collections.Counter(), None

    @seed(number)
    @settings(
        database=None,
        deadline=None,
        max_examples=examples,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(fuzzed.strategy)
    def count(case):
        nonlocal first
        try:
            counts[outcome(fuzzed, case)] += 1
        except Exception:
            counts["traceback"] += 1
            first = first or f"{case!r:.400}\n{traceback.format_exc()}"

    count()
    return counts, first


def fuzz_commands():
    """Runs the commands with bad flags; returns the same as `fuzz`."""
    counts, first = collections.Counter(), None
    for case, result in zip(CASES, run_cases(CASES)):
        wrong = what_is_wrong(result)
        counts["traceback" if wrong else "clear error"] += 1
        first = first or (f"{case}: {wrong}" if wrong else None)
    return counts, first


def row_of(title, counts, seconds):
    kinds = ("clear error", "accepted", "traceback")
    return [title, sum(counts.values()), *(counts[kind] for kind in kinds), f"{seconds:.0f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=1000, help="cases of each cheap target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", default="", help="names, with commas; by default all")
    parser.add_argument("--commands", action="store_true", help="run the commands, too")
    parser.add_argument("--out", type=pathlib.Path, help="Markdown file to write")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    names = [name for name in arguments.targets.split(",") if name] or list(TARGETS)
    jobs = [
        (TARGETS[name].title, fuzz, (TARGETS[name], examples_of(TARGETS[name], arguments), number))
        for number, name in enumerate(names, start=arguments.seed)
    ]
    jobs += [("commands: flags", fuzz_commands, ())] if arguments.commands else []
    rows, total, failures = [], collections.Counter(), 0
    for title, function, given_to in jobs:
        start = time.monotonic()
        counts, first = function(*given_to)
        rows.append(row_of(title, counts, time.monotonic() - start))
        total += counts
        print(" | ".join(map(str, rows[-1])), flush=True)
        if first is not None:
            failures += 1
            print(first, flush=True)
    rows.append(row_of("all", total, sum(float(row[-1]) for row in rows)))
    table = [HEAD, ["---"] + ["---:"] * 5, *rows]
    text = "\n".join("| " + " | ".join(map(str, row)) + " |" for row in table) + "\n"
    print("\n" + text)
    if arguments.out is not None:
        arguments.out.write_text(text)
    raise SystemExit(1 if failures else 0)


def examples_of(fuzzed, arguments):
    return max(arguments.examples // min(fuzzed.cost, 5), 50)


if __name__ == "__main__":
    main()
