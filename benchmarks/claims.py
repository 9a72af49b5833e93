"""Is one method ahead of another? Paired by seed: the mean difference and its confidence interval.

    python benchmarks/claims.py --results=docs/results/kmnist --than=ae_gan

reads files `METHOD-SEED.json`, each the `results.json` of a run. For each method it prints the
difference to `--than` in held-out accuracy of a linear probe on frozen codes, in percentage points.
The claim that a method is ahead is confirmed if the interval lies above 0, refuted if it lies below
0, and open otherwise.
"""

import argparse
import collections
import json
import pathlib

import numpy as np
from scipy import stats


def read(folder: pathlib.Path) -> dict[str, dict[int, float]]:
    """Reads the held-out accuracy on frozen codes in percent, by method and seed."""
    found = collections.defaultdict(dict)
    for path in sorted(folder.glob("*-*.json")):
        method, _, seed = path.stem.rpartition("-")
        results = json.loads(path.read_text(encoding="utf-8"))
        found[method][int(seed)] = 100 * results["linear_probe"]["test_accuracy"]
    return dict(found)


def compare(
    ours: dict[int, float], theirs: dict[int, float], confidence: float
) -> tuple[float, float, float]:
    """Returns the mean difference over the common seeds, and the ends of its interval."""
    seeds = sorted(set(ours) & set(theirs))
    if len(seeds) < 2:
        raise ValueError(f"An interval needs at least 2 seeds that both have; got {len(seeds)}.")
    pairs = np.array([(ours[seed], theirs[seed]) for seed in seeds])
    interval = stats.ttest_rel(*pairs.T).confidence_interval(confidence)
    return float(np.mean(pairs[:, 0] - pairs[:, 1])), float(interval.low), float(interval.high)


def verdict(low: float, high: float) -> str:
    return "confirmed" if low > 0 else "refuted" if high < 0 else "open"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("docs/results/kmnist"))
    parser.add_argument("--than", default="ae_gan")
    parser.add_argument("--confidence", type=float, default=0.95)
    options = parser.parse_args()
    found = read(options.results)
    base = found.pop(options.than)
    share = f"{100 * options.confidence:g} %"
    print(f"| method | minus {options.than} | {share} interval | seeds | ahead |")
    print("|---|---|---|---|---|")
    for method, accuracies in found.items():
        mean, low, high = compare(accuracies, base, options.confidence)
        seeds = len(set(accuracies) & set(base))
        interval = f"{low:+.1f} to {high:+.1f}"
        print(f"| `{method}` | {mean:+.1f} | {interval} | {seeds} | {verdict(low, high)} |")


if __name__ == "__main__":
    main()
